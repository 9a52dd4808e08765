"""The figures of a study's page, one function each. Each says in words what it leaves out."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from visutility.loop._study_axes import Array, drawn_of, evenly, listed, metric_axis, parameter_axis
from visutility.loop.study_view import StudyView
from visutility.report import Dots, Html, Layer, Lines, Shades, Spans, best_so_far, number_axis, parallel, plane
from visutility.tune.insight import Evidence, Front, Model, along, surface, value_of
from visutility.tune.insight.evidence import Indices
from visutility.tune.space import Mask
from visutility.tune.trial import COMPLETE, FAILED, PAUSED, PENDING, PRUNED

MOST_HISTORY: Final = 3000
MOST_DOTS: Final = 800
MOST_INK: Final = 300
MOST_LINES: Final = 150
MOST_BEST: Final = 50
MOST_CURVES: Final = 60
MOST_STEPS: Final = 100
MOST_SPANS: Final = 1500
AXES: Final = 12
BEST: Final = 0.1  # of the trials, and at least
FEW: Final = 3
RANKS: Final = {0.1: "best tenth", 0.25: "to the quarter", 0.5: "to the half", 1.0: "worse half"}


def history(view: StudyView, objective: str) -> Html:
    """Every trial's value by its number, and the best so far."""
    trials = view.trials
    values = np.array([np.nan if (v := value_of(t, objective, view.options)) is None else v for t in trials])
    feasible = np.array([trial.feasible for trial in trials], dtype=bool)
    metric = metric_axis(values, objective)
    numbers = np.arange(len(trials), dtype=np.float64)
    best = best_so_far(np.where(feasible, values, np.nan), dict(view.options.objectives)[objective])
    setting = np.flatnonzero(np.diff(best, prepend=np.nan) != 0.0)
    shown = np.union1d(evenly(len(trials), MOST_HISTORY), setting[np.isfinite(best[setting])]).astype(np.intp)
    layers: list[Layer] = [_dots("trials", numbers, metric(values), shown, feasible, "dots")]
    if (np.isfinite(values) & ~feasible).any():
        layers.append(_dots("break a constraint", numbers, metric(values), shown, ~feasible, "ring"))
    for state, look in ((PRUNED, "cut"), (FAILED, "lost")):
        ended = np.array([trial.state == state for trial in trials], dtype=bool)
        if ended.any():
            ground = np.full(len(trials), metric.axis.low)
            layers.append(_dots(f"{state} (on the ground)", numbers, ground, shown, ended, look))
    if len(view.options.objectives) == 1:
        layers.append(Lines("best so far", [_steps(numbers, metric(best))], "line"))
    x = number_axis([0, max(len(trials) - 1, 1)], "trial (number)", round_ends=False, whole=True)
    note = drawn_of(len(shown), len(trials))
    return plane(layers, x=x, y=metric.axis, title=f"{objective} of each trial", note=note, count=False)


def slices(seen: Evidence, model: Model | None, names: Sequence[str]) -> list[Html]:
    """One figure a parameter: the values over it, and what the model expects along it."""
    metric = metric_axis(seen.values, seen.objective)
    kept = seen.thinned(MOST_DOTS)
    best = seen.best(BEST, FEW)
    count = int(best.sum())
    found = []
    for name in names:
        at = seen.column(name)
        rows = kept[seen.masks[kept, at]]
        x, y = seen.units[rows, at], metric(seen.values[rows])
        layers: list[Layer] = [
            Dots("other trials", x[~best[rows]], y[~best[rows]], "faint"),
            Dots(f"best {count:,}", x[best[rows]], y[best[rows]], "dots"),
        ]
        axis = parameter_axis(seen.space.parameters[name], name)
        if model is not None:
            places, expected = along(model, name)
            line = (places, metric(expected))
            layers.append(Dots("model", *line, "ring") if axis.named else Lines("model", [line], "dashed"))
        active = int(seen.masks[:, at].sum())
        note = drawn_of(len(rows), active)
        found.append(plane(layers, x=axis, y=metric.axis, title=name, note=note, height=160, count=False))
    return found


