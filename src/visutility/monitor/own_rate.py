"""The monitor's own false-alarm rate, measured beside the one it promises.

Counts come with exact Poisson bounds (Garwood 1936); the verdicts are valid however often one looks, by e-processes
(Robbins & Siegmund 1974 for the mixture). `docs/many-streams.md` has the proofs.
"""

import math
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, Literal, final

import msgspec

from visutility.core import codec
from visutility.core.errors import AlreadyExists, Invalid, InvalidSetting, NotFound

FORMAT = 1
Judgement = Literal["false", "true"]
_Count = Annotated[int, msgspec.Meta(ge=0)]


@final
@dataclass(frozen=True, slots=True)
class RateReport:
    """False alarms per million unchanged values: measured, with bounds, beside what is promised.

    `low` is the lower bound if what nobody judged was right, `high` the upper bound if it was false: of confidence
    `confidence` each, by the Poisson distribution, at a time chosen in advance. `verdict` is valid at any time:
    "holds": the rate is below the promised one; "broken": above it; else "not enough yet". `whatever_ties`: broken
    even if alarms come in bursts; otherwise "broken" takes false alarms for independent of each other.
    """

    promised: float
    measured: float  # judged false alone; NaN before the first value
    low: float
    high: float
    confidence: float
    values: int
    false: int
    true: int
    open: int  # alarms that nobody judged
    verdict: Literal["holds", "broken", "not enough yet"]
    whatever_ties: bool
    evidence_broken: float  # natural logarithm of the e-value against "at most the promised rate"
    evidence_holds: float  # and against "at least the promised rate"

    @property
    def summary(self) -> str:
        """One sentence for people."""
        words = {
            "holds": "the promise holds",
            "broken": "the promise is broken" + (", whatever ties the alarms" if self.whatever_ties else ""),
            "not enough yet": "not enough values yet to say whether the promise holds",
        }
        measured = "nothing measured yet" if math.isnan(self.measured) else f"{self.measured:.3g} measured"
        return (
            f"False alarms per million values: {self.promised:.3g} promised, {measured} "
            f"({self.low:.3g} to {self.high:.3g}; {self.false} false, {self.true} right, {self.open} not judged, in "
            f"{self.values:,} values): {words[self.verdict]}."
        )


@final
@dataclass(frozen=True, slots=True)
class _Alarm:
    stream: str
    seen: _Count  # values of all streams together when it was raised
    judgement: Judgement | Literal[""] = ""


class _Saved(msgspec.Struct, forbid_unknown_fields=True):
    """What `save` writes."""

    format: int
    settings: dict[Literal["arl", "delta", "confidence"], float]
    values: _Count
    changed: _Count
    alarms: list[tuple[str, _Alarm]]


class OwnRate:
    """Alarms of a fleet and what became of them: marked by people or gates, or by what came to light about a stream.

    `arl`: at most one false alarm in so many values is promised. `delta`: the error probability of a verdict, over
    all time. `confidence`: of the bounds. A later judgement replaces an earlier one, of the same alarm; saying the
    same twice changes nothing. One writer.
    """

    def __init__(self, arl: float, *, delta: float = 0.01, confidence: float = 0.95) -> None:
        if not 1.0 <= arl < math.inf:
            raise InvalidSetting(f"arl {arl!r} is not 1 or more", hint="give the promised mean run length in values")
        for name, share in (("delta", delta), ("confidence", confidence)):
            if not 0.0 < share < 1.0:
                raise InvalidSetting(f"{name} {share!r} is not in (0, 1)", hint="a probability")
        self.arl, self.delta, self.confidence = float(arl), float(delta), float(confidence)
        self._values = 0
        self._changed = 0
        self._alarms: dict[str, _Alarm] = {}
        self._named: dict[str, list[str]] = {}  # the alarms of each stream

    @property
    def values(self) -> int:
        """Values watched so far, all streams together."""
        return self._values

    def watched(self, values: int) -> None:
        """Count values, all streams together, since the last call; before the alarms that are among them."""
        if not _whole(values):
            raise Invalid(f"{values!r} values were watched", hint="give a whole number of 0 or more")
        self._values += int(values)

    def excuse(self, values: int) -> None:
        """Leave out values of streams that had changed: they could not raise a false alarm."""
        if not _whole(values) or values > self._values - self._changed:
            raise Invalid(f"{values!r} values cannot be left out of {self._values - self._changed}", hint="count them")
        self._changed += int(values)

    def alarm(self, name: str, stream: str) -> None:
        """Note an alarm under a name of its own. `AlreadyExists` when the name is taken."""
        if name in self._alarms:
            raise AlreadyExists(f"alarm {name!r} is noted already", hint="give every alarm a name of its own")
        self._alarms[name] = _Alarm(stream, self._values)
        self._named.setdefault(stream, []).append(name)

    def judge(self, name: str, judgement: Judgement) -> None:
        """Say whether an alarm was "false" or "true". `NotFound` for an alarm that was not noted."""
        if judgement not in ("false", "true"):
            raise Invalid(f"judgement {judgement!r} is unknown", hint="say false or true")
        if name not in self._alarms:
            raise NotFound(f"alarm {name!r} was not noted", hint=f"{len(self._alarms)} alarms were")
        self._alarms[name] = replace(self._alarms[name], judgement=judgement)

    def unchanged(self, stream: str) -> int:
        """Mark every alarm on a stream that nobody judged as false: the stream had not changed. Returns how many."""
        found = [name for name in self._named.get(stream, ()) if not self._alarms[name].judgement]
        for name in found:
            self.judge(name, "false")
        return len(found)

    def report(self) -> RateReport:
        """Return the rate as it stands."""
        from scipy.special import gammaincinv

        false = [one.seen for one in self._alarms.values() if one.judgement == "false"]
        open_ = sum(not one.judgement for one in self._alarms.values())
        values, at_worst = self._values - self._changed, len(false) + open_
        low = float(gammaincinv(len(false), 1.0 - self.confidence)) / self._values if false else 0.0
        high = float(gammaincinv(at_worst + 1.0, self.confidence)) / values if values else math.inf
        broken = log_mixture(len(false), self._values / self.arl, above=True)
        holds = log_mixture(at_worst, values / self.arl, above=False)
        tied = _log_markov(false, self.arl)
        enough = -math.log(self.delta)
        verdict: Literal["holds", "broken", "not enough yet"] = "not enough yet"
        if max(broken, tied) >= enough:
            verdict = "broken"
        elif holds >= enough:
            verdict = "holds"
        return RateReport(
            promised=1e6 / self.arl,
            measured=1e6 * len(false) / values if values else math.nan,
            low=1e6 * low,
            high=1e6 * high,
            confidence=self.confidence,
            values=values,
            false=len(false),
            true=len(self._alarms) - at_worst,
            open=open_,
            verdict=verdict,
            whatever_ties=tied >= enough,
            evidence_broken=broken,
            evidence_holds=holds,
        )

    def save(self) -> str:
        """Return everything as JSON text that `load` takes."""
        said: dict[str, Any] = {
            "format": FORMAT,
            "settings": {"arl": self.arl, "delta": self.delta, "confidence": self.confidence},
            "values": self._values,
            "changed": self._changed,
            "alarms": [[name, asdict(one)] for name, one in self._alarms.items()],
        }
        return codec.dumps(said)

    @classmethod
    def load(cls, text: str) -> "OwnRate":
        """Return what `save` was called on. Raises `Invalid` for another text."""
        said = _said(text)
        made = cls(said.settings["arl"], **{name: share for name, share in said.settings.items() if name != "arl"})
        made._values, made._changed = said.values, said.changed
        made._alarms = dict(said.alarms)
        for name, one in made._alarms.items():
            made._named.setdefault(one.stream, []).append(name)
        return made


