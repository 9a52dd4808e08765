"""Models trained by gradients: linear ones and networks. Solver and schedule decide what else there is to set."""

from benchmarks.tuning.task import Params, Task, log_loss, made, table, unexplained, without
from visutility.tune import Choice, Equals, Float, Int, Space


def sgd_cancer() -> Task:
    """A linear classifier by stochastic gradients on breast cancer."""
    space = Space(
        {
            "loss": Choice(["log_loss", "modified_huber"]),
            "penalty": Choice(["l1", "l2", "elasticnet"]),
            "alpha": Float(1e-7, 1e1, log=True),
            "l1_ratio": Float(0.0, 1.0, when=Equals("penalty", "elasticnet")),
            "learning_rate": Choice(["constant", "optimal", "invscaling", "adaptive"]),
            "eta0": Float(1e-5, 1e1, log=True, when=Equals("learning_rate", "constant", "invscaling", "adaptive")),
            "power_t": Float(0.1, 1.0, when=Equals("learning_rate", "invscaling")),
            "max_iter": Int(5, 100, log=True),
            "average": Choice([False, True]),
        }
    )

    def run(p: Params) -> float:
        from sklearn.linear_model import SGDClassifier

        return log_loss(SGDClassifier(random_state=0, **p), table("breast_cancer", 250, 300))

    return Task("sgd-cancer", space, run)


def mlp_digits() -> Task:
    """A small network on digits, by Adam or by plain gradients with momentum."""
    space = Space(
        {
            "hidden_layer_sizes": Int(4, 48, log=True),
            "activation": Choice(["relu", "tanh", "logistic"]),
            "solver": Choice(["adam", "sgd"]),
            "beta_1": Float(0.5, 0.99, when=Equals("solver", "adam")),
            "momentum": Float(0.0, 0.99, when=Equals("solver", "sgd")),
            "nesterovs_momentum": Choice([False, True], when=Equals("solver", "sgd")),
            "alpha": Float(1e-6, 1e1, log=True),
            "learning_rate_init": Float(1e-4, 1.0, log=True),
            "batch_size": Choice([16, 32, 64, 128], ordered=True),
        }
    )

    def run(p: Params) -> float:
        from sklearn.neural_network import MLPClassifier

        return log_loss(MLPClassifier(max_iter=8, random_state=0, **p), table("digits", 180, 900))

    return Task("mlp-digits", space, run)


def mlp_diabetes() -> Task:
    """A small regression network: three solvers, of which one has schedules, of which one has a power."""
    space = Space(
        {
            "solver": Choice(["lbfgs", "adam", "sgd"]),
            "max_iter": Int(5, 40, log=True),
            "rate": Float(1e-4, 1e-1, log=True, when=Equals("solver", "adam", "sgd")),
            "schedule": Choice(["constant", "invscaling", "adaptive"], when=Equals("solver", "sgd")),
            "power_t": Float(0.1, 0.9, when=Equals("schedule", "invscaling")),
            "momentum": Float(0.0, 0.99, when=Equals("solver", "sgd")),
            "layers": Int(1, 2),
            "first": Int(2, 32, log=True),
            "second": Int(2, 32, log=True, when=Equals("layers", 2)),
            "activation": Choice(["relu", "tanh", "identity"]),
            "alpha": Float(1e-6, 1e2, log=True),
        }
    )

    def run(p: Params) -> float:
        from sklearn.neural_network import MLPRegressor

        names = {"rate": "learning_rate_init", "schedule": "learning_rate"}
        own = {names.get(name, name): value for name, value in without(p, "layers", "first", "second").items()}
        hidden = (p["first"], p["second"]) if p["layers"] == 2 else (p["first"],)
        model = MLPRegressor(hidden_layer_sizes=hidden, random_state=0, batch_size=32, **own)
        return unexplained(model, table("diabetes", 160, 282))

    return Task("mlp-diabetes", space, run)


def sgd_regression() -> Task:
    """A linear regression by stochastic gradients on a made problem; steps too long make it fail."""
    space = Space(
        {
            "loss": Choice(["squared_error", "huber", "epsilon_insensitive"]),
            "epsilon": Float(1e-3, 2.0, log=True, when=Equals("loss", "huber", "epsilon_insensitive")),
            "penalty": Choice(["l2", "l1", "elasticnet"]),
            "l1_ratio": Float(0.0, 1.0, when=Equals("penalty", "elasticnet")),
            "alpha": Float(1e-7, 1e1, log=True),
            "learning_rate": Choice(["constant", "invscaling", "adaptive"]),
            "eta0": Float(1e-5, 1.0, log=True),
            "power_t": Float(0.05, 1.0, when=Equals("learning_rate", "invscaling")),
            "max_iter": Int(5, 100, log=True),
            "average": Choice([False, True]),
        }
    )

    def run(p: Params) -> float:
        from sklearn.linear_model import SGDRegressor

        data = made("regression", 120, 400, n_features=60, n_informative=12, noise=40.0)
        return unexplained(SGDRegressor(random_state=0, **p), data)

    return Task("sgd-regression", space, run)
