"""`StudySearchCV`: scikit-learn's `RandomizedSearchCV`, with a study that chooses what to try next.

Needs the `sklearn` extra.
"""

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, final

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import RandomizedSearchCV
from sklearn.utils import check_random_state

from visutility.core.errors import InvalidSetting, StudyClosed
from visutility.interop._failed_rows import add_failed
from visutility.interop.distributions import Distributions
from visutility.tune.drive import Study
from visutility.tune.strategy import AbstractStrategy
from visutility.tune.trial import Failure, Result, Trial

Evaluate = Callable[..., dict[str, Any]]


@final
class StudySearchCV(RandomizedSearchCV):  # type: ignore[misc]  # scikit-learn has no types
    """Hyper-parameter search with cross-validation whose candidates come from a `Study`.

    Everything `RandomizedSearchCV` takes and gives (`best_params_`, `cv_results_`, `refit`, several metrics) is the
    same; a dictionary of lists and SciPy distributions works as it is. Beyond it:

    `param_distributions` may be a `Space`, conditions included: parameters that are not active are left as the
    estimator has them. `strategy` goes to the `Study`. `history` holds earlier searches, oldest first, that this one
    starts from: fitted searches of scikit-learn's or this kind, studies, or lists of (parameters, score). `objective`
    names the metric to search for, where there are several and `refit` names none; None: the first. `batch` candidates
    are chosen at a time; None: as many as keep `n_jobs` busy.

    The search ends before `n_iter` when the space has no more configurations. A candidate whose mean score is not
    finite (`error_score=np.nan`) is a failed trial, and the study learns to avoid its like.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **RandomizedSearchCV._parameter_constraints,
        **dict.fromkeys(("param_distributions", "strategy", "history", "objective", "batch"), "no_validation"),
    }

    def __init__(
        self,
        estimator: Any,
        param_distributions: Any,
        *,
        n_iter: int = 10,
        scoring: Any = None,
        n_jobs: int | None = None,
        refit: Any = True,
        cv: Any = None,
        verbose: int = 0,
        pre_dispatch: Any = "2*n_jobs",
        random_state: Any = None,
        error_score: Any = np.nan,
        return_train_score: bool = False,
        strategy: str | AbstractStrategy = "auto",
        history: Sequence[Any] = (),
        objective: str | None = None,
        batch: int | None = None,
    ) -> None:
        super().__init__(
            estimator,
            param_distributions,
            n_iter=n_iter,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            pre_dispatch=pre_dispatch,
            random_state=random_state,
            error_score=error_score,
            return_train_score=return_train_score,
        )
        self.strategy = strategy
        self.history = history
        self.objective = objective
        self.batch = batch

    @property
    def study_(self) -> Study:
        """The study of the last `fit`: its trials, and the `history` of a later search."""
        if not hasattr(self, "study_snapshot_"):
            raise AttributeError(f"{type(self).__name__} has no study yet: call fit")
        given = self.strategy if isinstance(self.strategy, AbstractStrategy) else None
        return Study.restore(self.study_snapshot_, given)

    def _run_search(self, evaluate_candidates: Evaluate) -> None:
        """Ask, evaluate and tell until `n_iter` candidates were tried."""
        batch = self._batch_size()
        found = Distributions(self.param_distributions)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        history = [_earlier(item, found) for item in self.history]
        study = Study(found.space, "maximize", self.strategy, seed, history, "score", self.n_iter)
        table = _Table(evaluate_candidates, _SameSplits(self._checked_cv_orig), self.error_score)
        done = 0
        while done < self.n_iter:
            try:
                trials = study.ask_batch(min(batch, self.n_iter - done))
            except StudyClosed:
                break
            results = table.evaluate([found.real(trial.params) for trial in trials])
            for at, trial in enumerate(trials, start=-len(trials)):
                if results is None:
                    study.tell(trial, self._failure())
                else:
                    _tell(study, trial, results, at, self._metric(results))
            done += len(trials)
        self.study_snapshot_ = study.snapshot()  # before what may raise: the trials are not lost by it
        table.close()

    def _failure(self) -> Result:
        """What the study is told of a candidate none of whose fits worked: its score, where it has one."""
        return {"score": float(self.error_score)} if np.isfinite(self.error_score) else Failure("every fit failed")

    def _batch_size(self) -> int:
        if self.batch is None:
            jobs: int = self.n_jobs or 1
            jobs = jobs if jobs > 0 else (os.cpu_count() or 1) + 1 + jobs
            return max(1, -(-jobs // int(self.n_splits_)))
        if isinstance(self.batch, bool) or not isinstance(self.batch, (int, np.integer)) or self.batch < 1:
            raise InvalidSetting(f"batch is {self.batch!r}", hint="give a whole number of at least 1, or None")
        return int(self.batch)

    def _metric(self, results: Mapping[str, Any]) -> str:
        """The name of the metric to search for, as `cv_results_` spells it after `mean_test_`."""
        names = [key.removeprefix("mean_test_") for key in results if key.startswith("mean_test_")]
        if self.objective is not None:
            if self.objective not in names:
                raise InvalidSetting(f"objective {self.objective!r} is no metric", hint=f"the scores are {names}")
            return self.objective
        if isinstance(self.refit, str) and self.refit in names:
            return self.refit
        return names[0]


def _earlier(item: Any, found: Distributions) -> Any:
    """A fitted search or a list of (parameters, score) as a study can read it; anything else as it is."""
    if isinstance(item, StudySearchCV):
        return item.study_
    if isinstance(item, BaseEstimator) and hasattr(item, "cv_results_"):
        name = "score" if "mean_test_score" in item.cv_results_ else item.refit
        if not isinstance(name, str):
            raise InvalidSetting(f"{item!r:.60} does not name the metric it refits", hint="give (parameters, score)")
        item = list(zip(item.cv_results_["params"], item.cv_results_[f"mean_test_{name}"], strict=True))
    if isinstance(item, list) and all(isinstance(pair, tuple) and isinstance(pair[0], Mapping) for pair in item):
        return [(found.labels(params), score) for params, score in item]
    return item


class _Table:
    """What fills `cv_results_`. scikit-learn refuses a call in which every fit failed: the rows of such candidates are
    added at the end, so that one bad candidate does not end the search.
    """

    def __init__(self, evaluate: Evaluate, splits: "_SameSplits", error_score: Any) -> None:
        self._evaluate = evaluate
        self._splits = splits
        self._error_score = error_score
        self._failed: dict[int, dict[str, Any]] = {}
        self._error: ValueError | None = None
        self._results: dict[str, Any] | None = None
        self._rows = 0

    def evaluate(self, candidates: list[dict[str, Any]]) -> Mapping[str, Any] | None:
        """Return `cv_results_` so far, these candidates last; None when all their fits failed."""
        rows = range(self._rows, self._rows + len(candidates))
        self._rows += len(candidates)
        try:
            self._results = self._evaluate(candidates, cv=self._splits)
        except ValueError as error:
            if isinstance(self._error_score, str) or "fits failed" not in str(error):
                raise
            self._failed.update(zip(rows, candidates, strict=True))
            self._error = error
            return None
        return self._results

    def close(self) -> None:
        """Give the failed candidates their rows; raise when no candidate was fitted."""
        if self._error is None:
            return
        if self._results is None:
            raise self._error
        add_failed(self._results, self._failed, float(self._error_score))
        warnings.warn(
            f"every fit of {len(self._failed)} candidates failed: their scores are {self._error_score}.\n{self._error}",
            FitFailedWarning,
            stacklevel=5,
        )


class _SameSplits:
    """A splitter that splits once, so that every candidate is judged on the same splits."""

    def __init__(self, splitter: Any) -> None:
        self._splitter = splitter
        self._splits: list[Any] | None = None

    def split(self, X: Any, y: Any = None, **params: Any) -> list[Any]:
        """Return the splits (train, test) of the first call."""
        if self._splits is None:
            self._splits = list(self._splitter.split(X, y, **params))
        return self._splits


def _tell(study: Study, trial: Trial, results: Mapping[str, Any], at: int, metric: str) -> None:
    """Tell row `at`, counted from the end: the mean of every metric over the splits, and of the seconds to fit."""
    score = float(results[f"mean_test_{metric}"][at])
    if not np.isfinite(score):
        study.tell(trial, Failure(f"the mean score is {score}"))
        return
    others = {key.removeprefix("mean_test_"): float(row[at]) for key, row in results.items() if _told(key)}
    study.tell(trial, {**others, "score": score})


def _told(key: str) -> bool:
    return key.startswith("mean_test_") or key == "mean_fit_time"
