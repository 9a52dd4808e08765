"""Reports that people read: charts drawn here as SVG, pictures as PNG, one self-contained page."""

from visutility.report._shades import Shades
from visutility.report.axis import Axis, number_axis
from visutility.report.bars import bar_chart, percentage
from visutility.report.html import STATES, Html, State, chip, number, text
from visutility.report.images import ImageRow, data_uri, image_grid, png
from visutility.report.overlay import Overlay, moved, overlay, overlay_small
from visutility.report.page import Page, Section, columns, folded
from visutility.report.parallel import parallel
from visutility.report.parts import Band, Lane, Mark, Series, Span
from visutility.report.plane import Dots, Layer, Lines, Spans, plane
from visutility.report.small import bar, sparkline
from visutility.report.svg import best_so_far, line_chart, trials_chart
from visutility.report.table import table

__all__ = [
    "STATES",
    "Axis",
    "Band",
    "Dots",
    "Html",
    "ImageRow",
    "Lane",
    "Layer",
    "Lines",
    "Mark",
    "Overlay",
    "Page",
    "Section",
    "Series",
    "Shades",
    "Span",
    "Spans",
    "State",
    "bar",
    "bar_chart",
    "best_so_far",
    "chip",
    "columns",
    "data_uri",
    "folded",
    "image_grid",
    "line_chart",
    "moved",
    "number",
    "number_axis",
    "overlay",
    "overlay_small",
    "parallel",
    "percentage",
    "plane",
    "png",
    "sparkline",
    "table",
    "text",
    "trials_chart",
]
