"""Test problems for tuning: analytic functions with known minima, and small real scikit-learn tasks.

A problem has a space and an objective (lower is better) that is a function of the configuration alone. `choose` marks
those on which constants of the engine were chosen; the others only report.
"""

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from visutility.core.rng import rng
from visutility.tune import Choice, Equals, Float, Int, Space

Params = Mapping[str, Any]


@dataclass(frozen=True)
class Problem:
    name: str
    space: Space
    objective: Callable[[Params], float]
    choose: bool


def cube(dim: int) -> Space:
    return Space({f"x{i}": Float(0.0, 1.0) for i in range(dim)})


def on_cube(name: str, dim: int, f: Callable[[np.ndarray], float], seed: int, *, move: bool = True) -> Problem:
    """The function with its minimum moved by a seeded shift, so that a lucky first point cannot decide."""
    shift = rng(seed, "shift", name).uniform(-0.15, 0.15, dim) if move else np.zeros(dim)
    return Problem(name, cube(dim), lambda p: f(np.array([p[f"x{i}"] for i in range(dim)]) + shift), choose=True)


def sphere(u: np.ndarray) -> float:
    return float(np.sum((u - 0.4) ** 2))


def branin(u: np.ndarray) -> float:
    x, y = 15.0 * u[0] - 5.0, 15.0 * u[1]
    bowl = (y - 5.1 / (4 * math.pi**2) * x * x + 5 / math.pi * x - 6) ** 2
    return float(bowl + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10 - 0.39788735772973816)


HART_A = np.array(
    [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
)
HART_P = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)
HART_C = np.array([1.0, 1.2, 3.0, 3.2])


def hartmann6(u: np.ndarray) -> float:
    return float(3.322368011391339 - np.sum(HART_C * np.exp(-np.sum(HART_A * (u - HART_P) ** 2, axis=1))))


def rosenbrock(u: np.ndarray) -> float:
    x = 4.0 * u - 2.0
    return float(np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2))


def ackley(u: np.ndarray) -> float:
    x = 64.0 * (u - 0.45)
    rough = np.exp(np.mean(np.cos(2 * np.pi * x)))
    return float(20.0 + math.e - 20.0 * np.exp(-0.2 * np.sqrt(np.mean(x * x))) - rough)


def levy(u: np.ndarray) -> float:
    w = 1.0 + (20.0 * u - 11.0) / 4.0
    middle = np.sum((w[:-1] - 1) ** 2 * (1 + 10 * np.sin(np.pi * w[:-1] + 1) ** 2))
    return float(np.sin(np.pi * w[0]) ** 2 + middle + (w[-1] - 1) ** 2 * (1 + np.sin(2 * np.pi * w[-1]) ** 2))


def mixed(seed: int) -> Problem:
    """Four floats, a log integer, an integer, an unordered and an ordered choice. Minimum 0."""
    s = rng(seed, "shift", "mixed").uniform(-0.2, 0.2, 4)
    space = Space(
        {f"f{i}": Float(0.0, 1.0) for i in range(4)}
        | {
            "k": Int(1, 64, log=True),
            "n": Int(1, 8),
            "c": Choice(list("abcde")),
            "o": Choice([1, 2, 4, 8], ordered=True),
        }
    )
    level = {"a": 0.2, "b": 0.1, "c": 0.0, "d": 0.3, "e": 0.15}

    def objective(p: Params) -> float:
        floats = sum(0.5 * (i + 1) * (p[f"f{i}"] - 0.5 - s[i]) ** 2 for i in range(4))
        whole = 0.1 * (math.log2(p["k"]) - 3.0) ** 2 / 9.0 + 0.05 * abs(p["n"] - 5)
        return float(floats + whole + level[p["c"]] * (1.0 + p["f0"]) + 0.05 * abs(math.log2(p["o"]) - 1.0))

    return Problem("mixed-8", space, objective, choose=True)


