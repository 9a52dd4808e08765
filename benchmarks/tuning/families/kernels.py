"""Support vectors, kernel ridge, Gaussian processes and kernel features: parameters that depend on the kernel."""

from typing import Any

from benchmarks.tuning.task import Params, Task, error, made, table, unexplained, without
from visutility.tune import Choice, Equals, Float, Int, Space


def svc_digits() -> Task:
    """Support vectors on 220 digits."""
    space = Space(
        {
            "kernel": Choice(["linear", "rbf", "poly", "sigmoid"]),
            "C": Float(1e-3, 1e3, log=True),
            "gamma": Float(1e-5, 1e1, log=True, when=Equals("kernel", "rbf", "poly", "sigmoid")),
            "degree": Int(2, 5, when=Equals("kernel", "poly")),
            "coef0": Float(-1.0, 1.0, when=Equals("kernel", "poly", "sigmoid")),
            "shrinking": Choice([False, True]),
        }
    )

    def run(p: Params) -> float:
        from sklearn.svm import SVC

        return error(SVC(max_iter=2000, **p), table("digits", 220, 900))

    return Task("svc-digits", space, run)


def ridge_diabetes() -> Task:
    """Kernel ridge regression on diabetes."""
    space = Space(
        {
            "kernel": Choice(["rbf", "laplacian", "polynomial", "linear", "sigmoid"]),
            "alpha": Float(1e-4, 1e3, log=True),
            "gamma": Float(1e-5, 1e1, log=True, when=Equals("kernel", "rbf", "laplacian", "polynomial", "sigmoid")),
            "degree": Int(1, 5, when=Equals("kernel", "polynomial")),
            "coef0": Float(0.0, 2.0, when=Equals("kernel", "polynomial", "sigmoid")),
        }
    )

    def run(p: Params) -> float:
        from sklearn.kernel_ridge import KernelRidge

        return unexplained(KernelRidge(**p), table("diabetes", 220, 222))

    return Task("ridge-diabetes", space, run)


def gp_friedman() -> Task:
    """A Gaussian process with fixed kernel settings on Friedman's second function."""
    space = Space(
        {
            "kernel": Choice(["rbf", "matern", "rational"]),
            "length": Float(1e-2, 1e2, log=True),
            "nu": Choice([0.5, 1.5, 2.5], ordered=True, when=Equals("kernel", "matern")),
            "mix": Float(1e-2, 1e2, log=True, when=Equals("kernel", "rational")),
            "noise": Float(1e-8, 1e1, log=True),
            "linear": Choice([False, True]),
            "offset": Float(1e-2, 1e2, log=True, when=Equals("linear", True)),
            "normalize_y": Choice([False, True]),
        }
    )

    def run(p: Params) -> float:
        from sklearn.gaussian_process import GaussianProcessRegressor, kernels

        kinds: dict[str, Any] = {
            "rbf": lambda: kernels.RBF(p["length"]),
            "matern": lambda: kernels.Matern(p["length"], nu=p["nu"]),
            "rational": lambda: kernels.RationalQuadratic(p["length"], p["mix"]),
        }
        kernel = kinds[p["kernel"]]()
        if p["linear"]:
            kernel = kernel + kernels.DotProduct(p["offset"])
        model = GaussianProcessRegressor(kernel, alpha=p["noise"], optimizer=None, normalize_y=p["normalize_y"])
        return unexplained(model, made("friedman2", 120, 300, noise=60.0))

    return Task("gp-friedman", space, run)


def svr_diabetes() -> Task:
    """Support vector regression on diabetes, with a tube of set width or of a share of the rows."""
    space = Space(
        {
            "tube": Choice(["epsilon", "nu"]),
            "epsilon": Float(1e-3, 2.0, log=True, when=Equals("tube", "epsilon")),
            "nu": Float(0.05, 0.95, when=Equals("tube", "nu")),
            "kernel": Choice(["linear", "rbf", "poly", "sigmoid"]),
            "C": Float(1e-3, 1e3, log=True),
            "gamma": Float(1e-5, 1e1, log=True, when=Equals("kernel", "rbf", "poly", "sigmoid")),
            "degree": Int(2, 4, when=Equals("kernel", "poly")),
            "coef0": Float(-1.0, 1.0, when=Equals("kernel", "poly", "sigmoid")),
        }
    )

    def run(p: Params) -> float:
        from sklearn.svm import SVR, NuSVR

        model = SVR if p["tube"] == "epsilon" else NuSVR
        return unexplained(model(max_iter=3000, **without(p, "tube")), table("diabetes", 220, 222))

    return Task("svr-diabetes", space, run)


def nystroem_digits() -> Task:
    """Kernel features from a sample of the rows, then a linear classifier, on digits."""
    curved = Equals("kernel", "rbf", "poly", "laplacian", "sigmoid")
    space = Space(
        {
            "kernel": Choice(["rbf", "poly", "laplacian", "sigmoid", "cosine"]),
            "gamma": Float(1e-5, 1e0, log=True, when=curved),
            "degree": Int(2, 5, when=Equals("kernel", "poly")),
            "coef0": Float(0.0, 3.0, when=Equals("kernel", "poly", "sigmoid")),
            "n_components": Int(5, 150, log=True),
            "head": Choice(["logistic", "ridge"]),
            "C": Float(1e-3, 1e3, log=True, when=Equals("head", "logistic")),
            "alpha": Float(1e-4, 1e2, log=True, when=Equals("head", "ridge")),
        }
    )

    def run(p: Params) -> float:
        from sklearn.kernel_approximation import Nystroem
        from sklearn.linear_model import LogisticRegression, RidgeClassifier
        from sklearn.pipeline import make_pipeline

        logistic = p["head"] == "logistic"
        head = LogisticRegression(C=p["C"], max_iter=25) if logistic else RidgeClassifier(p["alpha"])
        features = Nystroem(random_state=0, **without(p, "head", "C", "alpha"))
        return error(make_pipeline(features, head), table("digits", 220, 900))

    return Task("nystroem-digits", space, run)
