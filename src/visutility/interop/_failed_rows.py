"""Rows of `cv_results_` for candidates all of whose fits failed, which scikit-learn refuses to make."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.ma import MaskedArray


def add_failed(results: dict[str, Any], failed: Mapping[int, dict[str, Any]], error_score: float) -> None:
    """Put the failed candidates, by the row each is to have, into a table of the others, in place.

    Scores are `error_score`, as in a call in which other candidates were fitted, and ranks are worked out again: a
    score that is not a number shares the last rank. The seconds to fit are not known.
    """
    count = len(results["params"]) + len(failed)
    fitted = [row for row in range(count) if row not in failed]
    params = {**dict(zip(fitted, results["params"], strict=True)), **failed}
    names = dict.fromkeys(f"param_{name}" for one in failed.values() for name in one)
    results |= {key: _extended(results.get(key), params, fitted, key.removeprefix("param_")) for key in names}
    for key in list(results):
        if key.startswith("param_") and key not in names:
            results[key] = _extended(results[key], params, fitted, key.removeprefix("param_"))
        elif key != "params" and not key.startswith(("param_", "rank_")):
            column = np.full(count, _missing(key, error_score))
            column[fitted] = results[key]
            results[key] = column
    for key in results:
        if key.startswith("rank_test_"):
            results[key] = _ranks(results[f"mean_test_{key.removeprefix('rank_test_')}"])
    results["params"] = [params[row] for row in range(count)]


def _missing(key: str, error_score: float) -> float:
    """What a failed candidate has in a column of numbers."""
    if key.endswith("_fit_time"):
        return float("nan")
    if key.endswith("_score_time"):
        return 0.0
    return error_score - error_score if key.startswith("std_") else error_score


def _extended(column: Any, params: Mapping[int, dict[str, Any]], fitted: list[int], name: str) -> Any:
    """A masked column (n,) of a parameter's values, of a type that holds those of the fitted rows and the others."""
    values = [one[name] for row, one in params.items() if name in one and (row not in fitted or column is None)]
    types = [_type(value) for value in values] + ([] if column is None else [column.dtype])
    plain = all(one.kind in "biuf" for one in types) and len({one.kind == "b" for one in types}) == 1
    found = MaskedArray(np.empty(len(params), dtype=np.result_type(*types) if plain else object), mask=True)
    for row, one in params.items():
        if name in one:
            found[row] = one[name]
    return found


def _type(value: Any) -> np.dtype[Any]:
    """The type of a column that can hold this value in one of its places."""
    try:
        made = np.asarray(value)
    except (TypeError, ValueError):  # rows of several lengths, or what cannot be looked into
        return np.dtype(object)
    return made.dtype if made.ndim == 0 else np.dtype(object)


def _ranks(means: Any) -> Any:
    """Ranks (n,) of mean scores, 1 for the greatest; those that are not numbers share the last one."""
    falling = -np.where(np.isnan(means), np.nanmin(means) - 1, means)
    return (np.searchsorted(np.sort(falling), falling) + 1).astype(np.int32)
