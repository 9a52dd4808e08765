"""`StudySearchCV`: a drop-in for `RandomizedSearchCV`, held to scikit-learn's own checks."""

import pickle

import numpy as np
import pytest
from scipy.stats import expon, loguniform, norm, poisson, randint, uniform
from sklearn.base import clone
from sklearn.datasets import load_iris, make_regression
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold, RandomizedSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import estimator_checks_generator

from visutility import Choice, Equals, Float, Int, Space, Study
from visutility.core.errors import InvalidSetting, InvalidSpace
from visutility.interop.distributions import Distributions
from visutility.interop.sklearn import StudySearchCV

KERNELS = Space(
    {
        "kernel": Choice(["rbf", "linear"]),
        "C": Float(1e-2, 1e2, log=True),
        "gamma": Float(1e-3, 1.0, log=True, when=Equals("kernel", "rbf")),
    }
)


def _name(check):
    return getattr(check, "func", check).__name__


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


# Deselected: scikit-learn's checks of other array libraries (check_array_api_input, check_array_api_same_namespace,
# check_array_api_mixed_inputs). They skip themselves where torch, cupy, dpnp and array_api_strict are not installed;
# arrays go to the wrapped estimator as they are. And check_supervised_y_2d of Ridge: no search of scikit-learn's own
# passes it for an estimator that takes several outputs ("DataConversionWarning not caught" in its list of exceptions).
CHECKED = [
    StudySearchCV(LogisticRegression(), {"C": Float(0.1, 10, log=True)}, n_iter=2, random_state=0, cv=2),
    StudySearchCV(Ridge(), {"alpha": [0.1, 1.0, 10.0]}, n_iter=2, random_state=0, cv=2),
]
CHECKS = [
    pytest.param(estimator, check, id=f"{type(given.estimator).__name__}-{at}-{_name(check)}")
    for given in CHECKED
    for at, (estimator, check) in enumerate(estimator_checks_generator(given, mark="skip"))
    if "array_api" not in _name(check) and (type(given.estimator), _name(check)) != (Ridge, "check_supervised_y_2d")
]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")  # the checks fit what cannot be fitted
@pytest.mark.parametrize(("estimator", "check"), CHECKS)
def test_scikit_learns_estimator_checks(estimator, check):
    check(estimator)


def test_a_space_with_conditions(iris):
    search = StudySearchCV(SVC(), KERNELS, n_iter=14, random_state=0).fit(*iris)
    assert search.best_score_ == max(search.cv_results_["mean_test_score"])
    assert len(search.cv_results_["params"]) == 14
    for params in search.cv_results_["params"]:
        assert ("gamma" in params) == (params["kernel"] == "rbf")
    assert search.predict(iris[0]).shape == (150,)
    assert search.study_.best.value == search.best_score_
    assert [dict(t.params) for t in search.study_.trials] == search.cv_results_["params"]


def test_the_same_dictionary_as_randomized_search(iris):
    given = {"C": loguniform(1e-2, 1e2), "kernel": ["rbf", "linear"], "shrinking": [True, False]}
    ours = StudySearchCV(SVC(), given, n_iter=6, random_state=3).fit(*iris)
    theirs = RandomizedSearchCV(SVC(), given, n_iter=6, random_state=3).fit(*iris)
    assert set(ours.cv_results_) == set(theirs.cv_results_)
    assert set(ours.get_params()) - set(theirs.get_params()) == {"strategy", "history", "objective", "batch"}
    assert set(vars(theirs)) - set(vars(ours)) == set()


def test_values_no_space_can_hold(iris):
    scalers = [StandardScaler(), MinMaxScaler(), None, "passthrough"]
    pipe = make_pipeline(StandardScaler(), DecisionTreeClassifier(random_state=0))
    given = {
        "standardscaler": [*scalers[:2], "passthrough"],
        "decisiontreeclassifier__class_weight": [None, {0: 2.0, 1: 1.0, 2: 1.0}],
    }
    search = StudySearchCV(pipe, given, n_iter=50, random_state=0, cv=2).fit(*iris)
    tried = search.cv_results_["params"]
    assert len(tried) == 6  # every one of 3 × 2, then it ends
    assert {type(p["standardscaler"]) for p in tried} == {StandardScaler, MinMaxScaler, str}
    assert any(p["decisiontreeclassifier__class_weight"] == {0: 2.0, 1: 1.0, 2: 1.0} for p in tried)