def contour(seen: Evidence, model: Model, x: str, y: str) -> Html | None:
    """What the model expects over two parameters, with the trials; None when they are never active together."""
    found = surface(model, x, y)
    if not np.isfinite(found.values).any():
        return None
    both = [seen.column(x), seen.column(y)]
    kept = seen.thinned(MOST_INK)
    rows = kept[seen.masks[kept][:, both].all(axis=1)]
    axes = [parameter_axis(seen.space.parameters[name], name) for name in (x, y)]
    layers: list[Layer] = [
        Shades(seen.objective, found.x, found.y, found.values, seen.direction == "minimize", found.levels),
        Dots("trials", seen.units[rows, both[0]], seen.units[rows, both[1]], "ink"),
    ]
    note = drawn_of(len(rows), int(seen.masks[:, both].all(axis=1).sum()))
    title = f"{seen.objective} expected over {x} and {y}"
    return plane(layers, x=axes[0], y=axes[1], title=title, note=note, count=False)


def ranks(seen: Evidence, x: str, y: str) -> Html:
    """The trials over two parameters, by rank."""
    both = [seen.column(x), seen.column(y)]
    place = np.empty(len(seen.values))
    place[np.argsort(seen.losses, kind="stable")] = (np.arange(len(seen.values)) + 1) / max(len(seen.values), 1)
    kept = seen.thinned(MOST_DOTS)
    rows = kept[seen.masks[kept][:, both].all(axis=1)]
    layers: list[Layer] = []
    low = 0.0
    for at, high in enumerate(RANKS):
        chosen = rows[(place[rows] > low) & (place[rows] <= high)]
        name = RANKS[high]
        layers.insert(0, Dots(name, seen.units[chosen, both[0]], seen.units[chosen, both[1]], f"rank{at}"))
        low = high
    axes = [parameter_axis(seen.space.parameters[name], name) for name in (x, y)]
    note = drawn_of(len(rows), int(seen.masks[:, both].all(axis=1).sum()))
    return plane(layers, x=axes[0], y=axes[1], title=f"Rank of the trials over {x} and {y}", note=note, count=False)


def coordinates(seen: Evidence, names: Sequence[str]) -> Html:
    """Parallel coordinates: the best over the others."""
    metric = metric_axis(seen.values, seen.objective)
    chosen = [seen.column(name) for name in names[:AXES]]
    axes = [parameter_axis(seen.space.parameters[name], name) for name in names[:AXES]] + [metric.axis]
    rows = np.column_stack([np.where(seen.masks[:, chosen], seen.units[:, chosen], np.nan), metric(seen.values)])
    order = np.argsort(seen.losses, kind="stable")
    count = int(seen.best(BEST, FEW).sum())
    best, others = order[:count][:MOST_BEST], order[count:]
    others = others[evenly(len(others), MOST_LINES)]
    left_out = drawn_of(len(best) + len(others), len(order))
    if len(names) > AXES:
        left_out += f" The {AXES} parameters that matter most are shown."
    groups = [("other trials", rows[others], "faint"), (f"best {count:,}", rows[best], "line")]
    return parallel(axes, groups, title="Configurations, from the parameter that matters most", note=left_out.strip())


def curves(view: StudyView, seen: Evidence) -> Html | None:
    """Intermediate reports over their steps; None when there are none."""
    reported = [trial for trial in view.trials if trial.reports]
    if not reported:
        return None
    best = set(seen.numbers[seen.best(BEST, FEW)].tolist())
    top = [trial for trial in reported if trial.number in best][:MOST_CURVES]
    rest = [trial for trial in reported if trial.number not in best]
    rest = [rest[at] for at in evenly(len(rest), MOST_CURVES)]
    drawn = top + rest
    metric = metric_axis([value for trial in drawn for _, value in trial.reports], view.options.objective)

    def line(reports: Sequence[tuple[int, float]]) -> tuple[Array, Array]:
        steps, values = np.array([reports[at] for at in evenly(len(reports), MOST_STEPS)], dtype=np.float64).T
        return steps, metric(values)

    layers: list[Layer] = [
        Lines("other trials", [line(trial.reports) for trial in rest], "faint"),
        Lines("among the best", [line(trial.reports) for trial in top], "line"),
    ]
    last = max(trial.reports[-1][0] for trial in drawn)
    x = number_axis([min(trial.reports[0][0] for trial in drawn), last], "step", round_ends=False, whole=True)
    note = drawn_of(len(drawn), len(reported), "curves")
    return plane(layers, x=x, y=metric.axis, title="Reports of each trial", note=note)


