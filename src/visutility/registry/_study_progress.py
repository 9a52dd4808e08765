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
    """A study as of some commit: where the search was, and the counts that it does not hold itself."""

    search: Search
    queued: int = 0
    pauses: int = 0


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
        found = rows.read_progress(tx.rows, self._of.id)
        if found.status == CLOSED:
            raise StudyClosed(f"study {self._of.id} is closed", hint="read `best`, or create another study")
        return self._caught_up(tx.rows, self._known, found)

    def keep_after(self, tx: Writing, known: Known) -> None:
        """Keep the study as this transaction leaves it, once it is committed."""

        def keep() -> None:
            self._known = known

        tx.after_commit(keep)

    def _caught_up(self, read: Reading, known: Known, now: Progress) -> Known:
        search, queued, pauses = known
        new = (now.asked - search.asked, now.told - search.told, now.queued - queued, now.pauses - pauses)
        if not any(new):
            return known
        if min(new) < 0 or sum(new) > max(_FEW, search.asked):
            fresh = replace(self._fresh, queue=self._fresh.queue + rows.read_queue(read, self._of))
            search = fresh.resumed(*rows.read_trials(read, self._of))
            return Known(search, now.queued, now.pauses)
        if now.queued > queued:
            search = replace(search, queue=search.queue + rows.read_queue(read, self._of, queued))
        ended = rows.read_ended(read, self._of, search.told) if now.told > search.told else []
        for trial in rows.read_asked(read, self._of, search.asked) if now.asked > search.asked else []:
            search = search.with_asked(replace(trial, state=PENDING))
        if now.pauses > pauses:
            search = _with_pauses(search, *rows.read_paused(read, self._of))
        for trial in ended:
            search = search.with_told(trial)
        return Known(search, now.queued, now.pauses)


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
