"""The steps of the durable runs in `retrain`: what each does to the database, and what it asks of the workers."""

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from sqlalchemy import insert, select

from visutility.core.codec import dumps, loads, unpack_floats
from visutility.core.errors import AliasMoved
from visutility.execute import Call, Limits, run_call
from visutility.flow import StepCall, effect, step
from visutility.loop import work as work_calls
from visutility.loop.gate import Comparison, Paired, gate
from visutility.loop.policy import Policy, read_policy, settled
from visutility.loop.services import Services
from visutility.loop.snapshot import Snapshot, first_snapshot, record_snapshot, snapshot_of
from visutility.loop.tuning import TrialRunner, checkpoints_of
from visutility.loop.watches import start_watches, window_of
from visutility.registry import CHAMPION, NewVersion, aliases, models, queries, studies, versions
from visutility.store import audit
from visutility.store.engine import Tx
from visutility.store.schema import gate_report, metric_chunk
from visutility.tune import CurveStopping, Space
from visutility.tune.fidelity import AUTO

MODEL_PART = 37  # characters of the model's name in a study's, which has 64 in all and ends with the run's id


@effect("snapshot")
def cut_first_snapshot(call: StepCall, data: str) -> dict[str, Any]:
    """Split the rows of the Arrow file with that hash."""
    from visutility.data import DataBatch

    blobs = _services(call).blobs
    return _plain(first_snapshot(blobs, DataBatch.from_ipc(blobs.path(data))))


@step("champion")
def find_champion(tx: Tx, _call: StepCall, model: str) -> dict[str, Any]:
    """Read who serves now; the promotion at the end succeeds only if it still does."""
    version = queries.get(tx.connection, f"{model}@champion")
    return {
        "id": version.id,
        "number": version.number,
        "params": version.params,
        "artifact": version.artifact_sha256,
        "recipe": version.recipe,
        "moves": aliases.find_alias(tx, model, CHAMPION).moves,
    }


@effect("settle")
def await_settled(
    call: StepCall, model: str, metric: str | None, position: int | None, rows: int
) -> dict[str, Any] | None:
    """Return since when fresh rows count, once the metric's values after the alarm look stationary."""
    if metric is None or position is None:
        return {"since": None, "position": None}
    services = _services(call)
    with services.store.read() as connection:
        model_id = models.find(connection, model).id
        c = metric_chunk.c
        found = connection.execute(
            select(c.first_position, c["values"].label("packed"), c.at)
            .where(c.model_id == model_id, c.metric == metric, c.first_position + c["count"] > position)
            .order_by(c.first_position)
        ).all()
    if not found:
        return None
    values = np.concatenate([unpack_floats(row.packed) for row in found])[max(0, position - found[0].first_position) :]
    if not settled(values, rows):
        return None
    return {"since": found[-1].at, "position": position + len(values) - 1}


@effect("fresh")
def await_fresh(
    call: StepCall, recipe: str, policy: dict[str, Any], since: str | None, champion: str
) -> dict[str, Any] | None:
    """Return the snapshot, once the source has enough rows taken after `since`."""
    services = _services(call)
    with services.store.read() as connection:
        before = snapshot_of(connection, champion)
    champion_rows = None if before is None else _plain(before)
    work = Call.of(work_calls.cut_fresh, recipe, str(services.home), since, policy, champion_rows)
    taken = _work(call, work, policy)
    return None if taken is None else _as_dict(taken)


@step("keep-snapshot")
def keep_snapshot(tx: Tx, call: StepCall, model: str, snapshot: dict[str, Any], why: str) -> str:
    """Record the snapshot's row."""
    model_id = models.find(tx.connection, model).id
    return record_snapshot(
        tx, _snapshot(snapshot), model_id=model_id, model=model, run_id=call.run_id, by=_by(call), why=why
    )


@effect("describe")
def describe(call: StepCall, recipe: str, policy: dict[str, Any]) -> dict[str, Any]:
    """Read the recipe's space and objective, in a worker: no user code runs where transactions do."""
    return _as_dict(_work(call, Call.of(work_calls.describe, recipe), policy))


@step("open-study")
def open_study(
    tx: Tx, call: StepCall, model: str, recipe: dict[str, Any], policy: dict[str, Any], start: dict[str, Any] | None
) -> dict[str, Any]:
    """Open the run's study: the champion's configuration is trial 0, the model's earlier studies are its history."""
    rules, space = read_policy(policy), Space.from_json(recipe["space"])
    model_id = models.find(tx.connection, model).id
    adopted = None if start is None else space.adopt(start)
    opened = studies.create(
        tx,
        name=f"{model[:MODEL_PART]}.{call.run_id}",
        model_id=model_id,
        run_id=call.run_id,
        space=space,
        objective=recipe["objective"],
        direction=recipe["direction"],
        strategy=rules.strategy,
        modality=recipe["modality"],
        seed=rules.seed,
        budget=rules.trials,
        workers=rules.parallel,
        stopping=CurveStopping(pauses=True) if recipe.get("resumes") else AUTO,
        enqueue=[] if adopted is None else [adopted],
        by=_by(call),
        why=f"{call.run_id} re-tunes {model}" if start else f"{call.run_id} tunes {model}",
    )
    return {"study": opened.id, "strategy": opened.strategy, "reason": opened.reason}


