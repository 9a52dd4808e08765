"""The demo's report: one self-contained page, every number measured in the run it tells about."""

from itertools import pairwise
from pathlib import Path

import numpy as np

from visutility.demo.result import Told
from visutility.demo.words import in_words, rows
from visutility.report import (
    Band,
    Html,
    ImageRow,
    Lane,
    Mark,
    Page,
    Section,
    Series,
    Span,
    image_grid,
    line_chart,
    table,
    trials_chart,
)

WINDOW = 30  # served images in each point of the curve
SAMPLES = 10


def write_report(told: Told, path: str | Path) -> Path:
    """Write the report and return its path. Raises `DiskFull`, `ReadOnly` or `Invalid`."""
    return page(told).write(path)


def page(told: Told) -> Page:
    """Return the report of a run of the demo."""
    sections = [
        Section(
            "What was measured", "", [table("Accuracy, each on rows used for nothing else", COLUMNS, _cells(told))]
        ),
        _images(told),
        _tuning(told),
        Section("In words", "", [_list(in_words(told))]),
        Section("How to look further", "", [_list(FURTHER)]),
    ]
    return Page(
        title="A vision model decays and comes back",
        verdict=_verdict(told),
        state="ok" if told.recovered else "alarm" if told.alarms else "watch",
        word="recovered" if told.recovered else "not recovered" if told.alarms else "nothing happened",
        chart=accuracy_chart(told),
        sections=[one for one in sections if one.parts],
        made=f"Made by visutility demo, seed {told.seed}, in {told.seconds:.1f} s. Real scans, simulated camera.",
    )


def accuracy_chart(told: Told) -> Html:
    """Return accuracy over the stream, with the drift, the alarm, the promotion and the control marked."""
    correct = np.asarray(told.correct, dtype=np.float64)
    means = np.convolve(correct, np.full(WINDOW, 1 / WINDOW), mode="valid")
    ends = np.arange(WINDOW, len(correct) + 1)
    marks = []
    if told.alarm is not None:
        marks.append(Mark(told.alarm, f"alarm at {told.alarm}", "alarm"))
    if told.promotion is not None:
        marks.append(Mark(told.promotion, f"version 2 promoted at {told.promotion}", "ok"))
    return line_chart(
        [Series(f"accuracy of the newest {WINDOW} images", ends, means)],
        title="Accuracy in service",
        x_label="served images (number)",
        y_label="accuracy (share right)",
        marks=marks,
        bands=_bands(told),
        lanes=_lanes(told),
        y_range=(0.0, 1.0),
        height=280,
    )


def _verdict(told: Told) -> str:
    before, drifted, promoted = (
        told.to_json()["accuracy"],
        told.gated("champion", "gate"),
        told.gated("challenger", "gate"),
    )
    if told.recovered and drifted is not None and promoted is not None:
        return (
            f"The camera turned and accuracy fell to {drifted:.2f}; the loop noticed after {_delay(told)} images, "
            f"retrained by itself, and promoted a version with {promoted:.2f} on the same images."
        )
    if told.drift_start is None:
        return f"The camera never turned, accuracy stayed at {before['before']:.2f}, and nothing was promoted."
    return (
        "The camera turned, and the model was not brought back: "
        + (told.refused or "no retraining ended in time")
        + "."
    )


def _delay(told: Told) -> int:
    return (told.alarm or 0) - (told.drift_start or 0)


def _bands(told: Told) -> list[Band]:
    """Return what version 1's reference window taught the monitor, for as long as version 1 served."""
    if told.reference is None:
        return []
    bound, size = told.reference["bound"], told.reference["rows"]
    label = f"normal for version 1: an error rate of at most {bound:.3f}, learnt from {size:.0f} reference images"
    return [Band(1.0 - bound, 1.0, label, end=len(told.correct) if told.promotion is None else told.promotion)]


def _lanes(told: Told) -> list[Lane]:
    end, lanes = len(told.correct), [Lane("serves", _serves(told))]
    if told.drift_start is not None:
        lanes.append(Lane("camera", [Span(told.drift_start, "turns, and stays turned", "watch", end)]))
    if told.control_start is not None:
        lanes.append(Lane("control", [Span(told.control_start, "JPEG", "watch", end)]))
    return lanes


def _serves(told: Told) -> list[Span]:
    served = np.asarray(told.served_by)
    cuts = [0, *(np.flatnonzero(np.diff(served)) + 1).tolist(), len(served)]
    return [Span(start, f"version {served[start]}", "working", end) for start, end in pairwise(cuts) if end > start]


def _cells(told: Told) -> list[tuple[str, str, str]]:
    return [(what.strip(), f"{value:.3f}", on) for what, value, on in rows(told)]


def _images(told: Told) -> Section:
    kinds = [("as it was", "before"), ("turned", "after")]
    shown = [ImageRow(name, told.images[key][:SAMPLES]) for name, key in kinds if key in told.images]
    grids = [image_grid([row], title=f"Camera {row.name}") for row in shown]
    return Section("What the camera saw", "Served images, before the drift and at its full strength.", grids)


def _tuning(told: Told) -> Section:
    studies = [("first study", told.first_trials), ("re-tuning", told.retune_trials)]
    found = [(name, [value for _, value in trials]) for name, trials in studies if trials]
    if not found:
        return Section("Tuning")
    chart = trials_chart(
        found, title="Trials of both studies", y_label="accuracy on tuning rows (share right)", direction="maximize"
    )
    lead = (
        "The two studies score on different rows, so their levels are not comparable. Trial 0 of the re-tuning is the "
        "champion's own configuration."
    )
    return Section("Tuning", lead, [chart])


def _list(lines: list[str] | tuple[str, ...]) -> str:
    return " ".join(lines)


COLUMNS = ("model", "accuracy", "measured on")
FURTHER = (
    "visutility why digits@champion prints the chain from the first bad values to the promotion;",
    "visutility audit verify checks the log and every row it covers.",
)
