"""Watching streams of metric values: detectors with a stated false-alarm promise, one stream or a fleet."""

from visutility.monitor.detector import AbstractDetector, Direction, Level, Verdict, Verdicts
from visutility.monitor.detectors import DETECTORS, EDetector, Rolling
from visutility.monitor.drift import ColumnDrift, DriftReport, Finding, Histogram, compare
from visutility.monitor.factory import make_detector
from visutility.monitor.fleet import Fleet
from visutility.monitor.score import Score, judge, pooled, run_length
from visutility.monitor.state import StreamState
from visutility.monitor.steps import StepDetector

__all__ = [
    "DETECTORS",
    "AbstractDetector",
    "ColumnDrift",
    "Direction",
    "DriftReport",
    "EDetector",
    "Finding",
    "Fleet",
    "Histogram",
    "Level",
    "Rolling",
    "Score",
    "StepDetector",
    "StreamState",
    "Verdict",
    "Verdicts",
    "compare",
    "judge",
    "make_detector",
    "pooled",
    "run_length",
]
