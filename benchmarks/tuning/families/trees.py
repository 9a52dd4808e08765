"""Trees, forests and boosting."""

from typing import Any

from benchmarks.tuning.task import Params, Task, log_loss, made, table, unexplained, without
from visutility.tune import Choice, Equals, Float, Int, Space


def forest_wine() -> Task:
    """A small random forest on wine."""
    space = Space(
        {
            "max_depth": Int(1, 20),
            "max_features": Float(0.05, 1.0),
            "min_samples_leaf": Int(1, 20, log=True),
            "criterion": Choice(["gini", "entropy"]),
            "bootstrap": Choice([False, True]),
            "max_samples": Float(0.1, 1.0, when=Equals("bootstrap", True)),
        }
    )

    def run(p: Params) -> float:
        from sklearn.ensemble import RandomForestClassifier

        return log_loss(RandomForestClassifier(12, random_state=0, **p), table("wine", 80, 98))

    return Task("forest-wine", space, run)


def tree_made() -> Task:
    """One decision tree on a made classification: stopped by depth, by leaves or pruned by cost."""
    space = Space(
        {
            "criterion": Choice(["gini", "entropy"]),
            "splitter": Choice(["best", "random"]),
            "stop": Choice(["depth", "leaves", "cost"]),
            "max_depth": Int(1, 20, when=Equals("stop", "depth")),
            "max_leaf_nodes": Int(2, 100, log=True, when=Equals("stop", "leaves")),
            "ccp_alpha": Float(1e-5, 1e-1, log=True, when=Equals("stop", "cost")),
            "min_samples_leaf": Int(1, 50, log=True),
            "max_features": Float(0.1, 1.0),
        }
    )

    def run(p: Params) -> float:
        from sklearn.tree import DecisionTreeClassifier

        data = made("classification", 400, 800, n_features=12, n_informative=6, n_classes=3, flip_y=0.05)
        return log_loss(DecisionTreeClassifier(random_state=0, **without(p, "stop")), data)

    return Task("tree-made", space, run)


def ada_cancer() -> Task:
    """AdaBoost over small trees on breast cancer."""
    space = Space(
        {
            "n_estimators": Int(2, 25, log=True),
            "learning_rate": Float(1e-2, 3.0, log=True),
            "base": Choice(["tree", "bayes"]),
            "max_depth": Int(1, 6, when=Equals("base", "tree")),
            "max_features": Float(0.05, 1.0, when=Equals("base", "tree")),
            "min_samples_leaf": Int(1, 30, log=True, when=Equals("base", "tree")),
            "var_smoothing": Float(1e-9, 1e0, log=True, when=Equals("base", "bayes")),
        }
    )

    def run(p: Params) -> float:
        from sklearn.ensemble import AdaBoostClassifier
        from sklearn.naive_bayes import GaussianNB
        from sklearn.tree import DecisionTreeClassifier

        own = without(p, "n_estimators", "learning_rate", "base")
        base = DecisionTreeClassifier(random_state=0, **own) if p["base"] == "tree" else GaussianNB(**own)
        model = AdaBoostClassifier(
            base, n_estimators=p["n_estimators"], learning_rate=p["learning_rate"], random_state=0
        )
        return log_loss(model, table("breast_cancer", 150, 400))

    return Task("ada-cancer", space, run)


def hist_friedman() -> Task:
    """Histogram boosting on Friedman's first function, stopped early or not."""
    space = Space(
        {
            "learning_rate": Float(1e-2, 1.0, log=True),
            "max_iter": Int(3, 40, log=True),
            "max_leaf_nodes": Int(2, 40, log=True),
            "min_samples_leaf": Int(1, 60, log=True),
            "l2_regularization": Float(1e-6, 1e2, log=True),
            "max_bins": Int(8, 255, log=True),
            "early_stopping": Choice([False, True]),
            "validation_fraction": Float(0.05, 0.4, when=Equals("early_stopping", True)),
            "n_iter_no_change": Int(1, 10, when=Equals("early_stopping", True)),
        }
    )

    def run(p: Params) -> float:
        from sklearn.ensemble import HistGradientBoostingRegressor

        model = HistGradientBoostingRegressor(random_state=0, **p)
        return unexplained(model, made("friedman1", 200, 400, noise=1.0))

    return Task("hist-friedman", space, run)


