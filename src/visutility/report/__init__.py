"""Reports that people read: charts drawn here as SVG, pictures as PNG, one self-contained page."""

from visutility.report.html import STATES, Html, State, chip, number, text
from visutility.report.images import ImageRow, data_uri, image_grid, png
from visutility.report.page import Page, Section, columns
from visutility.report.parts import Band, Lane, Mark, Series, Span
from visutility.report.small import bar, sparkline
from visutility.report.svg import best_so_far, line_chart, trials_chart
from visutility.report.table import table

__all__ = [
    "STATES",
    "Band",
    "Html",
    "ImageRow",
    "Lane",
    "Mark",
    "Page",
    "Section",
    "Series",
    "Span",
    "State",
    "bar",
    "best_so_far",
    "chip",
    "columns",
    "data_uri",
    "image_grid",
    "line_chart",
    "number",
    "png",
    "sparkline",
    "table",
    "text",
    "trials_chart",
]
