"""Labels that come late, as errors that the monitor sees exactly once, whatever crashes and is delivered again.

What a call took, and the events that follow from it, are on the disk before the first of them is sent. An event's id
is made of the file's own name and of how many labels were joined before: sent again after a crash it is the same one,
which the monitor knows.
"""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self, final

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray
from sqlalchemy import select

from visutility.core import codec, crash
from visutility.core.errors import Conflict, Invalid, InvalidObservation
from visutility.core.ids import checked_name, new_id
from visutility.core.wire import MAX_VALUES, MetricsEvent
from visutility.loop.project import Project
from visutility.loop.watch import Receipt
from visutility.monitor import LabelJoin
from visutility.store.schema import metric_chunk
from visutility.store.single import SingleFile

Ids = Sequence[int] | Sequence[str] | NDArray[Any]
_FORMAT = 1
_LONGEST = 128  # characters of an id of a prediction in an event


class _Label(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the file holds beside the join."""

    name: str
    model: str
    version: int
    metric: str
    waiting: list[MetricsEvent]


@final
class LateLabels:
    """The realised errors of one version, from predictions and labels to the monitor of a project.

    `path` is its file; `join` is what a new one starts with, and is this object's from then on. One process at a time
    has it open, whose threads take turns, and no child that it forks: close it, or use `with`. Each call returns when
    what it took is on the disk and its errors are accepted. One that raises may be made again: what was taken of it is
    known then. One that is interrupted while it joins closes the file, and what is on the disk counts.
    """

    def __init__(
        self,
        project: Project,
        path: str | Path,
        *,
        model: str,
        version: int,
        metric: str = "error",
        join: LabelJoin | None = None,
    ) -> None:
        """Go on with a file, or begin one, and send what was not sent.

        Raises `NotFound` for a version that there is not, `Conflict` while the file is open elsewhere, `Invalid` for a
        file of something else, and what `send` does.
        """
        project.registry.get(f"{model}:{version}")
        checked_name(metric, "metric")
        self._project, self._file = project, SingleFile(Path(path))
        self._turn, self._written = threading.RLock(), True
        try:
            self.join, self._label = self._opened(_Label("", model, version, metric, []), join)
            self.send()
        except BaseException:
            self.close()
            raise

    def predict(
        self, ids: Ids, said: ArrayLike, *, at: ArrayLike | None = None, expected: ArrayLike | None = None
    ) -> list[Receipt]:
        """Remember predictions, as `LabelJoin.predict` does, and send the errors of those whose labels were here.

        Raises what that and `send` do, and `InvalidObservation` for ids that no event can carry.
        """
        for one in ids.tolist() if hasattr(ids, "tolist") else ids:
            if isinstance(one, str) and not (0 < len(one) <= _LONGEST and one.isprintable()):
                raise InvalidObservation(f"id {one[:50]!r} does not fit", hint="use 1 to 128 printable characters")
        return self._take(lambda: self.join.predict(ids, said, at=at, expected=expected))

    def label(self, ids: Ids, labels: ArrayLike) -> list[Receipt]:
        """Take labels, as `LabelJoin.label` does, and send the errors of the predictions that got theirs.

        Raises what that and `send` do.
        """
        return self._take(lambda: self.join.label(ids, labels))

    def send(self) -> list[Receipt]:
        """Send what was not accepted yet: to be sure, after an error of `predict` or `label`.

        Raises what `Monitor.ingest` does, and `Conflict` where the monitor has errors of other predictions by the
        same id: then the file was put back from an old copy; or once this is closed.
        """
        self._file.check_open()
        with self._turn:
            self._file.check_open()
            if not self._label.waiting:
                return []
            if not self._written:
                self._write()
            for event in self._label.waiting:  # before anything is shown
                self._refuse_others(event)
            receipts = self._project.monitor.ingest(*self._label.waiting)
            for event, receipt in zip(self._label.waiting, receipts, strict=True):
                if receipt.duplicate:
                    self._refuse_others(event)
            self._label = msgspec.structs.replace(self._label, waiting=[])
            return receipts

    def close(self) -> None:
        """Let other processes have the file. Twice is once."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _take(self, join: Callable[[], NDArray[np.float64]]) -> list[Receipt]:
        """Write what the join takes, with the events that follow from it, and send them."""
        self._file.check_open()  # in a child that was forked while a thread had its turn, nobody ends that
        with self._turn:
            self._file.check_open()
            before = self.join.counts
            try:
                self._note(join())
            except BaseException:
                if self.join.counts != before:  # half of it was taken, and nobody knows which
                    self.close()
                raise
            self._write()
            return self.send()

    def _note(self, losses: NDArray[np.float64]) -> None:
        """Make events of the losses that were joined just now."""
        self._written = False
        first, ids = self.join.counts.joined - len(losses), [str(one) for one in self.join.just_joined]
        for start in range(0, len(losses), MAX_VALUES):
            event = MetricsEvent(
                id=f"{self._label.name}-{first + start}",
                model=self._label.model,
                version=self._label.version,
                metric=self._label.metric,
                values=losses[start : start + MAX_VALUES].tolist(),
                at=self._project.clock.now(),
                prediction_ids=ids[start : start + MAX_VALUES],
            )
            self._label.waiting.append(event)

    def _write(self) -> None:
        label = np.frombuffer(codec.dumps(self._label).encode(), np.uint8)
        packed = {"label": label, "join": np.frombuffer(self.join.save(), np.uint8)}
        crash.point("late-labels:before")
        self._file.write(codec.pack_arrays(packed, version=_FORMAT))
        self._written = True
        crash.point("late-labels:after")

    def _opened(self, wanted: _Label, join: LabelJoin | None) -> tuple[LabelJoin, _Label]:
        data = self._file.read()
        if data is None:
            name = new_id(self._project.clock.now())
            return LabelJoin() if join is None else join, msgspec.structs.replace(wanted, name=name)
        version, packed = codec.unpack_arrays(data)
        if version != _FORMAT or set(packed) != {"label", "join"}:
            raise Invalid(f"{self._file.path} holds no late labels of format {_FORMAT}", hint="give another file")
        try:
            label = msgspec.convert(codec.loads(packed["label"].tobytes()), _Label)
        except msgspec.ValidationError as error:
            raise Invalid(f"{self._file.path} was edited: {error}", hint="put the newest copy back") from None
        found, asked = ((one.model, one.version, one.metric) for one in (label, wanted))
        if found != asked:
            raise Invalid(f"{self._file.path} is of {found}, not of {asked}", hint="a file for each version and metric")
        return LabelJoin.load(packed["join"].tobytes()), label

    def _refuse_others(self, event: MetricsEvent) -> None:
        """Refuse an event by whose id the monitor has errors of other predictions."""
        with self._project.store.read() as connection:
            kept = select(metric_chunk.c.prediction_ids).where(metric_chunk.c.event_id == event.id)
            stored = connection.execute(kept).scalar()
        if stored is not None and stored != codec.dumps(event.prediction_ids):
            raise Conflict(
                f"errors of other predictions were sent as {event.id}",
                hint=f"{self._file.path} is an old copy: put the newest one back, or begin another file",
            )
