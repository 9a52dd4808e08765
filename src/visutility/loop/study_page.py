"""A study on one page: how the search went, what matters, what is expected where. `visutility studies show --html`."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final, final

import numpy as np

from visutility.loop import _study_figures as figures
from visutility.loop._study_axes import configuration, listed
from visutility.loop._study_tables import best_table, failures_table, improvements_table, parameters_table, states_table
from visutility.loop.study_view import StudyView, outlook_of_view, read_view, view_of
from visutility.report import Html, Page, Section, State, bar_chart, columns, folded, number, percentage, table
from visutility.tune.insight import (
    Evidence,
    Importance,
    Model,
    by_model,
    by_ped_anova,
    evidence,
    front,
    model_of,
)
from visutility.tune.standing import best_with
from visutility.tune.trial import COMPLETE, FAILED, PAUSED, PENDING, PRUNED, Trial

__all__ = ["StudyView", "read_view", "study_page", "view_of"]

PAIRED: Final = 3  # parameters that are looked at in pairs
SLICES: Final = 12
BARS: Final = 24
LITTLE: Final = 0.02  # a share of importance that is not worth a pair
BELIEVED: Final = 0.3  # skill from which the model's order of the parameters is used
OFTEN: Final = 0.25  # a share of failed trials that needs a look


@final
@dataclass(frozen=True, slots=True)
class _Known:
    """What was worked out of one objective."""

    seen: Evidence
    model: Model | None
    by_model: Importance
    by_rank: Importance

    @property
    def names(self) -> list[str]:
        """The parameters that have a choice, those that matter most first."""
        skilled = self.model is not None and self.model.skill >= BELIEVED
        order = self.by_model if skilled else self.by_rank
        return [name for name in order.shares if self.seen.space.parameters[name].count != 1]


def study_page(view: StudyView, *, made: str = "") -> Page:
    """Return the page of a study, also of one without trials. `made` is for its foot: when and from what.

    Takes some seconds for 10,000 trials, and stays below 2 MB: figures of many trials draw some, and say so.
    """
    known = [_known(view, name) for name, _ in view.options.objectives]
    sections: list[Section | None] = [_outlook(view), _best(view)]
    for one in known:
        several = len(known) > 1
        sections += _matters(one, several)
    sections += [_course(view, known[0]), _failures(view)]
    state, verdict = _verdict(view)
    return Page(
        title=f"Study {view.name}",
        verdict=verdict,
        state=state,
        word=_word(view),
        chart=_chart(view),
        sections=[section for section in sections if section is not None],
        made=made,
    )


def _known(view: StudyView, objective: str) -> _Known:
    seen = evidence(view, objective)
    model = model_of(seen)
    return _Known(seen, model, by_model(seen, model), by_ped_anova(seen))


def _verdict(view: StudyView) -> tuple[State, str]:
    """One sentence that stands alone."""
    states = Counter(trial.state for trial in view.trials)
    lost = f" {states[FAILED]} of {len(view.trials)} trials failed." if states[FAILED] else ""
    working: State = "working" if states[PENDING] else "ok"
    if not view.trials:
        return "watch", "No trial was asked yet."
    if not states[COMPLETE]:
        parts = [f"{states[state]} {state}" for state in (FAILED, PRUNED, PAUSED, PENDING) if states[state]]
        return (
            "working" if states[PENDING] else "alarm"
        ), f"None of {len(view.trials)} trials has a value: {listed(parts)}."
    if not any(trial.feasible for trial in view.trials):
        return "watch", f"None of {states[COMPLETE]} complete trials holds the constraints.{lost}"
    watch: State = "watch" if states[FAILED] > OFTEN * len(view.trials) else working
    if len(view.options.objectives) > 1:
        found = front(view)
        which = "feasible trials" if view.options.constraints else "trials with values"
        said = f"{int(found.best.sum())} of {len(found.best):,} {which} are unbeaten in {listed(found.objectives)}."
        return watch, said + lost
    return watch, _best_sentence(view) + lost


def _best_sentence(view: StudyView) -> str:
    best = best_with(view.trials, view.options)
    name, direction = view.options.objectives[0]
    since = sum(trial.state == COMPLETE for trial in view.trials[best.number + 1 :])
    word = "lowest" if direction == "minimize" else "highest"
    after = {0: "and it is the last one with a value", 1: "and the one after it was no better"}
    ending = after.get(since, f"and none of the {since:,} after it was better")
    return f"The {word} {name} is {number(best.value)}, at trial {best.number} of {len(view.trials):,}, {ending}."


def _word(view: StudyView) -> str:
    if not view.closed and view.budget is not None:
        return f"{len(view.trials):,} of {view.budget:,} trials"
    return f"{len(view.trials):,} trials" + (", closed" if view.closed else "")


def _chart(view: StudyView) -> Html:
    objectives = view.options.objectives
    found = figures.fronts(front(view)) if len(objectives) > 1 else []
    charts = [figures.history(view, name) for name, _ in objectives]
    if not found:
        return Html("".join(charts))
    return Html("".join([found[0] if len(found) == 1 else columns(*found), columns(*charts)]))


def _outlook(view: StudyView) -> Section | None:
    """Whether to go on: what further trials are expected to gain, and how long they would take."""
    ahead = outlook_of_view(view)
    if ahead is None:
        return None
    low, high = (number(end) for end in ahead.interval)
    spent = [(told - asked).total_seconds() for asked, told in view.times.values() if told is not None]
    cost = f", at {number(float(np.median(spent)))} s each (the median so far)," if spent and max(spent) > 0 else ""
    said = (
        f"The next {ahead.trials} trials{cost} are expected to gain {number(ahead.gain)}; 90 % lies between {low} and "
        f"{high}. A gain of {number(ahead.worth)} or more has a probability of {percentage(ahead.chance)}. All that is "
        f"left to be found is expected to be worth {number(ahead.left)}; the last {ahead.trials} gained "
        f"{number(ahead.lately)}."
    )
    return Section("Worth going on?", said)


def _best(view: StudyView) -> Section:
    several = len(view.options.objectives) > 1
    lead = "Trials that no other one beats in every objective." if several else "The best complete trials."
    parts: list[str] = [best_table(view)]
    if not several:
        parts.append(folded("Each improvement, as a table", improvements_table(view)))
    why = f"{view.strategy}: {view.reason}."
    return Section("The best configurations", f"{lead} Suggested by {why}", parts)


def _matters(one: _Known, several: bool) -> list[Section]:
    of = f" for {one.seen.objective}" if several else ""
    sections = [_importance(one, of)]
    names = one.names[:SLICES]
    if not len(one.seen.values) or not names:
        return sections
    more = f" The {SLICES} of {len(one.names)} that matter most." if len(one.names) > SLICES else ""
    lead = f"Each complete trial where the parameter is active. {_model_note(one.model)}{more}"
    parts: list[str] = [columns(*figures.slices(one.seen, one.model, names))]
    parts.append(folded("Where the best lie, as a table", parameters_table(one.seen, one.names)))
    sections.append(Section(f"Each parameter{of}", lead, parts))
    if pairs := _pairs(one):
        sections.append(Section(f"Two parameters together{of}", "The stronger the colour, the better.", pairs))
    if len(one.seen.values) > 1:
        sections.append(Section(f"Whole configurations{of}", "", [figures.coordinates(one.seen, one.names)]))
    return sections


def _importance(one: _Known, of: str) -> Section:
    heading = f"What matters{of}"
    if one.by_model.unknown and one.by_rank.unknown:
        return Section(heading, f"Nothing can be said: {one.by_model.unknown}.")
    measures, shown = [], []
    for said, name in (
        (one.by_model, "surrogate (total Sobol' index)"),
        (one.by_rank, "best against others (PED-ANOVA)"),
    ):
        if not said.unknown:
            measures.append(name)
            shown.append(said)
    rows = [(name, [said.shares[name] for said in shown]) for name in one.names[:BARS]]
    total, first = one.by_model.effects, one.by_model.first or {}
    listed_rows = [
        (name, *(said.shares[name] for said in shown), total[name], first.get(name), one.by_rank.effects[name])
        for name in one.names
    ]
    heads = ["parameter", *(f"share, {m}" for m in measures), "total index", "first-order index", "effect on rank"]
    lead = (
        "Shares add up to 100 %. The surrogate's are over the whole space, interactions included; the others say what "
        "tells the best trials from the rest where the study searched, so that a strategy that closed in blurs them."
    )
    more = f" The {BARS} of {len(one.names)} that matter most." if len(one.names) > BARS else ""
    chart = bar_chart(rows, measures, title=f"Importance of each parameter{of}", note=_model_note(one.model) + more)
    return Section(heading, lead, [chart, folded("Importance, as a table", table("Importance", heads, listed_rows))])


def _model_note(model: Model | None) -> str:
    if model is None:
        return "There are too few different values for a model."
    seen = (
        f"{model.rows:,} of {len(model.seen.values):,} trials" if model.rows < len(model.seen.values) else "all trials"
    )
    trust = "" if model.skill >= BELIEVED else ": do not rely on it"
    share = "over 99 %" if model.skill > 0.995 else f"{max(model.skill, 0.0) * 100:.0f} %"
    return f"The model, made from {seen}, foretells {share} of the variance of trials it did not see{trust}."


def _pairs(one: _Known) -> list[str]:
    order = one.by_model if not one.by_model.unknown else one.by_rank
    chosen = [name for name in one.names if order.shares[name] >= LITTLE][:PAIRED]
    parts: list[str] = []
    for x, y in combinations(chosen, 2):
        both = one.seen.masks[:, [one.seen.column(x), one.seen.column(y)]].all(axis=1)
        if not both.any():
            continue
        drawn = [figures.contour(one.seen, one.model, x, y)] if one.model is not None else []
        parts.append(columns(*(figure for figure in [*drawn, figures.ranks(one.seen, x, y)] if figure is not None)))
    return parts


def _course(view: StudyView, one: _Known) -> Section | None:
    found: list[Html | None] = [figures.curves(view, one.seen), figures.timeline(view)]
    if len(one.seen.values) > 1:
        found.append(figures.spread(one.seen))
    parts: Sequence[Html] = [figure for figure in found if figure is not None]
    if not view.trials:
        return None
    return Section("How it went", "", [*parts, folded("Trials by how they ended, as a table", states_table(view))])


def _failures(view: StudyView) -> Section | None:
    failed: list[Trial] = [trial for trial in view.trials if trial.state == FAILED]
    if not failed:
        return None
    lead = f"{len(failed)} of {len(view.trials)} trials failed. The last one had {configuration(failed[-1].params)}."
    return Section("Why trials failed", lead, [failures_table(failed)])