@effect("tune")
def tune(call: StepCall, recipe: str, policy: dict[str, Any], study_id: str, snapshot: dict[str, Any]) -> int:
    """Run the study's trials; each ask and tell commits, so a crash costs only the trials in flight."""
    services, rules, taken = _services(call), read_policy(policy), _snapshot(snapshot)
    parts = (taken.path(services.blobs, "train"), taken.path(services.blobs, "tune"))
    durable = studies.DurableStudy(services.store, study_id)
    pauses = durable.options.stopping == CurveStopping(pauses=True)
    kept = checkpoints_of(services.home, study_id) if pauses else None
    runner = TrialRunner(
        services.executor,
        services.metrics,
        work_calls.run_trial,
        parts,
        _limits(rules),
        recipe,
        services.on_trial,
        kept,
    )
    runner.run(durable, rules.trials, rules.parallel, call.check)
    return len(durable.trials)


@step("close-study")
def close_study(tx: Tx, call: StepCall, study_id: str) -> dict[str, Any]:
    """Close the study and return its best trial."""
    studies.close(tx, study_id, by=_by(call), why="its budget of trials is spent")
    best = studies.load(tx.connection, study_id).best
    return {"params": best.params, "trial": best.number, "value": best.value, "metrics": dict(best.metrics or {})}


@effect("train")
def fit_best(
    call: StepCall, recipe: str, policy: dict[str, Any], params: dict[str, Any], snapshot: dict[str, Any]
) -> dict[str, Any]:
    """Fit the best configuration on train and tune rows together, and store the artifact."""
    services, taken = _services(call), _snapshot(snapshot)
    parts = [taken.path(services.blobs, "train"), taken.path(services.blobs, "tune")]
    work = Call.of(work_calls.run_training, recipe, params, parts, str(services.blobs.root))
    return _as_dict(_work(call, work, policy))


@step("register")
def register_version(
    tx: Tx,
    call: StepCall,
    model: str,
    recipe: str,
    best: dict[str, Any],
    snapshot: dict[str, Any],
    snapshot_id: str,
    study_id: str,
    parent: str | None,
    trigger: str | None,
) -> dict[str, Any]:
    """Register the challenger: at most one version a run, by a unique key in the database."""
    new = NewVersion(
        model=model,
        artifact_sha256=best["sha256"],
        artifact_format=best["format"],
        artifact_bytes=best["bytes"],
        recipe=recipe,
        params=best["params"],
        metrics=best["metrics"],
        data_fingerprint=_snapshot(snapshot).fingerprint,
        data_rows=best["rows"],
        snapshot_id=snapshot_id,
        study_id=study_id,
        trial_number=best["trial"],
        parent_id=parent,
        trigger_id=trigger,
        run_id=call.run_id,
        code_revision=best["code_revision"],
        environment=best["environment"],
    )
    version = versions.register(tx, new, by=_by(call), why=f"trial {best['trial']} of study {study_id} was the best")
    return {"id": version.id, "number": version.number}


@effect("evaluate")
def evaluate_both(
    call: StepCall,
    recipe: str,
    policy: dict[str, Any],
    champion: dict[str, Any],
    challenger: str,
    snapshot: dict[str, Any],
) -> dict[str, Any]:
    """Measure both versions on the same gate rows, and on the same old rows."""
    services, taken = _services(call), _snapshot(snapshot)
    measured: dict[str, Any] = {}
    for part in ("gate", "old"):
        if part not in taken.parts:
            continue
        both = (("champion", champion["recipe"], champion["artifact"]), ("challenger", recipe, challenger))
        for who, by, artifact in both:
            where = (by, artifact, str(services.blobs.root), taken.path(services.blobs, part))
            work = Call.of(work_calls.run_evaluation, *where)
            measured[f"{part}.{who}"] = _work(call, work, policy)
    with services.store.read() as connection:
        metric = read_policy(policy).watches[0].metric
        window = window_of(connection, champion["id"], metric, measured["gate.challenger"])
    stored = [services.blobs.put(dumps(one).encode()) for one in (measured, window)]
    return {"measured": stored[0], "reference": stored[1]}