@pytest.mark.parametrize(
    ("drawn", "holds"),
    [
        (uniform(2, 3), lambda v: 2 <= v <= 5),
        (loguniform(1e-3, 1e1), lambda v: 1e-3 <= v <= 1e1),
        (randint(2, 5), lambda v: v in (2, 3, 4)),
        (norm(10, 1), lambda v: 6 < v < 14),
        (poisson(4), lambda v: v == int(v) and 0 <= v < 20),
    ],
)
def test_distributions_give_values_of_their_own(drawn, holds):
    X, y = make_regression(30, 3, random_state=0)
    search = StudySearchCV(Ridge(), {"alpha": drawn}, n_iter=9, random_state=1, cv=2, strategy="random").fit(X, y)
    values = [p["alpha"] for p in search.cv_results_["params"]]
    assert all(map(holds, values))
    assert len(set(values)) > 2


def test_quantiles_keep_the_distribution():
    """The mean of 300 draws of N(10, 1) is outside ±.25 once in 10 ** 4 runs."""
    found = Distributions({"x": norm(10, 1)})
    drawn = [found.real(t.params)["x"] for t in Study(found.space, strategy="random").ask_batch(300)]
    assert np.mean(drawn) == pytest.approx(10, abs=0.25)
    assert np.std(drawn) == pytest.approx(1, abs=0.25)


def test_a_list_of_dictionaries(iris):
    given = [{"kernel": ["linear"], "C": loguniform(1e-2, 1e2)}, {"kernel": ["rbf"], "gamma": Float(1e-3, 1, log=True)}]
    search = StudySearchCV(SVC(), given, n_iter=12, random_state=0, cv=2).fit(*iris)
    for params in search.cv_results_["params"]:
        assert set(params) == ({"kernel", "C"} if params["kernel"] == "linear" else {"kernel", "gamma"})
    assert {p["kernel"] for p in search.cv_results_["params"]} == {"linear", "rbf"}


def test_several_metrics(iris):
    search = StudySearchCV(
        SVC(), KERNELS, n_iter=6, random_state=0, cv=3, scoring={"acc": "accuracy", "f1": "f1_macro"}, refit="f1"
    ).fit(*iris)
    results = search.cv_results_
    assert search.best_index_ == np.argmax(results["mean_test_f1"])
    trial = search.study_.trials[2]
    assert trial.value == results["mean_test_f1"][2]
    assert trial.metrics["acc"] == results["mean_test_acc"][2]


def test_the_objective_among_several_metrics(iris):
    scoring = {"f1": "f1_macro", "acc": "accuracy"}
    search = StudySearchCV(SVC(), KERNELS, n_iter=3, scoring=scoring, refit=False, cv=2).fit(*iris)
    assert [t.value for t in search.study_.trials] == list(search.cv_results_["mean_test_f1"])
    with pytest.raises(InvalidSetting, match="no metric"):
        StudySearchCV(SVC(), KERNELS, n_iter=2, objective="auc", cv=2).fit(*iris)
    search = StudySearchCV(SVC(), KERNELS, n_iter=3, scoring=scoring, refit=False, objective="acc", cv=2).fit(*iris)
    assert [t.value for t in search.study_.trials] == list(search.cv_results_["mean_test_acc"])


def test_every_candidate_sees_the_same_splits():
    """A shuffling splitter gives other splits at every call; scores of equal candidates must still be equal."""
    X, y = make_regression(40, 4, noise=20, random_state=0)
    cv = KFold(3, shuffle=True, random_state=np.random.RandomState(0))  # on purpose
    search = StudySearchCV(Ridge(), {"alpha": [1.0, 1.0 + 1e-13]}, n_iter=2, cv=cv, random_state=0).fit(X, y)
    first, second = search.cv_results_["mean_test_score"]
    assert first == pytest.approx(second, rel=1e-6)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning")
@pytest.mark.filterwarnings("ignore:One or more of the test scores are non-finite")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("batch", [1, 3])
def test_failed_candidates_are_failed_trials(iris, batch):
    search = StudySearchCV(SVC(), {"C": Float(-1.0, 1.0)}, n_iter=12, random_state=0, cv=2, batch=batch).fit(*iris)
    trials = search.study_.trials
    assert len(trials) == 12
    assert {t.state for t in trials} == {"failed", "complete"}
    assert all((t.state == "failed") == (t.params["C"] <= 0) for t in trials)
    scores = {p["C"]: v for p, v in zip(*(search.cv_results_[k] for k in ("params", "mean_test_score")), strict=True)}
    for trial in trials:
        if trial.state == "complete":
            assert scores[trial.params["C"]] == trial.value
        else:
            assert np.isnan(scores.get(trial.params["C"], np.nan))


def test_nothing_fits(iris):
    search = StudySearchCV(SVC(), {"C": [-1.0, -2.0]}, n_iter=2, cv=2)
    with pytest.raises(ValueError, match="fits failed"):
        search.fit(*iris)
    assert [t.state for t in search.study_.trials] == ["failed", "failed"]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning")
