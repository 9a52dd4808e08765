"""What a worker process does for a recipe: a trial, a training, an evaluation.

These run in the executor's processes, found by import path. Rows come as paths of Arrow files and artifacts as paths
and hashes, so that nothing large is sent; the hash of an artifact is checked on the bytes that are loaded.
"""

import importlib
import inspect
import platform
from collections.abc import Mapping, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from visutility.core.codec import sha256, to_time
from visutility.core.errors import RecipeFailed, VisuTilityError
from visutility.core.settings import BLOBS
from visutility.data import DataBatch
from visutility.loop.policy import read_policy
from visutility.loop.recipe import Recipe, Reporter, find_recipe
from visutility.loop.snapshot import Snapshot, fresh_snapshot
from visutility.store.blobs import Blobs
from visutility.tune import Params


def describe(recipe: str) -> dict[str, Any]:
    """Return what a study needs to know of a recipe: its space as JSON, objective, direction and modality."""
    found = find_recipe(recipe)
    return {
        "space": found.space.to_json(),
        "objective": found.objective,
        "direction": found.direction,
        "modality": found.modality,
        "resumes": _resumes(found),
    }


def cut_fresh(
    recipe: str, home: str, since: str | None, policy: dict[str, Any], champion: dict[str, Any] | None
) -> dict[str, Any] | None:
    """Return the snapshot of the recipe's fresh rows taken after `since` as plain data, or None while too few."""
    found = find_recipe(recipe)
    before = None if champion is None else msgspec.convert(champion, Snapshot)
    after = None if since is None else to_time(since)
    source = _user(found, "source", found.source, Path(home))
    taken = fresh_snapshot(Blobs(Path(home) / BLOBS), source, after, read_policy(policy), before)
    plain: dict[str, Any] | None = msgspec.to_builtins(taken)
    return plain


def run_trial(
    recipe: str, params: Params, train: str, tune: str, checkpoint: str | None = None, *, report: Reporter
) -> dict[str, float]:
    """Fit on the train part and return the metrics on the tune part.

    `checkpoint` is the trial's own folder, for a recipe whose `fit` takes one: it is there, and empty at first.
    """
    found = find_recipe(recipe)
    data = DataBatch.from_ipc(Path(tune))
    fit: Any = found.fit
    if checkpoint is not None and _resumes(found):
        Path(checkpoint).mkdir(parents=True, exist_ok=True)
        fit = partial(fit, checkpoint=Path(checkpoint))
    model = _user(found, "fit", fit, params, DataBatch.from_ipc(Path(train)), report)
    evaluation = _user(found, "evaluate", found.evaluate, model, data).checked(found, len(data))
    return {name: float(value) for name, value in evaluation.metrics.items()}


def run_training(recipe: str, params: Params, parts: Sequence[str], blobs: str, *, report: Reporter) -> dict[str, Any]:
    """Fit on all parts, store the artifact, and return its hash, format and size in bytes."""
    found = find_recipe(recipe)
    data = DataBatch.concat([DataBatch.from_ipc(Path(part)) for part in parts])
    artifact = _user(found, "save", found.save, _user(found, "fit", found.fit, params, data, report))
    if not isinstance(artifact, bytes) or not artifact:
        raise RecipeFailed(f"recipe {found.name!r} saved {type(artifact).__name__}", hint="return the artifact's bytes")
    return {
        "sha256": Blobs(Path(blobs)).put(artifact),
        "format": found.format,
        "bytes": len(artifact),
        "rows": len(data),
        "code_revision": code_revision(recipe),
        "environment": environment(),
    }


def run_evaluation(recipe: str, artifact: str, blobs: str, data: str) -> dict[str, Any]:
    """Load an artifact by its hash and return its evaluation on the rows of an Arrow file, as plain data."""
    found = find_recipe(recipe)
    rows = DataBatch.from_ipc(Path(data))
    model = _user(found, "load", found.load, Blobs(Path(blobs)).get(artifact))
    evaluation = _user(found, "evaluate", found.evaluate, model, rows).checked(found, len(rows))
    return {
        "metrics": {name: float(value) for name, value in evaluation.metrics.items()},
        "losses": evaluation.losses.tolist(),
        "slices": {name: mask.tolist() for name, mask in evaluation.slices.items()},
        "signals": {name: values.tolist() for name, values in evaluation.signals.items()},
    }


def of_rows(evaluation: Mapping[str, Any], metric: str) -> list[float]:
    """Return a metric of each row of what `run_evaluation` returned: the signal of that name, or else the losses."""
    values: list[float] = evaluation.get("signals", {}).get(metric, evaluation["losses"])
    return values


def environment() -> dict[str, str]:
    """Return the versions a model was trained with."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in ("visutility", "numpy", "scipy", "scikit-learn", "skops", "torch", "onnx"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def code_revision(recipe: str) -> str:
    """Return the SHA-256 of the source of the module the recipe is in: what was run, committed or not."""
    module = importlib.import_module(recipe.partition(":")[0])
    try:
        return f"sha256:{sha256(inspect.getsource(module))}"
    except OSError:  # a module without source, such as a compiled one
        return f"unknown source of {module.__name__}"


def _resumes(recipe: Recipe) -> bool:
    """Whether the recipe's `fit` takes a folder for checkpoints."""
    return "checkpoint" in inspect.signature(recipe.fit).parameters


def _user(recipe: Recipe, what: str, call: Any, *args: Any) -> Any:
    """Call code a user wrote; what it raises comes out as `RecipeFailed`, our own errors as they are."""
    try:
        return call(*args)
    except VisuTilityError:
        raise
    except MemoryError:
        raise
    except Exception as error:
        raise RecipeFailed(f"recipe {recipe.name!r}: {what} raised {type(error).__name__}: {error}") from error
