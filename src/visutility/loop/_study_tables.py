"""The tables of a study's page."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np

from visutility.loop._study_axes import configuration
from visutility.loop.study_view import StudyView
from visutility.report import Html, table
from visutility.tune.insight import Evidence, front, value_of, written
from visutility.tune.space import Choice
from visutility.tune.trial import Trial, sign

ROWS: Final = 10
MOST_IMPROVED: Final = 50
MOST_REASONS: Final = 10


def best_table(view: StudyView) -> Html:
    """The best feasible trials; with several objectives the front."""
    names = [name for name, _ in view.options.objectives]
    if len(names) > 1:
        found = front(view)
        numbers = found.numbers[found.best].tolist()
        rows = [view.trials[number] for number in numbers]
    else:
        flip = sign(view.options.direction)
        rows = sorted((t for t in view.trials if t.feasible), key=lambda t: (flip * (t.value or 0.0), t.number))
    cells = [
        (
            f"trial\u00a0{t.number}",
            *(value_of(t, name, view.options) for name in names),
            configuration(t.params),
            t.origin,
        )
        for t in rows[:ROWS]
    ]
    shown = f"The first {ROWS} of {len(rows):,}" if len(rows) > ROWS else f"All {len(rows)}"
    return table(
        f"{shown}, by {'number' if len(names) > 1 else names[0]}", ["trial", *names, "configuration", "origin"], cells
    )


def improvements_table(view: StudyView) -> Html:
    """Each trial that was better than all before it."""
    flip, best, rows = sign(view.options.direction), np.inf, []
    for trial in view.trials:
        if trial.feasible and trial.value is not None and flip * trial.value < best:
            best = flip * trial.value
            rows.append((f"trial\u00a0{trial.number}", trial.value, configuration(trial.params)))
    caption = (
        f"Better than all before: the last {MOST_IMPROVED}" if len(rows) > MOST_IMPROVED else "Better than all before"
    )
    return table(caption, ["trial", view.options.objective, "configuration"], rows[-MOST_IMPROVED:])


def parameters_table(seen: Evidence, names: Sequence[str]) -> Html:
    """Where each parameter lies among the best: numbers by range and median, choices by how often."""
    best = seen.best(0.1, 3)
    rows = []
    for name in names:
        parameter, at = seen.space.parameters[name], seen.column(name)
        units = seen.units[best & seen.masks[:, at], at]
        values = [parameter.from_unit(unit) for unit in np.sort(units)]
        if not values:
            said = "never active"
        elif isinstance(parameter, Choice):
            said = ", ".join(f"{option} {times}×" for option, times in Counter(map(str, values)).most_common(4))
        else:
            low, middle, high = (float(values[i]) for i in (0, len(values) // 2, -1))  # type: ignore[arg-type]
            said = f"{written(low)} to {written(high)}, median {written(middle)}"
        rows.append((name, said, len(values), int(seen.masks[:, at].sum())))
    heads = ["parameter", "values", "best trials that have it", "all that have it"]
    return table(f"The best {int(best.sum()):,} trials", heads, rows)


def states_table(view: StudyView) -> Html:
    """How many trials ended how, and how long they took where that is known."""
    rows = []
    for state, count in Counter(trial.state for trial in view.trials).most_common():
        times = [view.times[t.number] for t in view.trials if t.state == state and t.number in view.times]
        spent = [(told - asked).total_seconds() for asked, told in times if told is not None]
        middle = float(np.median(spent)) if spent else None
        rows.append((state, count, middle, max(spent, default=None)))
    return table("Trials by how they ended", ["state", "trials", "median time (s)", "longest (s)"], rows)


def failures_table(failed: Sequence[Trial]) -> Html:
    """The reasons, the most frequent first."""
    reasons = Counter(trial.failure or "no reason was given" for trial in failed)
    last = {trial.failure or "no reason was given": trial.number for trial in failed}
    rows = [(reason, count, f"trial {last[reason]}") for reason, count in reasons.most_common(MOST_REASONS)]
    caption = (
        "Reasons" if len(reasons) <= MOST_REASONS else f"The {MOST_REASONS} most frequent of {len(reasons)} reasons"
    )
    return table(caption, ["reason", "trials", "last"], rows)
