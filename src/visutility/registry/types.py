"""What the registry takes and gives: plain values, never rows; each call gives fresh ones."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple, final

from visutility.core.errors import Invalid, InvalidName, UnsafeFormat
from visutility.core.ids import checked_name

CHAMPION = "champion"
CHALLENGER = "challenger"

Value = bool | int | float | str
MoveKind = Literal["register", "promote", "rollback", "move"]

MAX_TEXT = 2000
_SHA = re.compile(r"[0-9a-f]{64}")
_RUN_CODE = ("pickle", "pkl", "joblib", "cloudpickle", "dill", "torchscript", "h5", "keras")
_REF = re.compile(r"(?P<model>[^:@]+)(?:@(?P<alias>[^:@]+)|:(?P<number>[1-9][0-9]{0,8}))?")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A name and a task."""

    id: str
    name: str
    task: str
    created_at: datetime


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSummary:
    """A model in a list: the numbers its aliases point at (None: at nothing yet) and how many versions it has."""

    id: str
    name: str
    task: str
    created_at: datetime
    champion: int | None
    challenger: int | None
    versions: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class NewVersion:
    """What is registered. The artifact's bytes are in the blob folder under their hash before this is.

    `metrics` are finite, `params` plain Python values. `run_id` makes registering idempotent. Raises `Invalid`,
    `InvalidName` or `UnsafeFormat`.
    """

    model: str
    artifact_sha256: str
    artifact_format: str
    artifact_bytes: int
    recipe: str
    params: Mapping[str, Value] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    data_fingerprint: str | None = None
    data_rows: int | None = None
    snapshot_id: str | None = None
    study_id: str | None = None
    trial_number: int | None = None
    parent_id: str | None = None
    trigger_id: str | None = None
    run_id: str | None = None
    code_revision: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checked_name(self.model, "model")
        if checked_name(self.artifact_format, "artifact format") in _RUN_CODE:
            raise UnsafeFormat(
                f"format {self.artifact_format!r} can run code when it is loaded",
                hint="save the model as skops, safetensors or ONNX",
            )
        _check_sha("artifact_sha256", self.artifact_sha256)
        if self.data_fingerprint is not None:
            _check_sha("data_fingerprint", self.data_fingerprint)
        _check_count("artifact_bytes", self.artifact_bytes)
        for name, count in (("data_rows", self.data_rows), ("trial_number", self.trial_number)):
            if count is not None:
                _check_count(name, count)
        if self.trial_number is not None and self.study_id is None:
            raise Invalid(f"trial {self.trial_number} belongs to no study", hint="give study_id too")
        _check_text("recipe", self.recipe)
        for name, text in (("code_revision", self.code_revision), *self.environment.items()):
            if text is not None:
                _check_text(name, text)
        _check_params(self.params)
        _check_metrics(self.metrics)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A registered version: immutable, a number and an artifact, with where it came from."""

    id: str
    model: str
    model_id: str
    number: int
    artifact_sha256: str
    artifact_format: str
    artifact_bytes: int
    recipe: str
    params: dict[str, Value]
    metrics: dict[str, float]
    data_fingerprint: str | None
    data_rows: int | None
    snapshot_id: str | None
    study_id: str | None
    trial_number: int | None
    parent_id: str | None
    trigger_id: str | None
    run_id: str | None
    code_revision: str | None
    environment: dict[str, str]
    created_at: datetime
    created_by: str

    @property
    def ref(self) -> str:
        """Its name and number, for example "digits:2"."""
        return f"{self.model}:{self.number}"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """An alias pointed at another version. `position` counts the alias's moves from 1, `number` is the version."""

    model: str
    name: str
    position: int
    before: int | None
    number: int
    kind: MoveKind
    run_id: str | None
    gate_id: str | None
    at: datetime
    by: str
    why: str


class Change(NamedTuple):
    """A value that differs; None where that side has none."""

    before: Any
    after: Any


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """What differs between two versions. `same_artifact` says whether they are the same bytes."""

    before: str
    after: str
    params: dict[str, Change]
    metrics: dict[str, Change]
    data: dict[str, Change]
    same_artifact: bool