def conditional(seed: int) -> Problem:
    """Three kinds of model with parameters of their own, shaped like tuning curves. Minimum 0.07, in the third."""
    s, t = rng(seed, "shift", "conditional").uniform(-0.5, 0.5, 2)
    svm, forest, mlp = (Equals("model", name) for name in ("svm", "forest", "mlp"))
    space = Space(
        {
            "model": Choice(["svm", "forest", "mlp"]),
            "c": Float(1e-3, 1e3, log=True, when=svm),
            "gamma": Float(1e-4, 1e1, log=True, when=svm),
            "depth": Int(1, 20, when=forest),
            "trees": Int(10, 500, log=True, when=forest),
            "lr": Float(1e-4, 1e-1, log=True, when=mlp),
            "act": Choice(["relu", "tanh", "gelu"], when=mlp),
            "width": Choice([16, 32, 64, 128, 256], ordered=True, when=mlp),
        }
    )

    def objective(p: Params) -> float:
        if p["model"] == "svm":
            c, g = math.log10(p["c"]), math.log10(p["gamma"])
            return 0.12 + 0.02 * (c - s) ** 2 + 0.03 * (g + 1.5 - t) ** 2 + 0.01 * (c + g) ** 2
        if p["model"] == "forest":
            few = 0.03 * (math.log10(p["trees"]) - 2.3 + 0.2 * s) ** 2
            return 0.10 + 0.4 * math.exp(-p["depth"] / 4.0) + few + 0.003 * abs(p["depth"] - 12)
        rate = 0.15 * (math.log10(p["lr"]) + 2.5 + 0.3 * t) ** 2
        act = {"relu": 0.0, "tanh": 0.03, "gelu": 0.01}[p["act"]]
        return 0.07 + rate + act + 0.02 * abs(math.log2(p["width"]) - 6.0)

    return Problem("conditional", space, objective, choose=True)


# -- real tasks ------------------------------------------------------------------------------------------------------


@cache
def table(name: str, train: int, test: int, seed: int) -> tuple[np.ndarray, ...]:
    """A data set that ships inside scikit-learn, standardised: (train x, train y, test x, test y)."""
    from sklearn import datasets

    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    order = rng(seed, "split", name).permutation(len(y))
    x = np.asarray(x, dtype=np.float64)[order]
    y = y[order]
    if name == "diabetes":
        y = (y - y.mean()) / y.std()
    x = (x - x.mean(0)) / np.maximum(x.std(0), 1e-9)
    return x[:train], y[:train], x[train : train + test], y[train : train + test]


def log_loss(model: Any, data: tuple[np.ndarray, ...]) -> float:
    x, y, u, v = data
    p = model.fit(x, y).predict_proba(u)
    return float(-np.log(np.maximum(p[np.arange(len(v)), np.searchsorted(model.classes_, v)], 1e-4)).mean())


def error(model: Any, data: tuple[np.ndarray, ...]) -> float:
    x, y, u, v = data
    return float(1.0 - model.fit(x, y).score(u, v))


def task(name: str, space: dict[str, Any], run: Callable[[Params], float], *, choose: bool) -> Problem:
    def objective(params: Params) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return run(params)

    return Problem(name, Space(space), objective, choose=choose)


def svm_digits(seed: int) -> Problem:
    from sklearn.svm import SVC

    data = table("digits", 250, 600, seed)
    curved = Equals("kernel", "rbf", "poly", "sigmoid")
    space = {
        "kernel": Choice(["linear", "rbf", "poly", "sigmoid"]),
        "C": Float(1e-3, 1e3, log=True),
        "gamma": Float(1e-5, 1e1, log=True, when=curved),
        "degree": Int(2, 5, when=Equals("kernel", "poly")),
        "coef0": Float(-1.0, 1.0, when=Equals("kernel", "poly", "sigmoid")),
    }
    return task("svm-digits", space, lambda p: error(SVC(max_iter=2000, **p), data), choose=True)


def svr_diabetes(seed: int) -> Problem:
    from sklearn.svm import SVR

    data = table("diabetes", 200, 240, seed)
    space = {
        "kernel": Choice(["linear", "rbf", "sigmoid"]),
        "C": Float(1e-3, 1e3, log=True),
        "gamma": Float(1e-5, 1e1, log=True, when=Equals("kernel", "rbf", "sigmoid")),
        "epsilon": Float(1e-3, 1.0, log=True),
        "coef0": Float(-1.0, 1.0, when=Equals("kernel", "sigmoid")),
    }
    return task("svr-diabetes", space, lambda p: min(error(SVR(max_iter=2000, **p), data), 5.0), choose=False)


def forest_wine(seed: int) -> Problem:
    from sklearn.ensemble import RandomForestClassifier

    data = table("wine", 80, 98, seed)
    space = {
        "max_depth": Int(1, 20),
        "max_features": Float(0.05, 1.0),
        "min_samples_leaf": Int(1, 20, log=True),
        "criterion": Choice(["gini", "entropy", "log_loss"]),
        "bootstrap": Choice([False, True]),
        "max_samples": Float(0.1, 1.0, when=Equals("bootstrap", True)),
    }
    return task(
        "forest-wine",
        space,
        lambda p: log_loss(RandomForestClassifier(15, random_state=seed, **p), data),
        choose=True,
    )


