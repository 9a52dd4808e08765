"""`visutility drift`: two windows of data compared, without a project."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from visutility.cli import outputs
from visutility.cli.common import Json
from visutility.cli.show import Show

if TYPE_CHECKING:
    from visutility.data.files import Window
    from visutility.monitor import DriftReport
    from visutility.monitor.drift.pixels import Scale
    from visutility.report.drift_page import Examples

DRIFT, BROKEN = 10, 11  # what the command ends with under --fail-on-drift
PICTURES = 12
MOST = 50  # columns that a terminal shows

_FILE = "CSV, Parquet, Arrow or NumPy file, or a folder of images."


def add(app: typer.Typer) -> None:
    """Add the command."""
    app.command("drift")(drift)


def drift(
    reference: Annotated[
        Path, typer.Argument(metavar="REF", help=f"The data taken as normal: a {_FILE}", show_default=False)
    ],
    current: Annotated[
        Path, typer.Argument(metavar="CUR", help="The data to judge, of that kind.", show_default=False)
    ],
    kind: Annotated[
        Literal["table", "embedding", "softmax", "images"] | None,
        typer.Option("--kind", help="What the data are. Default: what the files say.", show_default=False),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page with charts to this file.", show_default=False)
    ] = None,
    png: Annotated[
        Path | None, typer.Option("--png", help="Write a picture of the verdict to this file.", show_default=False)
    ] = None,
    level: Annotated[float, typer.Option("--level", help="How often unchanged data may be called drifted.")] = 0.05,
    seed: Annotated[int, typer.Option("--seed", help="Names the draws of the tests that draw.")] = 0,
    size: Annotated[
        int | None,
        typer.Option("--size", help="Make every image so many pixels wide and high first.", show_default=False),
    ] = None,
    fail: Annotated[
        bool,
        typer.Option(
            "--fail-on-drift", help=f"End with {DRIFT} on drift and {BROKEN} on broken data.", show_default=False
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Say whether CUR drifted from REF, which columns moved and how far; with --html as a page. Needs no project."""
    from visutility.core.errors import Invalid
    from visutility.data.files import read, told
    from visutility.monitor import compare

    for option, path in (("--html", html), ("--png", png)):
        if path is not None:
            if path.resolve() in (reference.resolve(), current.resolve()):
                raise Invalid(f"{option} {path} is what is compared", hint="name another file: it would be lost")
            outputs.checked(option, path)
    if html is not None and png is not None and html.resolve() == png.resolve():
        raise Invalid(f"--html and --png both name {html}", hint="name two files")
    if png is not None:
        _pillow()
    old = read(reference, kind, size=size)
    new = read(current, kind, size=size)
    if old.kind != new.kind:
        raise Invalid(
            f"{old.path} holds {old.kind}, {new.path} {new.kind}", hint="compare like with like, or say --kind"
        )
    with told(old.path, new.path):
        report = compare(old.data, new.data, kind=old.kind, level=level, seed=seed)
    written = _written(report, old, new, html, png)
    try:
        _print(report, old, new, written, Show(as_json))
    except BrokenPipeError:  # nobody reads on: what the command ends with counts all the same
        if not fail or report.status == "ok":
            raise
    if fail and report.status != "ok":
        raise typer.Exit(BROKEN if report.status == "data broken" else DRIFT)


def _pillow() -> None:
    from visutility.data.decode import pillow

    pillow()


def _written(
    report: "DriftReport", old: "Window", new: "Window", html: Path | None, png: Path | None
) -> dict[str, str]:
    """Write what was asked for and return it: option -> path."""
    files = {}
    examples = _examples(report, old, new) if html or png else None
    if html is not None:
        from visutility.report.drift_page import drift_page

        said = f"Made by visutility drift from {old.path} and {new.path}."
        page = drift_page(report, reference=_name(old), current=_name(new), examples=examples, made=said)
        page.write(html)
        files["html"] = str(html)
    if png is not None:
        from visutility.report.drift_png import drift_png

        outputs.write(png, drift_png(report, reference=_name(old), current=_name(new), examples=examples))
        files["png"] = str(png)
    return files


def _name(window: "Window") -> str:
    """Return how people call a window: its file's name, or the folder's."""
    return window.path.resolve().name


def _examples(report: "DriftReport", old: "Window", new: "Window") -> "Examples | None":
    """Return the most shifted current images, and as many of the reference, evenly spread over it."""
    if report.kind != "images" or not report.shifted:
        return None
    import numpy as np

    from visutility.monitor.drift.pixels import Scale
    from visutility.report.drift_page import Examples

    at = list(report.shifted[:PICTURES])
    names = [new.names[one] for one in at] if new.names else [f"image {one}" for one in at]
    spread = np.linspace(0, len(old.data) - 1, min(len(at), len(old.data))).astype(int)
    scale = Scale.of(old.data)  # the range that `compare` took for black to white
    return Examples(_shown(old.data[spread], scale), _shown(new.data[at], scale), names)


def _shown(images: Any, scale: "Scale") -> Any:
    """Return images as a page takes them: uint8, or floats in [0, 1] without NaN."""
    import numpy as np

    return images if images.dtype == np.uint8 else np.clip(np.nan_to_num(scale.apply(images)), 0.0, 1.0)


def _print(report: "DriftReport", old: "Window", new: "Window", written: dict[str, str], show: Show) -> None:
    if show.as_json:
        show.data({"reference": str(old.path), "current": str(new.path), **report.to_json(), "files": written})
        return
    from visutility.report import STATES
    from visutility.report.drift_page import STATES as STATUS
    from visutility.report.drift_page import chance, effect_of, name_of

    state, word = STATUS[report.status]
    show.prose(f"{STATES[state][0]} {word}: {report.verdict}")
    show.line()
    marks = {True: f"{STATES['alarm'][0]} drifted", False: f"{STATES['ok'][0]} no drift"}
    most = MOST if show.terminal else len(report.columns)
    rows = [
        (name_of(one), marks[one.drifted], effect_of(one), chance(one.q_value), one.test)
        for one in report.columns[:most]
    ]
    show.rows(("column", "state", "effect", "q-value", "test"), rows, empty="nothing was tested")
    if left := report.columns[most:]:
        show.line(f"and {len(left):,} more, {sum(one.drifted for one in left):,} of them drifted")
    if report.quality:
        found = [(one.severity, one.check, one.column or "-", f"{one.share:.1%}", one.detail) for one in report.quality]
        show.rows(("finding", "check", "column", "rows", "what was found"), found, empty="")
    was, now = report.rows
    show.prose(f"Compared {now:,} with {was:,}; p-value {chance(report.p_value)}, level {report.level:g}.")
    for option, path in written.items():
        show.line(f"{'Report' if option == 'html' else 'Picture'}: {path}")