@step("judge")
def judge(
    tx: Tx,
    call: StepCall,
    model: str,
    champion: dict[str, Any],
    version: dict[str, Any],
    measured: dict[str, Any],
    snapshot: dict[str, Any],
    policy: dict[str, Any],
) -> dict[str, Any]:
    """Ask the gate, and keep its answer with all it saw."""
    services, taken = _services(call), _snapshot(snapshot)
    seen = loads(services.blobs.get(measured["measured"]))
    answer = gate(
        read_policy(policy).gate,
        _paired(seen, "gate"),
        _paired(seen, "old") if "old.champion" in seen else None,
        _slices(seen, "gate"),
        _slices(seen, "old"),
    )
    gate_id = tx.new_id()
    tx.execute(
        insert(gate_report),
        {
            "id": gate_id,
            "run_id": call.run_id,
            "model_id": models.find(tx.connection, model).id,
            "champion_id": champion["id"],
            "challenger_id": version["id"],
            "answer": answer.answer,
            "reason": answer.reason,
            "evidence": dumps(
                {
                    "metrics": {name: part["metrics"] for name, part in seen.items()},
                    "comparisons": [_as_plain(one) for one in answer.comparisons],
                    "reported": [_as_plain(one) for one in answer.reported],
                    "measured": measured["measured"],
                }
            ),
            "fresh_fingerprint": taken.parts["gate"].fingerprint,
            "old_fingerprint": taken.parts["old"].fingerprint if "old" in taken.parts else None,
            "created_at": tx.now(),
        },
    )
    audit.append(
        tx,
        f"gate.{answer.answer}",
        f"{model}:{version['number']}",
        by=_by(call),
        why=answer.reason,
        after={"gate": gate_id, "champion": champion["number"], "challenger": version["number"]},
        covers=[("gate_report", (gate_id,))],
    )
    tx.after_commit(lambda: services.metrics.gates.labels(model, answer.answer).inc())
    return {"id": gate_id, "answer": answer.answer, "reason": answer.reason}


@step("promote")
def promote(
    tx: Tx,
    call: StepCall,
    model: str,
    champion: dict[str, Any],
    version: dict[str, Any],
    verdict: dict[str, Any],
    reference: str,
    policy: dict[str, Any],
) -> dict[str, Any]:
    """Move `champion`, if it is still where the run found it, and watch the new version from now on.

    Its reference window is the metric on its own gate rows: unseen by training, and from the world it now serves.
    """
    services = _services(call)
    if aliases.find_alias(tx, model, CHAMPION).moves != champion["moves"]:
        return {"promoted": False, "reason": f"{model}@champion was moved while this run was at work"}
    services.blobs.get(queries.get(tx.connection, f"{model}:{version['number']}").artifact_sha256)
    try:
        aliases.promote(
            tx,
            model,
            version["number"],
            expected=champion["number"],
            by=_by(call),
            why=verdict["reason"],
            run_id=call.run_id,
            gate_id=verdict["id"],
        )
    except AliasMoved as error:
        return {"promoted": False, "reason": str(error)}
    window = loads(services.blobs.get(reference))
    started = start_watches(
        tx,
        model_id=models.find(tx.connection, model).id,
        name=model,
        version=version["number"],
        watches=read_policy(policy).watches,
        reference=None if window is None else np.asarray(window, dtype=np.float64),
        by=_by(call),
        why=f"promoted by run {call.run_id}",
    )
    tx.after_commit(lambda: services.metrics.moves.labels(model, "promote").inc())
    unwatched = "" if started else f"; {model}:{version['number']} is not watched: its watch wants a reference window"
    return {"promoted": True, "reason": verdict["reason"] + unwatched}


def _services(call: StepCall) -> Services:
    services = call.services
    if not isinstance(services, Services):
        raise TypeError(f"the worker was given {type(services).__name__} instead of loop.services.Services")
    return services


def _work(call: StepCall, work: Call, policy: dict[str, Any]) -> Any:
    """Run a call in the executor and return its value; raise its own error, or `TrialFailed` with the reason."""
    limits = _limits(read_policy(policy))
    return run_call(_services(call).executor, work, limits, check=call.check).result()


def _by(call: StepCall) -> str:
    return f"run/{call.run_id}"


def _limits(policy: Policy) -> Limits:
    return Limits(seconds=policy.trial_seconds, memory_mb=policy.trial_memory_mb)


def _paired(seen: dict[str, Any], part: str) -> Paired:
    return Paired(
        np.asarray(seen[f"{part}.champion"]["losses"], dtype=np.float64),
        np.asarray(seen[f"{part}.challenger"]["losses"], dtype=np.float64),
    )


def _slices(seen: dict[str, Any], part: str) -> dict[str, NDArray[np.bool_]]:
    """Return the masks on which both versions' recipes agree: a slice may not depend on the model it judges."""
    champion, challenger = (seen.get(f"{part}.{who}", {"slices": {}})["slices"] for who in ("champion", "challenger"))
    agreed = {name: mask for name, mask in challenger.items() if champion.get(name) == mask}
    return {name: np.asarray(mask, dtype=np.bool_) for name, mask in agreed.items()}


def _snapshot(plain: dict[str, Any]) -> Snapshot:
    return msgspec.convert(plain, Snapshot)


def _plain(snapshot: Snapshot) -> dict[str, Any]:
    return _as_dict(msgspec.to_builtins(snapshot))


def _as_plain(comparison: Comparison) -> dict[str, Any]:
    return _as_dict(msgspec.to_builtins(comparison))


def _as_dict(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"expected a JSON object, got {type(value).__name__}")
    return value