def extra_digits() -> Task:
    """Extremely randomised trees on digits."""
    space = Space(
        {
            "n_estimators": Int(2, 16, log=True),
            "features": Choice(["sqrt", "log2", "share"]),
            "share": Float(0.02, 1.0, log=True, when=Equals("features", "share")),
            "min_samples_split": Int(2, 30, log=True),
            "max_depth": Int(2, 20),
            "criterion": Choice(["gini", "entropy"]),
            "bootstrap": Choice([False, True]),
            "max_samples": Float(0.1, 1.0, when=Equals("bootstrap", True)),
        }
    )

    def run(p: Params) -> float:
        from sklearn.ensemble import ExtraTreesClassifier

        features = p["share"] if p["features"] == "share" else p["features"]
        own = without(p, "features", "share")
        return log_loss(ExtraTreesClassifier(max_features=features, random_state=0, **own), table("digits", 300, 900))

    return Task("extra-digits", space, run)


def boost_diabetes() -> Task:
    """Gradient boosting on diabetes."""
    space = Space(
        {
            "learning_rate": Float(1e-3, 1.0, log=True),
            "n_estimators": Int(3, 50, log=True),
            "max_depth": Int(1, 7),
            "min_samples_leaf": Int(1, 40, log=True),
            "subsample": Float(0.2, 1.0),
            "max_features": Float(0.1, 1.0),
            "loss": Choice(["squared_error", "huber", "absolute_error"]),
            "alpha": Float(0.5, 0.99, when=Equals("loss", "huber")),
        }
    )

    def run(p: Params) -> float:
        from sklearn.ensemble import GradientBoostingRegressor

        return unexplained(GradientBoostingRegressor(random_state=0, **p), table("diabetes", 200, 242))

    return Task("boost-diabetes", space, run)


def hist_cancer() -> Task:
    """Histogram boosting on breast cancer, with limits on what may interact."""
    space = Space(
        {
            "learning_rate": Float(1e-2, 1.0, log=True),
            "max_iter": Int(3, 40, log=True),
            "limit": Choice(["leaves", "depth"]),
            "max_leaf_nodes": Int(2, 40, log=True, when=Equals("limit", "leaves")),
            "max_depth": Int(1, 8, when=Equals("limit", "depth")),
            "min_samples_leaf": Int(1, 60, log=True),
            "l2_regularization": Float(1e-6, 1e2, log=True),
            "max_features": Float(0.1, 1.0),
            "max_bins": Choice([8, 16, 32, 64, 128, 255], ordered=True),
        }
    )

    def run(p: Params) -> float:
        from sklearn.ensemble import HistGradientBoostingClassifier

        own: dict[str, Any] = without(p, "limit")
        if p["limit"] == "depth":
            own["max_leaf_nodes"] = None
        model = HistGradientBoostingClassifier(random_state=0, early_stopping=False, **own)
        return log_loss(model, table("breast_cancer", 200, 369))

    return Task("hist-cancer", space, run)


def tree_friedman() -> Task:
    """One regression tree on Friedman's third function."""
    space = Space(
        {
            "criterion": Choice(["squared_error", "absolute_error"]),
            "splitter": Choice(["best", "random"]),
            "prune": Choice([False, True]),
            "ccp_alpha": Float(1e-6, 1e-1, log=True, when=Equals("prune", True)),
            "max_depth": Int(1, 25, when=Equals("prune", False)),
            "min_samples_split": Int(2, 60, log=True),
            "min_samples_leaf": Int(1, 40, log=True),
            "max_features": Float(0.2, 1.0),
            "min_impurity_decrease": Float(1e-7, 1e-1, log=True),
        }
    )

    def run(p: Params) -> float:
        from sklearn.tree import DecisionTreeRegressor

        return unexplained(
            DecisionTreeRegressor(random_state=0, **without(p, "prune")), made("friedman3", 500, 900, noise=0.1)
        )

    return Task("tree-friedman", space, run)
