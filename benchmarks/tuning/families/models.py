"""Which kind of model, and then its parameters: spaces that are mostly conditions."""

from typing import Any

from benchmarks.tuning.task import Params, Task, error, log_loss, made, table, unexplained, without
from visutility.tune import Choice, Equals, Float, Int, Space


def four_kinds() -> Space:
    """Which of four kinds of classifier, and its parameters."""
    knn, tree, svm, linear = (Equals("model", kind) for kind in ("knn", "tree", "svm", "linear"))
    return Space(
        {
            "model": Choice(["knn", "tree", "svm", "linear"]),
            "n_neighbors": Int(1, 50, log=True, when=knn),
            "weights": Choice(["uniform", "distance"], when=knn),
            "p": Float(1.0, 4.0, when=knn),
            "max_depth": Int(1, 12, when=tree),
            "min_samples_leaf": Int(1, 30, log=True, when=tree),
            "svm_C": Float(1e-3, 1e3, log=True, when=svm),
            "gamma": Float(1e-5, 1e1, log=True, when=svm),
            "C": Float(1e-4, 1e3, log=True, when=linear),
        }
    )


def one_of_four(p: Params, seed: int) -> Any:
    """The classifier that a configuration of `four_kinds` stands for."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.svm import SVC
    from sklearn.tree import DecisionTreeClassifier

    own = without(p, "model", "svm_C")
    return {
        "knn": lambda: KNeighborsClassifier(**own),
        "tree": lambda: DecisionTreeClassifier(random_state=seed, **own),
        "svm": lambda: SVC(C=p["svm_C"], max_iter=2000, **own),
        "linear": lambda: LogisticRegression(max_iter=50, **own),
    }[p["model"]]()


def pick_cancer() -> Task:
    """One of four kinds of classifier on breast cancer."""
    return Task("pick-cancer", four_kinds(), lambda p: error(one_of_four(p, 0), table("breast_cancer", 120, 449)))


def pick_regression() -> Task:
    """One of five kinds of regression on Friedman's first function; two of them have kinds of their own."""
    svr, forest, ridge, knn, tree = (Equals("model", kind) for kind in ("svr", "forest", "ridge", "knn", "boost"))
    space = Space(
        {
            "model": Choice(["svr", "forest", "ridge", "knn", "boost"]),
            "C": Float(1e-2, 1e3, log=True, when=svr),
            "kernel": Choice(["linear", "rbf", "poly"], when=svr),
            "gamma": Float(1e-4, 1e1, log=True, when=Equals("kernel", "rbf", "poly")),
            "degree": Int(2, 4, when=Equals("kernel", "poly")),
            "forest_features": Float(0.1, 1.0, when=forest),
            "forest_leaf": Int(1, 20, log=True, when=forest),
            "ridge_features": Choice(["plain", "squares", "random"], when=ridge),
            "alpha": Float(1e-4, 1e3, log=True, when=ridge),
            "width": Float(1e-3, 1e1, log=True, when=Equals("ridge_features", "random")),
            "n_neighbors": Int(1, 40, log=True, when=knn),
            "boost_rate": Float(1e-2, 1.0, log=True, when=tree),
            "boost_depth": Int(1, 6, when=tree),
        }
    )

    def ridge_of(p: Params) -> Any:
        from sklearn.kernel_approximation import RBFSampler
        from sklearn.linear_model import Ridge
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import FunctionTransformer, PolynomialFeatures

        features = {
            "plain": FunctionTransformer,
            "squares": PolynomialFeatures,
            "random": lambda: RBFSampler(gamma=p["width"], n_components=120, random_state=0),
        }[p["ridge_features"]]()
        return make_pipeline(features, Ridge(p["alpha"]))

    def run(p: Params) -> float:
        from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
        from sklearn.neighbors import KNeighborsRegressor
        from sklearn.svm import SVR

        model = {
            "svr": lambda: SVR(max_iter=3000, **without(p, "model")),
            "forest": lambda: RandomForestRegressor(
                12, max_features=p["forest_features"], min_samples_leaf=p["forest_leaf"], random_state=0
            ),
            "ridge": lambda: ridge_of(p),
            "knn": lambda: KNeighborsRegressor(p["n_neighbors"], weights="distance"),
            "boost": lambda: GradientBoostingRegressor(
                learning_rate=p["boost_rate"], max_depth=p["boost_depth"], n_estimators=25, random_state=0
            ),
        }[p["model"]]()
        return unexplained(model, made("friedman1", 150, 400, noise=1.0))

    return Task("pick-regression", space, run)


def discriminant_made() -> Task:
    """Discriminant analysis, linear or quadratic or naive, on correlated columns; conditions three deep."""
    linear = Equals("model", "linear")
    space = Space(
        {
            "model": Choice(["linear", "quadratic", "naive"]),
            "solver": Choice(["svd", "lsqr", "eigen"], when=linear),
            "shrink": Choice(["none", "auto", "fixed"], when=Equals("solver", "lsqr", "eigen")),
            "shrinkage": Float(0.0, 1.0, when=Equals("shrink", "fixed")),
            "tol": Float(1e-6, 1e0, log=True, when=Equals("solver", "svd")),
            "reg_param": Float(1e-6, 1.0, log=True, when=Equals("model", "quadratic")),
            "var_smoothing": Float(1e-9, 1e1, log=True, when=Equals("model", "naive")),
            "flat": Choice([False, True]),
            "columns": Int(2, 30),
        }
    )

    def run(p: Params) -> float:
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
        from sklearn.feature_selection import SelectKBest
        from sklearn.naive_bayes import GaussianNB
        from sklearn.pipeline import make_pipeline

        flat = [1 / 4] * 4 if p["flat"] else None
        shrink = {"none": None, "auto": "auto", "fixed": p.get("shrinkage")}[p.get("shrink", "none")]
        model = {
            "linear": lambda: LinearDiscriminantAnalysis(
                solver=p["solver"], shrinkage=shrink, priors=flat, tol=p.get("tol", 1e-4)
            ),
            "quadratic": lambda: QuadraticDiscriminantAnalysis(priors=flat, reg_param=p["reg_param"]),
            "naive": lambda: GaussianNB(priors=flat, var_smoothing=p["var_smoothing"]),
        }[p["model"]]()
        data = made("classification", 160, 800, n_features=30, n_informative=8, n_redundant=8, n_classes=4, flip_y=0.02)
        return log_loss(make_pipeline(SelectKBest(k=p["columns"]), model), data)

    return Task("discriminant-made", space, run)