@pytest.mark.filterwarnings("ignore:One or more of the (test|train) scores are non-finite")
@pytest.mark.filterwarnings("ignore:Scoring failed")
@pytest.mark.parametrize("batch", [1, 2, 6])
@pytest.mark.parametrize("error_score", [np.nan, 0.25])
def test_failed_candidates_have_the_rows_that_scikit_learn_gives_them(iris, batch, error_score):
    """Half of the candidates fail in every split, some of them in a row. The same list, in the same order, for both."""
    given = {"C": Choice([1.0, -1.0, -2.0, -3.0, 2.0, -4.0]), "kernel": Choice(["rbf"])}
    settings = {"cv": 3, "error_score": error_score, "return_train_score": True}
    ours = StudySearchCV(SVC(), given, n_iter=6, strategy="grid", batch=batch, random_state=0, **settings).fit(*iris)
    asked = [t.params for t in ours.study_.trials]
    theirs = GridSearchCV(SVC(), [{k: [v] for k, v in p.items()} for p in asked], **settings).fit(*iris)
    assert list(ours.cv_results_) == list(theirs.cv_results_)
    for key, column in theirs.cv_results_.items():
        if key == "params" or key.startswith("param_"):
            assert list(ours.cv_results_[key]) == list(column), key
            assert np.ma.getmaskarray(ours.cv_results_[key]).any() == np.ma.getmaskarray(column).any()
        elif not key.endswith("_time"):
            assert ours.cv_results_[key] == pytest.approx(column, nan_ok=True), key
        assert getattr(ours.cv_results_[key], "dtype", None) == getattr(column, "dtype", None), key
    assert ours.best_params_ == theirs.best_params_
    told = [t.value for t in ours.study_.trials]
    assert told == [None if np.isnan(v) else v for v in ours.cv_results_["mean_test_score"]]


@pytest.mark.filterwarnings("ignore:Scoring failed")
def test_a_parameter_that_only_failed_candidates_have_is_a_column(iris):
    space = Space({"kernel": Choice(["poly", "rbf"]), "degree": Int(-2, -1, when=Equals("kernel", "poly"))})
    search = StudySearchCV(SVC(), space, n_iter=3, cv=2, strategy="grid", batch=1)
    with pytest.warns(FitFailedWarning, match="every fit of 2 candidates failed: their scores are nan"):
        search.fit(*iris)
    results = search.cv_results_
    poly = [p["kernel"] == "poly" for p in results["params"]]
    assert sum(poly) == 2
    assert (~np.ma.getmaskarray(results["param_degree"])).tolist() == poly
    assert np.isnan(results["mean_test_score"]).tolist() == poly
    assert [rank for rank, failed in zip(results["rank_test_score"], poly, strict=True) if failed] == [2, 2]
    assert search.best_params_ == {"kernel": "rbf"}


@pytest.mark.parametrize("sizes", [[(0,), (-1, 4)], [(0, 2), (0, 3)], [(0, (1, 2)), (0,)], [[0, 1], [0, 2]]])
def test_failed_candidates_may_have_values_that_are_no_numbers(iris, sizes):
    class Layered(SVC):
        def __init__(self, sizes=None, C=1.0):
            super().__init__(C=C)
            self.sizes = sizes

        def fit(self, X, y):
            if self.sizes is not None:
                raise ValueError("no units")
            return super().fit(X, y)

    given = [{"C": [1.0, 2.0]}, {"sizes": sizes}]
    search = StudySearchCV(Layered(), given, n_iter=4, cv=2, strategy="grid", batch=1)
    with pytest.warns(FitFailedWarning, match="every fit of 2 candidates"):
        search.fit(*iris)
    results = search.cv_results_
    column = results["param_sizes"]
    assert [None if one is np.ma.masked else one for one in column] == [p.get("sizes") for p in results["params"]]
    assert np.ma.getmaskarray(column).sum() == 2
    assert len(search.study_.trials) == 4


def test_a_failed_candidate_is_fitted_once(iris):
    fitted = []

    class Picky(SVC):
        def fit(self, X, y):
            fitted.append(self.C)
            return super().fit(X, y)

    with pytest.warns(FitFailedWarning, match="every fit of 2 candidates"):
        StudySearchCV(Picky(), {"C": [1.0, -1.0, -2.0]}, n_iter=3, cv=2, strategy="grid", batch=1, refit=False).fit(
            *iris
        )
    assert sorted(fitted) == [-2.0, -2.0, -1.0, -1.0, 1.0, 1.0]


