"""Reports that people read: charts drawn here as SVG, pictures as PNG, one self-contained page."""

from visutility.report.images import data_uri, png

__all__ = ["data_uri", "png"]
