"""A study as a table, one row a trial: for notebooks, spreadsheets and databases."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

from visutility.core.codec import dumps
from visutility.core.errors import Invalid
from visutility.loop.study_view import StudyView
from visutility.tune.space import Choice, Float, Int, Parameter

if TYPE_CHECKING:
    import pyarrow as pa

KINDS: Final = (".arrow", ".parquet", ".csv")


def trials_table(view: StudyView) -> "pa.Table":
    """Return the trials as an Arrow table, by number.

    Columns: `number`, `state`, `origin`, `value`, `feasible`; `params.NAME` for each parameter, null where it is not
    active; `metrics.NAME` for each metric that was told; `failure`; `asked_at` and `told_at` in UTC (null for a study
    in memory); `reports`, a list of (step, value). A choice of options that are neither all numbers nor all texts nor
    all booleans is a column of JSON texts. The schema's metadata `visutility.study` holds name, objectives, strategy
    and space as JSON.
    """
    import pyarrow as pa

    trials = view.trials
    columns: dict[str, tuple[Any, Sequence[object]]] = {
        "number": (pa.int64(), [trial.number for trial in trials]),
        "state": (pa.string(), [trial.state for trial in trials]),
        "origin": (pa.string(), [trial.origin for trial in trials]),
        "value": (pa.float64(), [trial.value for trial in trials]),
        "feasible": (pa.bool_(), [trial.feasible for trial in trials]),
    }
    for name, parameter in view.space.parameters.items():
        kind, convert = _column(parameter)
        values = [convert(trial.params[name]) if name in trial.params else None for trial in trials]
        columns[f"params.{name}"] = (kind, values)
    for name in dict.fromkeys(name for trial in trials for name in trial.metrics):
        columns[f"metrics.{name}"] = (pa.float64(), [trial.metrics.get(name) for trial in trials])
    nothing = (None, None)
    times = [view.times.get(trial.number, nothing) for trial in trials]
    moment = pa.timestamp("us", tz="UTC")
    report = pa.list_(pa.struct([("step", pa.int64()), ("value", pa.float64())]))
    columns["failure"] = (pa.string(), [trial.failure for trial in trials])
    columns["asked_at"] = (moment, [asked for asked, _ in times])
    columns["told_at"] = (moment, [told for _, told in times])
    columns["reports"] = (report, [[{"step": s, "value": v} for s, v in trial.reports] for trial in trials])
    about = {
        "name": view.name,
        "objectives": [list(pair) for pair in view.options.objectives],
        "strategy": view.strategy,
        "space": view.space.to_json(),
    }
    arrays = {name: pa.array(values, type=kind) for name, (kind, values) in columns.items()}
    return pa.table(arrays).replace_schema_metadata({"visutility.study": dumps(about)})


def export_bytes(view: StudyView, kind: str) -> bytes:
    """Return the trials as a file of this kind: ".arrow" (an IPC file), ".parquet" or ".csv" (reports as JSON).

    Raises `Invalid` for another kind.
    """
    import pyarrow as pa

    made = trials_table(view)
    sink = pa.BufferOutputStream()
    if kind == ".arrow":
        with pa.ipc.new_file(sink, made.schema) as writer:
            writer.write_table(made)
    elif kind == ".parquet":
        from pyarrow import parquet

        parquet.write_table(made, sink)
    elif kind == ".csv":
        from pyarrow import csv

        at = made.schema.get_field_index("reports")
        written = [json.dumps([[s, v] for s, v in trial.reports]) if trial.reports else None for trial in view.trials]
        csv.write_csv(made.set_column(at, "reports", pa.array(written, type=pa.string())), sink)
    else:
        raise Invalid(f"a study cannot be exported as {kind!r}", hint=f"choose one of {', '.join(KINDS)}")
    return bytes(sink.getvalue().to_pybytes())


def kind_of(path: PurePath) -> str:
    """Return the kind of file that a path's suffix names. Raises `Invalid` for an unknown one."""
    kind = path.suffix.lower()
    if kind not in KINDS:
        raise Invalid(f"{path} does not say which kind of file it is", hint=f"end it with one of {', '.join(KINDS)}")
    return kind


def _column(parameter: Parameter) -> "tuple[Any, Callable[[Any], object]]":
    """The Arrow type of a parameter's values, and how they become it."""
    import pyarrow as pa

    if isinstance(parameter, (Float, Int)):
        return (pa.float64(), float) if isinstance(parameter, Float) else (pa.int64(), int)
    kinds = {type(option) for option in parameter.options}
    plain: Mapping[type, Any] = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}
    if len(kinds) == 1 and (only := next(iter(kinds))) in plain and _fits(parameter):
        return plain[only], _same
    if kinds == {int, float} and _fits(parameter):
        return pa.float64(), float
    return pa.string(), json.dumps


def _fits(parameter: Choice) -> bool:
    """Whether every whole number among the options fits into 64 bits."""
    return all(not isinstance(option, int) or -(2**63) <= option < 2**63 for option in parameter.options)


def _same(value: object) -> object:
    return value
