"""Preprocessing, then a model: which steps there are decides which parameters there are."""

from typing import Any

from benchmarks.tuning.task import Params, Task, error, log_loss, table, unexplained, with_noise, without
from visutility.tune import Choice, Equals, Float, Int, Space


def knn_digits() -> Task:
    """Nearest neighbours on digits, reduced or not."""
    space = Space(
        {
            "reduce": Choice(["none", "pca", "kbest"]),
            "n_components": Int(2, 60, log=True, when=Equals("reduce", "pca")),
            "whiten": Choice([False, True], when=Equals("reduce", "pca")),
            "k": Int(2, 64, log=True, when=Equals("reduce", "kbest")),
            "n_neighbors": Int(1, 60, log=True),
            "weights": Choice(["uniform", "distance"]),
            "metric": Choice(["minkowski", "cosine", "canberra"]),
            "p": Float(1.0, 4.0, when=Equals("metric", "minkowski")),
        }
    )

    def run(p: Params) -> float:
        from sklearn.decomposition import PCA
        from sklearn.feature_selection import SelectKBest
        from sklearn.neighbors import KNeighborsClassifier
        from sklearn.pipeline import make_pipeline

        steps: list[Any] = []
        if p["reduce"] == "pca":
            steps.append(PCA(p["n_components"], whiten=p["whiten"], random_state=0))
        elif p["reduce"] == "kbest":
            steps.append(SelectKBest(k=p["k"]))
        own = without(p, "reduce", "n_components", "whiten", "k")
        return error(make_pipeline(*steps, KNeighborsClassifier(algorithm="brute", **own)), table("digits", 220, 500))

    return Task("knn-digits", space, run)


def linear_diabetes() -> Task:
    """Polynomial features or none, then a penalised linear regression, on diabetes."""
    space = Space(
        {
            "features": Choice(["plain", "products", "polynomial", "splines"]),
            "degree": Int(2, 3, when=Equals("features", "polynomial")),
            "n_knots": Int(3, 12, when=Equals("features", "splines")),
            "spline_degree": Int(1, 4, when=Equals("features", "splines")),
            "model": Choice(["ridge", "lasso", "elastic", "bayes"]),
            "alpha": Float(1e-4, 1e2, log=True, when=Equals("model", "ridge", "lasso", "elastic")),
            "l1_ratio": Float(0.05, 0.95, when=Equals("model", "elastic")),
            "precision": Float(1e-7, 1e1, log=True, when=Equals("model", "bayes")),
            "fit_intercept": Choice([False, True]),
        }
    )

    def run(p: Params) -> float:
        from sklearn import linear_model, preprocessing
        from sklearn.pipeline import make_pipeline

        features = {
            "plain": lambda: preprocessing.FunctionTransformer(),
            "products": lambda: preprocessing.PolynomialFeatures(2, interaction_only=True),
            "polynomial": lambda: preprocessing.PolynomialFeatures(p["degree"]),
            "splines": lambda: preprocessing.SplineTransformer(p["n_knots"], degree=p["spline_degree"]),
        }[p["features"]]()
        own = {"fit_intercept": p["fit_intercept"]}
        model = {
            "ridge": lambda: linear_model.Ridge(p["alpha"], **own),
            "lasso": lambda: linear_model.Lasso(p["alpha"], max_iter=100, **own),
            "elastic": lambda: linear_model.ElasticNet(p["alpha"], l1_ratio=p["l1_ratio"], max_iter=100, **own),
            "bayes": lambda: linear_model.BayesianRidge(
                max_iter=20, alpha_1=p["precision"], lambda_1=p["precision"], **own
            ),
        }[p["model"]]()
        return unexplained(make_pipeline(features, model), table("diabetes", 150, 292))

    return Task("linear-diabetes", space, run)


def pipeline_wine() -> Task:
    """Scaling, reduction and a classifier on wine with twenty columns of noise."""
    space = Space(
        {
            "scale": Choice(["none", "minmax", "quantile", "robust"]),
            "quantiles": Int(5, 60, log=True, when=Equals("scale", "quantile")),
            "reduce": Choice(["none", "pca", "kbest"]),
            "n_components": Int(1, 25, when=Equals("reduce", "pca")),
            "whiten": Choice([False, True], when=Equals("reduce", "pca")),
            "k": Int(1, 33, when=Equals("reduce", "kbest")),
            "head": Choice(["logistic", "knn", "bayes"]),
            "C": Float(1e-3, 1e3, log=True, when=Equals("head", "logistic")),
            "n_neighbors": Int(1, 40, log=True, when=Equals("head", "knn")),
            "var_smoothing": Float(1e-9, 1e1, log=True, when=Equals("head", "bayes")),
        }
    )

    def run(p: Params) -> float:
        from sklearn import preprocessing
        from sklearn.decomposition import PCA
        from sklearn.feature_selection import SelectKBest
        from sklearn.linear_model import LogisticRegression
        from sklearn.naive_bayes import GaussianNB
        from sklearn.neighbors import KNeighborsClassifier
        from sklearn.pipeline import make_pipeline

        scale = {
            "none": preprocessing.FunctionTransformer,
            "minmax": preprocessing.MinMaxScaler,
            "quantile": lambda: preprocessing.QuantileTransformer(n_quantiles=p["quantiles"]),
            "robust": preprocessing.RobustScaler,
        }[p["scale"]]()
        reduce = {
            "none": preprocessing.FunctionTransformer,
            "pca": lambda: PCA(p["n_components"], whiten=p["whiten"], random_state=0),
            "kbest": lambda: SelectKBest(k=p["k"]),
        }[p["reduce"]]()
        head = {
            "logistic": lambda: LogisticRegression(C=p["C"], max_iter=60),
            "knn": lambda: KNeighborsClassifier(p["n_neighbors"], weights="distance"),
            "bayes": lambda: GaussianNB(var_smoothing=p["var_smoothing"]),
        }[p["head"]]()
        return log_loss(make_pipeline(scale, reduce, head), with_noise("wine", 70, 108, 20))

    return Task("pipeline-wine", space, run)


def logistic_digits() -> Task:
    """Logistic regression where some pairs of solver and penalty do not exist: those trials fail."""
    space = Space(
        {
            "reduce": Choice(["none", "pca"]),
            "n_components": Int(4, 60, log=True, when=Equals("reduce", "pca")),
            "solver": Choice(["lbfgs", "saga"]),
            "penalty": Choice(["l2", "l1", "elasticnet"]),
            "l1_ratio": Float(0.05, 0.95, when=Equals("penalty", "elasticnet")),
            "C": Float(1e-4, 1e3, log=True),
            "max_iter": Int(2, 40, log=True),
            "balanced": Choice([False, True]),
        }
    )

    def run(p: Params) -> float:
        from sklearn.decomposition import PCA
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import FunctionTransformer

        ratio = {"l2": 0.0, "l1": 1.0}.get(p["penalty"]) if p["penalty"] != "elasticnet" else p["l1_ratio"]
        model = LogisticRegression(
            C=p["C"],
            l1_ratio=ratio,
            solver=p["solver"],
            max_iter=p["max_iter"],
            class_weight="balanced" if p["balanced"] else None,
            random_state=0,
        )
        reduce = PCA(p["n_components"], random_state=0) if p["reduce"] == "pca" else FunctionTransformer()
        return log_loss(make_pipeline(reduce, model), table("digits", 150, 900))

    return Task("logistic-digits", space, run)