@final
@dataclass(frozen=True, slots=True)
class Link:
    """One cause in the chain that `why` gives. `problem` is set when the row should exist and does not, or lies."""

    kind: str
    id: str
    title: str
    detail: dict[str, Any]
    problem: str = ""


@final
@dataclass(frozen=True, slots=True)
class MetricFilter:
    """Versions whose metric compares so with a value; versions without the metric never do."""

    metric: str
    comparison: str
    value: float

    def __post_init__(self) -> None:
        checked_name(self.metric, "metric")
        if self.comparison not in COMPARISONS:
            raise Invalid(f"comparison {self.comparison!r} is unknown", hint=f"use one of {' '.join(COMPARISONS)}")
        if not math.isfinite(self.value):
            raise Invalid(f"{self.metric} is compared with {self.value!r}", hint="compare with a finite number")

    @classmethod
    def parse(cls, text: str) -> "MetricFilter":
        """Return the filter that a text such as "accuracy >= 0.9" stands for."""
        found = re.fullmatch(r"\s*([^<>=!\s]+)\s*([<>=!]+)\s*(\S+)\s*", text)
        try:
            if found:
                return cls(found[1], found[2], float(found[3]))
        except ValueError as error:
            if isinstance(error, Invalid):
                raise
        raise Invalid(f"{text!r} is not a metric filter", hint='write for example "accuracy >= 0.9"')


COMPARISONS = ("<", "<=", "==", "!=", ">", ">=")


class Ref(NamedTuple):
    """A version named by people: its model, and an alias or a number."""

    model: str
    alias: str | None
    number: int | None


def parse_ref(text: str) -> Ref:
    """Return what "name@alias", "name:3" or "name" (its champion) stands for. Raises `InvalidName`."""
    found = _REF.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise InvalidName(f"{text!r:.200} names no version", hint="write name@alias, name:3, or name for its champion")
    model = checked_name(found["model"], "model")
    if found["number"]:
        return Ref(model, None, int(found["number"]))
    return Ref(model, checked_name(found["alias"] or CHAMPION, "alias"), None)


def _check_params(params: Mapping[str, Value]) -> None:
    for name, value in params.items():
        if not isinstance(name, str) or not name:
            raise InvalidName(f"parameter name {name!r} is not text", hint="use the names of the search space")
        if not isinstance(value, (bool, int, float, str)) or (isinstance(value, float) and not math.isfinite(value)):
            raise Invalid(f"parameter {name} is {value!r:.80}", hint="use bool, int, finite float or str")


def _check_metrics(metrics: Mapping[str, float]) -> None:
    for name, value in metrics.items():
        checked_name(name, "metric")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise Invalid(
                f"metric {name} is {value!r:.80}", hint="register finite numbers; leave out what was not measured"
            )


def _check_sha(what: str, value: object) -> None:
    if not isinstance(value, str) or not _SHA.fullmatch(value):
        raise Invalid(f"{what} is {value!r:.80}", hint="give the SHA-256 as 64 hexadecimal digits, lower case")


def _check_count(what: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise Invalid(f"{what} is {value!r:.80}", hint="give a whole number, at least 0")


def _check_text(what: str, value: object) -> None:
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_TEXT:
        raise Invalid(f"{what} is {value!r:.80}", hint=f"use 1 to {MAX_TEXT} characters")


def check_limit(limit: int, most: int = 1000) -> int:
    """Return `limit` if a page may be that long. Raises `Invalid`."""
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= most:
        raise Invalid(f"limit is {limit!r}", hint=f"choose 1 to {most} and page with `after`")
    return limit


def as_filters(where: Sequence["MetricFilter | str"]) -> list[MetricFilter]:
    """Return the filters, those written as text parsed."""
    return [MetricFilter.parse(one) if isinstance(one, str) else one for one in where]