def test_errors_may_be_raised(iris):
    with pytest.raises(ValueError, match="'C' parameter"):
        StudySearchCV(SVC(), {"C": [-1.0]}, n_iter=1, error_score="raise", cv=2).fit(*iris)


def test_the_same_state_searches_the_same(iris):
    def params(**more):
        return StudySearchCV(SVC(), KERNELS, n_iter=9, cv=2, **more).fit(*iris).cv_results_["params"]

    assert params(random_state=5) == params(random_state=np.random.RandomState(5))  # on purpose
    assert params(random_state=5) != params(random_state=6)


def test_batches(iris):
    search = StudySearchCV(SVC(), KERNELS, n_iter=7, batch=3, cv=2, random_state=0).fit(*iris)
    assert len(search.study_.trials) == 7
    assert len({str(sorted(p.items())) for p in search.cv_results_["params"]}) == 7
    with pytest.raises(InvalidSetting, match="batch is 0"):
        StudySearchCV(SVC(), KERNELS, batch=0, cv=2).fit(*iris)


def test_history_is_where_a_search_starts(iris):
    earlier = StudySearchCV(SVC(), KERNELS, n_iter=9, cv=3, random_state=0).fit(*iris)
    cold = RandomizedSearchCV(
        SVC(), {"kernel": ["rbf"], "C": loguniform(1e-2, 1e2), "gamma": loguniform(1e-3, 1)}, n_iter=9, random_state=0
    ).fit(*iris)
    results = cold.cv_results_
    pairs = list(zip(results["params"], results["mean_test_score"], strict=True))
    lower = [(params, -score) for params, score in pairs]
    for history, learnt in (
        ([cold], lower),
        ([pairs], lower),
        ([earlier, earlier.study_], earlier.study_.past().trials),
    ):
        found = StudySearchCV(SVC(), KERNELS, n_iter=1, cv=3, random_state=1, history=history).fit(*iris)
        for past in found.study_snapshot_["history"]:
            assert [tuple(pair) for pair in past["trials"]] == [tuple(pair) for pair in learnt]
        assert "inform" in found.study_.reason


def test_history_of_listed_values(iris):
    given = {"C": loguniform(0.01, 10), "class_weight": [None, {0: 5.0, 1: 1.0, 2: 1.0}]}
    earlier = RandomizedSearchCV(SVC(), given, n_iter=6, random_state=0, cv=StratifiedKFold(2)).fit(*iris)
    search = StudySearchCV(SVC(), given, n_iter=1, cv=2, random_state=0, history=[earlier]).fit(*iris)
    weights = [params["class_weight"] for params, _ in search.study_snapshot_["history"][0]["trials"]]
    space = search.study_.space
    assert [space.parameters["class_weight"].index(label) for label in weights] == [
        0 if p["class_weight"] is None else 1 for p in earlier.cv_results_["params"]
    ]


def test_pickle_and_clone(iris):
    search = StudySearchCV(SVC(), KERNELS, n_iter=4, cv=2, random_state=0).fit(*iris)
    again = pickle.loads(pickle.dumps(search))
    assert again.study_.trials == search.study_.trials
    fresh = clone(search)
    assert fresh.get_params()["n_iter"] == 4
    assert not hasattr(fresh, "study_")


@pytest.mark.parametrize(
    "given", [{}, [], 3, {"C": 1.0}, {"C": "abc"}, {"C": []}, [{"C": Int(1, 3, when=Equals("a", 1))}, {"C": [1]}]]
)
def test_what_is_no_space_is_refused(iris, given):
    with pytest.raises((InvalidSpace, ValueError)):
        StudySearchCV(SVC(), given, cv=2).fit(*iris)


def test_a_distribution_without_quantiles_is_refused(iris):
    class Draws:
        def rvs(self, random_state=None):
            return 1.0

    with pytest.raises(InvalidSpace, match="no quantiles"):
        StudySearchCV(SVC(), {"C": Draws()}, cv=2).fit(*iris)


def test_no_parameters_of_the_estimator(iris):
    with pytest.raises(ValueError, match="Invalid parameter"):
        StudySearchCV(DummyClassifier(), {"depth": [1, 2]}, cv=2).fit(*iris)


@pytest.mark.parametrize("drawn", [poisson(4), expon(scale=100), norm(10, 1)])
def test_what_quantiles_give_is_found_again(drawn):
    found = Distributions({"a": drawn})
    for place in np.linspace(0.0, 1.0, 41):
        value = found.real(found.space.decode([place]))["a"]
        assert drawn.support()[0] <= value <= drawn.support()[1]
        assert found.real(found.space.validate(found.labels({"a": value})))["a"] == pytest.approx(value, rel=1e-6)