def _said(text: str) -> _Saved:
    """Return what a saved text says, or raise `Invalid` with what no `save` would have written."""
    plain = codec.loads(text)
    try:
        said = msgspec.convert(plain, _Saved)
    except msgspec.ValidationError as error:
        raise Invalid(f"not a saved rate: {error}", hint="pass what save returned") from None
    wrong = ""
    if said.format != FORMAT:
        wrong = f"its format is {said.format}, not {FORMAT}"
    elif len(said.settings) < 3:
        wrong = f"its settings are {sorted(said.settings)}"
    elif said.changed > said.values or any(one.seen > said.values for _, one in said.alarms):
        wrong = f"it counts {said.values} values, and more of some kind"
    elif len(dict(said.alarms)) < len(said.alarms):
        wrong = "two of its alarms have one name"
    if wrong:
        raise Invalid(f"not a saved rate: {wrong}", hint="pass what save returned")
    return said


def _whole(values: float) -> bool:
    """Whether this is a whole number of 0 or more."""
    try:
        return not isinstance(values, (bool, str)) and int(values) == values and values >= 0
    except (TypeError, ValueError, OverflowError):  # None, NaN, infinity
        return False


def log_mixture(count: int, expected: float, *, above: bool) -> float:
    """Return the logarithm of an e-process against a Poisson process whose rate is at most (`above`) the promised.

    With `count` events where `expected` were promised, the likelihood ratio of r times the promised rate is
    r^count exp((1 - r) expected); its mean over r with density exp(-(r - 1)) on r > 1 is
    exp(expected) e Gamma(count + 1, expected + 1) / (expected + 1)^(count + 1), and over r uniform on (0, 1), against a
    rate of at least the promised, exp(expected) gamma(count + 1, expected) / expected^(count + 1).
    """
    from scipy.special import gammainc, gammaincc, gammaln

    if expected <= 0.0 and count == 0:
        return 0.0
    if above:
        tail, power = float(gammaincc(count + 1.0, expected + 1.0)), (count + 1.0) * math.log(expected + 1.0)
        extra = expected + 1.0
    else:
        if expected <= 0.0:
            return -math.inf
        tail, power = float(gammainc(count + 1.0, expected)), (count + 1.0) * math.log(expected)
        extra = expected
    return -math.inf if tail <= 0.0 else extra + math.log(tail) + float(gammaln(count + 1.0)) - power


def _log_markov(seen: list[int], arl: float) -> float:
    """Return the logarithm of an e-process that holds whatever ties the false alarms to each other.

    The mean number of false alarms in V values is at most V / arl, at any time one may stop. So the sum over false
    alarms of arl w(V), w a falling density, has mean at most 1; here w(V) = 1 / ((arl + V) (1 + log(1 + V / arl))^2).
    """
    total = math.fsum(arl / ((arl + at) * (1.0 + math.log1p(at / arl)) ** 2) for at in seen)
    return math.log(total) if total > 0.0 else -math.inf