def timeline(view: StudyView) -> Html | None:
    """When each trial was under way; None without times, and where all are the same."""
    if not view.times:
        return None
    asked = {number: times[0].timestamp() for number, times in view.times.items()}
    told = {number: end.timestamp() for number, (_, end) in view.times.items() if end is not None}
    first, last = min(asked.values()), max([*asked.values(), *told.values()])
    if first == last:
        return None
    unit, seconds = next(
        (name, size) for name, size in (("days", 86400), ("hours", 3600), ("minutes", 60), ("seconds", 1))
        if last - first >= 2 * size or size == 1
    )  # fmt: skip
    shown = [view.trials[at] for at in evenly(len(view.trials), MOST_SPANS) if view.trials[at].number in asked]
    layers: list[Layer] = []
    for state in (COMPLETE, PRUNED, FAILED, PAUSED, PENDING):
        numbers = [trial.number for trial in shown if trial.state == state]
        if numbers:
            starts = [(asked[number] - first) / seconds for number in numbers]
            ends = [(told.get(number, last) - first) / seconds for number in numbers]
            layers.append(Spans(state, starts, ends, numbers, state))
    x = number_axis([0.0, (last - first) / seconds], f"time since the first trial ({unit})", round_ends=False)
    y = number_axis([0, max(len(view.trials) - 1, 1)], "trial (number)", round_ends=False, whole=True)
    height = int(min(420, max(120, 8 * len(shown))))
    note = "" if len(shown) == len(view.trials) else f"{len(shown):,} of {len(view.trials):,} trials are drawn."
    return plane(layers, x=x, y=y, title="When each trial was under way", note=note, height=height)


def spread(seen: Evidence) -> Html:
    """Which share of the trials has a value at least as good."""
    metric = metric_axis(seen.values, seen.objective)
    losses = np.sort(seen.losses)
    values = losses if seen.direction == "minimize" else -losses
    at = evenly(len(values), 400)
    shares = (at + 1) / max(len(values), 1)
    y = number_axis([0.0, 1.0], "share of the trials")
    better = "at most" if seen.direction == "minimize" else "at least"
    line = Lines("trials", [_steps(metric(values[at]), shares)], "line")
    title = f"Share of the trials with {seen.objective} of {better} this"
    return plane([line], x=metric.axis, y=y, title=title, height=160, count=False)


def fronts(found: Front) -> list[Html]:
    """Each two objectives: every trial, and those that no other one beats."""
    figures = []
    count = len(found.objectives)
    axes = [metric_axis(found.values[:, at], name) for at, name in enumerate(found.objectives)]
    kept = np.union1d(evenly(len(found.best), MOST_DOTS), np.flatnonzero(found.best)[:MOST_DOTS]).astype(np.intp)
    note = drawn_of(len(kept), len(found.best))
    for a in range(count):
        for b in range(a + 1, count):
            x, y = axes[a](found.values[kept, a]), axes[b](found.values[kept, b])
            best = found.best[kept]
            layers: list[Layer] = [Dots("other trials", x[~best], y[~best], "faint")]
            if count == 2:
                order = np.argsort(x[best], kind="stable")
                layers.append(Lines("front", [(x[best][order], y[best][order])], "front"))
            layers.append(Dots("no other trial is better in all", x[best], y[best], "dots"))
            names = listed([found.objectives[a], found.objectives[b]])
            figures.append(plane(layers, x=axes[a].axis, y=axes[b].axis, title=names, note=note))
    return figures


def _dots(name: str, x: Array, y: Array, shown: Indices, mask: Mask, look: str) -> Dots:
    rows = shown[mask[shown]]
    return Dots(name, x[rows], y[rows], look)


def _steps(x: Array, y: Array) -> tuple[Array, Array]:
    """A line that holds each value until the next x; only where it changes, so that a long one stays short."""
    if not len(x):
        return x, y
    turns = np.flatnonzero(np.diff(y, prepend=np.nan) != 0.0)
    turns = turns[np.isfinite(y[turns])]
    xs = np.repeat(np.append(x[turns], x[-1]), 2)[1:]
    return xs[: 2 * len(turns)], np.repeat(y[turns], 2)[: 2 * len(turns)]
