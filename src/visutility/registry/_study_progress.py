"""Where a durable study stands: kept from the last commit seen, brought up to date by the rows since."""

from dataclasses import replace
from typing import NamedTuple, final

from visutility.core.errors import StudyClosed
from visutility.registry import _study_rows as rows
from visutility.registry._study_rows import CLOSED, Of, Progress, Reading
from visutility.store.hot import Writing
from visutility.tune.search import Search
from visutility.tune.trial import PENDING, Trial

_FEW = 64  # new rows up to here are always applied one by one; more of them only while they are fewer than the old


class Known(NamedTuple):
    """A study as of some commit: where the search was, and the counts as they were read then."""

    search: Search
    at: Progress = Progress()

    def moved(self, search: Search, *, queued: int = 0, pauses: int = 0) -> "Known":
        """Return what is known once this process made the search that one, with so many more of what it counts."""
        at = self.at
        now = Progress(search.asked, search.told, at.queued + queued, at.pauses + pauses, at.status, at.reported)
        return Known(search, now)


@final
class Follower:
    """Follows one study through its commits, whoever makes them. `fresh` is the study before its first trial."""

    def __init__(self, of: Of, fresh: Search) -> None:
        self._of = of
        self._fresh = fresh
        self._known = Known(fresh)

    def catch_up(self, read: Reading) -> Known:
        """Return the study as this reading transaction sees it. O(rows since)."""
        self._known = self._caught_up(read, self._known, rows.read_progress(read, self._of.id))
        return self._known

    def open(self, tx: Writing) -> Known:
        """Return the study as this writing transaction sees it; raise `StudyClosed` when it is closed."""
        known = self._known
        if tx.left() is known.at:  # nobody wrote since this one did
            return known
        found = rows.read_progress(tx.rows, self._of.id)
        if found.status == CLOSED:
            raise StudyClosed(f"study {self._of.id} is closed", hint="read `best`, or create another study")
        return known if known.at == found else self._caught_up(tx.rows, known, found)

    def keep_after(self, tx: Writing, known: Known) -> None:
        """Keep the study as this transaction leaves it, once it is committed."""

        def keep() -> None:
            self._known = known

        tx.leave(known.at)
        tx.after_commit(keep)

    def _caught_up(self, read: Reading, known: Known, now: Progress) -> Known:
        search, before = known
        new = [count - was for count, was in zip(now[:4], before[:4], strict=True)]
        if not any(new):
            return Known(search, now)
        if min(new) < 0 or sum(new) > max(_FEW, search.asked):
            fresh = replace(self._fresh, queue=self._fresh.queue + rows.read_queue(read, self._of))
            return Known(fresh.resumed(*rows.read_trials(read, self._of)), now)
        if now.queued > before.queued:
            search = replace(search, queue=search.queue + rows.read_queue(read, self._of, before.queued))
        if now.asked > before.asked:
            for trial in rows.read_asked(read, self._of, before.asked):
                search = search.with_asked(trial)
        if now.pauses > before.pauses:
            open_ones = sorted(trial.number for trial in (*search.pending, *search.paused))
            search = _with_pauses(search, *rows.read_paused(read, self._of, open_ones))
        if now.told > before.told:
            under_way = {trial.number: trial for trial in (*search.pending, *search.paused)}
            for trial in rows.read_ended(read, self._of, now, before.told, under_way):
                search = search.with_told(trial)
        return Known(search, now)


def _with_pauses(search: Search, waiting: set[int], paused: list[Trial]) -> Search:
    """Return the search with exactly these trials paused, of those that have not ended."""
    now = {trial.number: trial for trial in paused}
    for trial in search.paused:  # taken up again, perhaps paused again since
        if trial.number in waiting and now.get(trial.number) != trial:
            search = search.with_asked(replace(trial, state=PENDING))
    known = {trial.number for trial in search.paused}
    for trial in paused:
        if trial.number not in known:
            search = search.with_paused(trial)
    return search
