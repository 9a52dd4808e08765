"""What a comparison of two windows says: plain values, the same for tables, embeddings and images.

Every value here is a frozen dataclass with `to_json()`, whose result `DriftReport.from_json` takes back. Numbers are
finite, so that a report is JSON; a row or finding that breaks this is refused with `Invalid` when it is made.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from numbers import Real
from typing import Any, Literal, TypeAlias

import msgspec

from visutility.core import codec
from visutility.core.errors import Invalid

RowKind: TypeAlias = Literal["numeric", "categorical", "missing", "schema", "joint"]
Severity: TypeAlias = Literal["broken", "warning"]
Status: TypeAlias = Literal["ok", "drift", "data broken"]


@dataclass(frozen=True)
class Histogram:
    """Shares of values: between `edges` (one more than shares, not falling) or per label of `labels`. May be empty.

    Shares are of the values that are there, nulls left out; they sum to 1, or to 0 where no value was there.
    """

    shares: tuple[float, ...] = ()
    edges: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        named = len(self.labels) if self.labels else max(len(self.edges) - 1, 0)
        if named != len(self.shares) or (self.labels and self.edges):
            raise Invalid(
                f"{len(self.shares)} shares with {len(self.edges)} edges and {len(self.labels)} labels",
                hint="pass one more edge than shares, or one label per share",
            )
        if any(not 0.0 <= share <= 1.0 + 1e-9 for share in self.shares):
            raise Invalid(f"shares {self.shares} are not all from 0 to 1", hint="divide the counts by their sum")
        if any(low > high for low, high in zip(self.edges, self.edges[1:], strict=False)):
            raise Invalid(f"edges {self.edges} fall", hint="sort them")
        _refuse_non_finite(self)

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return _plain(self)


@dataclass(frozen=True)
class ColumnDrift:
    """One compared row: a column, its missing values, a schema change, or several columns together ("joint").

    `test` names the test that decided and `statistic` is its; `p_value` is of the whole row, all its tests counted;
    `q_value` is the least false discovery rate at which the row would be flagged (Benjamini & Hochberg 1995).
    `effect`, in the units that `effect_name` says, tells how large the change is; it does not grow with the windows.
    `details` holds more numbers for people, such as means and other effect sizes.
    """

    name: str
    kind: RowKind
    test: str
    statistic: float
    p_value: float
    q_value: float
    effect: float
    effect_name: str
    drifted: bool
    reference: Histogram = field(default_factory=Histogram)
    current: Histogram = field(default_factory=Histogram)
    details: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_probability("p_value", self.p_value)
        _check_probability("q_value", self.q_value)
        _refuse_non_finite(self)

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return _plain(self)


@dataclass(frozen=True)
class Finding:
    """Something wrong with the data as data: a "broken" one means broken data, not drift; a "warning" is for people.

    `check` names the check, `column` the column ("" for whole rows or samples), `share` the share of current rows
    that it concerns, and `detail` says it in words.
    """

    check: str
    column: str
    severity: Severity
    share: float
    detail: str

    def __post_init__(self) -> None:
        _check_probability("share", self.share)

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return _plain(self)


@dataclass(frozen=True)
class DriftReport:
    """The verdict of one comparison of a current window with a reference window.

    kind: "table", "embedding", "images" or "softmax": a key of `KINDS`.
    drifted: whether `p_value` is at most `level`; without a change this happens with probability `level` at most.
    p_value: of the whole comparison. level: the level asked for.
    rows: how many rows or samples the reference and the current window have.
    verdict: one sentence for people.
    columns: the rows of a table, most suspicious first; other kinds may have rows of their own.
    quality: what is wrong with the data as data, worst first.
    named: the kind of image drift, where one fits. shifted: indices of the most shifted current samples, most first.
    status: "data broken" when any finding is "broken", else "drift" when drifted, else "ok".
    """

    kind: str
    drifted: bool
    p_value: float
    level: float
    rows: tuple[int, int]
    verdict: str
    columns: tuple[ColumnDrift, ...] = ()
    quality: tuple[Finding, ...] = ()
    named: str | None = None
    shifted: tuple[int, ...] = ()
    status: Status = "ok"

    def __post_init__(self) -> None:
        _check_probability("p_value", self.p_value)
        check_level(self.level)
        if self.drifted != (self.p_value <= self.level):
            raise Invalid(
                f"drifted is {self.drifted} at p-value {self.p_value} and level {self.level}",
                hint="a window drifted when its p-value is at most the level",
            )
        if self.status != status_of(self.drifted, self.quality):
            raise Invalid(f"status {self.status!r} does not fit its findings", hint="take it from status_of")

    def to_json(self) -> dict[str, Any]:
        """Return plain data, from which `from_json` makes an equal report."""
        return _plain(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "DriftReport":
        """Return the report that `to_json` was called on. Raises `Invalid` for other data."""
        given: object = data  # of callers without types
        if not isinstance(given, Mapping):
            raise Invalid(f"not a drift report: {given!r:.80}", hint="pass what to_json returned")
        try:
            return msgspec.convert(dict(given), cls, strict=False)
        except msgspec.ValidationError as error:
            raise Invalid(f"not a drift report: {error}", hint="pass what to_json returned") from None


def status_of(drifted: bool, quality: tuple[Finding, ...]) -> Status:
    """Return the status of a report with these findings: broken data is told before drift."""
    if any(finding.severity == "broken" for finding in quality):
        return "data broken"
    return "drift" if drifted else "ok"


def check_level(level: float) -> None:
    """Raise `Invalid` unless the level is strictly between 0 and 1."""
    given: object = level  # of callers without types
    if not isinstance(given, Real) or not 0.0 < level < 1.0:
        raise Invalid(f"level {level!r} is not between 0 and 1", hint="0.05 is usual")


def _check_probability(name: str, value: float) -> None:
    if not 0.0 <= value <= 1.0:
        raise Invalid(f"{name} {value!r} is not from 0 to 1", hint="pass a share or probability")


def _refuse_non_finite(value: Any) -> None:
    for one in fields(value):
        held = getattr(value, one.name)
        numbers = held.values() if isinstance(held, Mapping) else held if isinstance(held, tuple) else (held,)
        if any(isinstance(number, float) and not math.isfinite(number) for number in numbers):
            raise Invalid(f"{one.name} {held!r} is not finite", hint="a report is JSON, which has no such number")


def _plain(value: Any) -> dict[str, Any]:
    plain: dict[str, Any] = codec.loads(codec.dumps(value))
    return plain
