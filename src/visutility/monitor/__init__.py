"""Watching streams of metric values: detectors with a stated false-alarm promise, one stream or a fleet."""

from visutility.monitor.alerts import AlertList, AlertRules, Changes, Incident, Ranked
from visutility.monitor.corruption import CorruptionScore, mild_corruptions
from visutility.monitor.detector import AbstractDetector, Direction, Level, Verdict, Verdicts
from visutility.monitor.detectors import (
    DETECTORS,
    Adwin,
    Auto,
    Cusum,
    Dependent,
    EDetector,
    EProcess,
    Glr,
    PageHinkley,
    Ranks,
    Rolling,
    Seasonal,
)
from visutility.monitor.drift import ColumnDrift, DriftReport, Finding, Histogram, TableSketch, compare, sketch
from visutility.monitor.estimate import Estimate, estimate_performance
from visutility.monitor.explain import Explanation, Groups
from visutility.monitor.factory import make_detector
from visutility.monitor.fleet import Fleet
from visutility.monitor.harm import Harm, HarmKind, judge_harm
from visutility.monitor.labels import JoinCounts, LabelJoin
from visutility.monitor.many import Discoveries, StreamFDR, e_bh
from visutility.monitor.own_rate import OwnRate, RateReport
from visutility.monitor.realised import Realised
from visutility.monitor.risk import Risk, RiskState, RiskTracker
from visutility.monitor.score import Score, judge, pooled, run_length
from visutility.monitor.season import Seasonality, seasonality
from visutility.monitor.slices import Slice, explain_by_slice
from visutility.monitor.state import StreamState
from visutility.monitor.steps import StepDetector

__all__ = [
    "DETECTORS",
    "AbstractDetector",
    "Adwin",
    "AlertList",
    "AlertRules",
    "Auto",
    "Changes",
    "ColumnDrift",
    "CorruptionScore",
    "Cusum",
    "Dependent",
    "Direction",
    "Discoveries",
    "DriftReport",
    "EDetector",
    "EProcess",
    "Estimate",
    "Explanation",
    "Finding",
    "Fleet",
    "Glr",
    "Groups",
    "Harm",
    "HarmKind",
    "Histogram",
    "Incident",
    "JoinCounts",
    "LabelJoin",
    "Level",
    "OwnRate",
    "PageHinkley",
    "Ranked",
    "Ranks",
    "RateReport",
    "Realised",
    "Risk",
    "RiskState",
    "RiskTracker",
    "Rolling",
    "Score",
    "Seasonal",
    "Seasonality",
    "Slice",
    "StepDetector",
    "StreamFDR",
    "StreamState",
    "TableSketch",
    "Verdict",
    "Verdicts",
    "compare",
    "e_bh",
    "estimate_performance",
    "explain_by_slice",
    "judge",
    "judge_harm",
    "make_detector",
    "mild_corruptions",
    "pooled",
    "run_length",
    "seasonality",
    "sketch",
]
