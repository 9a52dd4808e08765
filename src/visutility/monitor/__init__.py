"""Watching streams of metric values: detectors with a stated false-alarm promise, one stream or a fleet."""

from visutility.monitor.alerts import AlertList, AlertRules, Changes, Incident, Ranked
from visutility.monitor.detector import AbstractDetector, Direction, Level, Verdict, Verdicts
from visutility.monitor.detectors import DETECTORS, Adwin, Cusum, EDetector, PageHinkley, Rolling
from visutility.monitor.drift import ColumnDrift, DriftReport, Finding, Histogram, TableSketch, compare, sketch
from visutility.monitor.explain import Explanation, Groups
from visutility.monitor.factory import make_detector
from visutility.monitor.fleet import Fleet
from visutility.monitor.many import Discoveries, StreamFDR, e_bh
from visutility.monitor.own_rate import OwnRate, RateReport
from visutility.monitor.score import Score, judge, pooled, run_length
from visutility.monitor.state import StreamState
from visutility.monitor.steps import StepDetector

__all__ = [
    "DETECTORS",
    "AbstractDetector",
    "Adwin",
    "AlertList",
    "AlertRules",
    "Changes",
    "ColumnDrift",
    "Cusum",
    "Direction",
    "Discoveries",
    "DriftReport",
    "EDetector",
    "Explanation",
    "Finding",
    "Fleet",
    "Groups",
    "Histogram",
    "Incident",
    "Level",
    "OwnRate",
    "PageHinkley",
    "Ranked",
    "RateReport",
    "Rolling",
    "Score",
    "StepDetector",
    "StreamFDR",
    "StreamState",
    "TableSketch",
    "Verdict",
    "Verdicts",
    "compare",
    "e_bh",
    "judge",
    "make_detector",
    "pooled",
    "run_length",
    "sketch",
]