def sgd_cancer(seed: int) -> Problem:
    from sklearn.linear_model import SGDClassifier

    data = table("breast_cancer", 250, 300, seed)
    space = {
        "loss": Choice(["log_loss", "modified_huber"]),
        "penalty": Choice(["l1", "l2", "elasticnet"]),
        "alpha": Float(1e-7, 1e1, log=True),
        "l1_ratio": Float(0.0, 1.0, when=Equals("penalty", "elasticnet")),
        "learning_rate": Choice(["constant", "optimal", "invscaling", "adaptive"]),
        "eta0": Float(1e-5, 1e1, log=True, when=Equals("learning_rate", "constant", "invscaling", "adaptive")),
        "max_iter": Int(5, 100, log=True),
        "average": Choice([False, True]),
    }
    return task("sgd-cancer", space, lambda p: log_loss(SGDClassifier(random_state=seed, **p), data), choose=True)


def mlp_digits(seed: int) -> Problem:
    from sklearn.neural_network import MLPClassifier

    data = table("digits", 200, 600, seed)
    space = {
        "hidden_layer_sizes": Int(4, 64, log=True),
        "activation": Choice(["relu", "tanh", "logistic"]),
        "solver": Choice(["adam", "sgd"]),
        "alpha": Float(1e-6, 1e1, log=True),
        "learning_rate_init": Float(1e-4, 1.0, log=True),
        "momentum": Float(0.0, 0.99, when=Equals("solver", "sgd")),
        "batch_size": Choice([16, 32, 64, 128], ordered=True),
    }
    return task(
        "mlp-digits", space, lambda p: log_loss(MLPClassifier(max_iter=12, random_state=seed, **p), data), choose=False
    )


def boost_diabetes(seed: int) -> Problem:
    from sklearn.ensemble import GradientBoostingRegressor

    data = table("diabetes", 200, 240, seed)
    space = {
        "learning_rate": Float(1e-3, 1.0, log=True),
        "n_estimators": Int(5, 100, log=True),
        "max_depth": Int(1, 8),
        "subsample": Float(0.2, 1.0),
        "max_features": Float(0.1, 1.0),
        "loss": Choice(["squared_error", "huber", "absolute_error"]),
        "alpha": Float(0.5, 0.99, when=Equals("loss", "huber")),
    }
    return task(
        "boost-diabetes", space, lambda p: error(GradientBoostingRegressor(random_state=seed, **p), data), choose=False
    )


def pick_cancer(seed: int) -> Problem:
    """Which of four kinds of model, and its parameters: a space that is mostly conditions."""
    from benchmarks.tuning.families.models import four_kinds, one_of_four

    data = table("breast_cancer", 120, 400, seed)
    space = dict(four_kinds().parameters)
    return task("pick-cancer", space, lambda p: error(one_of_four(p, seed), data), choose=False)


def ridge_features(seed: int) -> Problem:
    """Kernel ridge regression on diabetes."""
    from sklearn.kernel_ridge import KernelRidge

    data = table("diabetes", 200, 240, seed)
    space = {
        "kernel": Choice(["rbf", "laplacian", "polynomial", "linear"]),
        "alpha": Float(1e-4, 1e3, log=True),
        "gamma": Float(1e-5, 1e1, log=True, when=Equals("kernel", "rbf", "laplacian", "polynomial")),
        "degree": Int(1, 5, when=Equals("kernel", "polynomial")),
        "coef0": Float(0.0, 2.0, when=Equals("kernel", "polynomial")),
    }
    return task("ridge-diabetes", space, lambda p: min(error(KernelRidge(**p), data), 5.0), choose=True)


PROBLEMS: dict[str, Callable[[int], Problem]] = {
    "sphere-6": lambda seed: on_cube("sphere-6", 6, sphere, seed),
    "branin": lambda seed: on_cube("branin", 2, branin, seed, move=False),
    "hartmann-6": lambda seed: on_cube("hartmann-6", 6, hartmann6, seed, move=False),
    "rosenbrock-4": lambda seed: on_cube("rosenbrock-4", 4, rosenbrock, seed),
    "ackley-5": lambda seed: on_cube("ackley-5", 5, ackley, seed),
    "levy-4": lambda seed: on_cube("levy-4", 4, levy, seed),
    "mixed-8": mixed,
    "conditional": conditional,
    "svm-digits": svm_digits,
    "forest-wine": forest_wine,
    "sgd-cancer": sgd_cancer,
    "ridge-diabetes": ridge_features,
    "svr-diabetes": svr_diabetes,
    "mlp-digits": mlp_digits,
    "boost-diabetes": boost_diabetes,
    "pick-cancer": pick_cancer,
}
