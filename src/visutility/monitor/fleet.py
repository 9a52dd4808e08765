"""Named streams over one detector: one state of arrays, a row per name."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from visutility.core import codec
from visutility.core.errors import AlreadyExists, Invalid, InvalidObservation, StreamNotFound
from visutility.monitor.detector import AbstractDetector, Verdicts
from visutility.monitor.factory import make_detector
from visutility.monitor.state import join, put, take

FORMAT = 1


class Fleet:
    """Any number of named streams under one detector.

    An update costs what the streams that it touches cost, however many others there are. Not thread-safe: one writer.
    """

    def __init__(self, detector: AbstractDetector[Any]) -> None:
        self.detector = detector
        self._rows: dict[str, int] = {}
        self._state: Any = None

    @property
    def names(self) -> tuple[str, ...]:
        """The streams, in the order of their rows."""
        return tuple(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    def add(self, name: str, reference: ArrayLike) -> None:
        """Watch one more stream, learnt from its reference window. `AlreadyExists` when the name is taken."""
        self.add_all({name: reference})

    def add_all(self, references: Mapping[str, ArrayLike]) -> None:
        """Watch more streams at once, which is linear where one `add` each would be quadratic. All or none."""
        if taken := sorted(set(references) & set(self._rows)):
            raise AlreadyExists(f"stream {taken[0]!r} is watched already", hint="remove it first to learn it anew")
        if not references:
            return
        fresh = self.detector.init(list(references.values()))
        self._state = fresh if self._state is None else join([self._state, fresh])
        self._rows |= {name: at for at, name in enumerate(references, start=len(self._rows))}

    def remove(self, name: str) -> None:
        """Forget a stream. `StreamNotFound` when it is not watched."""
        row = self.row(name)
        del self._rows[name]
        self._rows = {other: at - (at > row) for other, at in self._rows.items()}
        keep = np.delete(np.arange(len(self._rows) + 1), row)
        self._state = take(self._state, keep) if len(keep) else None

    def row(self, name: str) -> int:
        """Return the row of a stream in the detector's state."""
        if name not in self._rows:
            raise StreamNotFound(f"stream {name!r} is not watched", hint=f"add it first; there are {len(self)} streams")
        return self._rows[name]

    def update(
        self, values: Mapping[str, ArrayLike] | ArrayLike, names: Sequence[str] | None = None
    ) -> dict[str, Verdicts]:
        """Take new values and return the verdicts by name, of the streams that have any.

        Either a mapping from name to values (k_i,), or values (n,) in arrival order with one name each. Nothing is
        taken when any value or name is refused.
        """
        if isinstance(values, Mapping):
            pieces = {name: np.atleast_1d(np.asarray(piece)) for name, piece in values.items()}
            for name, piece in pieces.items():
                if piece.ndim != 1:
                    raise InvalidObservation(f"stream {name!r} has values of shape {piece.shape}", hint="pass (k,)")
            labels = [name for name, piece in pieces.items() for _ in range(len(piece))]
            batch: ArrayLike = np.concatenate(list(pieces.values())) if pieces else np.zeros(0)
        elif names is None:
            raise Invalid("values came without names", hint="pass a mapping, or one name per value")
        else:
            labels, batch = list(names), values
        touched = {name: self.row(name) for name in dict.fromkeys(labels)}
        if not touched:
            return {}
        order = {name: at for at, name in enumerate(touched)}
        rows = np.array(list(touched.values()), np.int64)
        part, found = self.detector.update(take(self._state, rows), batch, np.array([order[name] for name in labels]))
        put(self._state, rows, part)
        return self._by_name(found, list(touched))

    def scores(self) -> dict[str, float]:
        """Return each stream's current score; NaN where there is none yet."""
        if self._state is None:
            return {}
        return dict(zip(self._rows, self.detector.scores(self._state).tolist(), strict=True))

    def learnt(self, name: str) -> dict[str, float]:
        """Return what was learnt from a stream's reference window, in the units of the stream."""
        return self.detector.learnt(self._state, self.row(name))

    def evidence(self, name: str) -> dict[str, float]:
        """Return the numbers behind a stream's current score, in the units of the stream."""
        return self.detector.evidence(self._state, self.row(name))

    def save(self) -> bytes:
        """Return everything, the detector's settings included, as bytes that `load` takes."""
        label = codec.dumps(
            {"kind": self.detector.name, "settings": asdict(self.detector), "names": list(self._rows)}
        ).encode()
        state = b"" if self._state is None else self.detector.save(self._state)
        packed = {"fleet": np.frombuffer(label, np.uint8), "state": np.frombuffer(state, np.uint8)}
        return codec.pack_arrays(packed, version=FORMAT)

    @classmethod
    def load(cls, data: bytes) -> "Fleet":
        """Return the fleet that `save` was called on. Raises `Invalid` when the bytes are not a saved fleet."""
        version, packed = codec.unpack_arrays(data)
        if version != FORMAT or set(packed) != {"fleet", "state"}:
            raise Invalid(
                f"not a fleet of format {FORMAT}, but of {version} with {sorted(packed)}", hint="save it again"
            )
        label = codec.loads(packed["fleet"].tobytes())
        fleet = cls(make_detector(label["kind"], **label["settings"]))
        fleet._rows = {name: at for at, name in enumerate(label["names"])}
        if fleet._rows:
            fleet._state = fleet.detector.load(packed["state"].tobytes())
        return fleet

    def _by_name(self, found: Verdicts, names: Iterable[str]) -> dict[str, Verdicts]:
        verdicts = list(found)
        by_name: dict[str, Verdicts] = {}
        for at, name in enumerate(names):
            own = [v._replace(stream=self._rows[name]) for v in verdicts if v.stream == at]
            if own:
                by_name[name] = Verdicts.of(len(self), own)
        return by_name
