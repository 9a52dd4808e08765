"""Batch drift: a current window compared with a reference window; tables, embeddings and images."""

from visutility.monitor.drift.compare import KINDS, compare
from visutility.monitor.drift.embedding import EmbeddingReference
from visutility.monitor.drift.images import ImageReference
from visutility.monitor.drift.report import ColumnDrift, DriftReport, Finding, Histogram
from visutility.monitor.drift.sketch import TableSketch, sketch

__all__ = [
    "KINDS",
    "ColumnDrift",
    "DriftReport",
    "EmbeddingReference",
    "Finding",
    "Histogram",
    "ImageReference",
    "TableSketch",
    "compare",
    "sketch",
]
