"""Durable runs: a run is a row, a step's result is a row, and whoever dies, another carries on. Knows no models."""

from visutility.flow import runs
from visutility.flow.context import RunContext
from visutility.flow.runs import Question, Run, StepRecord
from visutility.flow.steps import Effect, Step, StepCall, effect, step
from visutility.flow.worker import Worker
from visutility.flow.workflows import Recorded, Workflow, workflow

__all__ = [
    "Effect",
    "Question",
    "Recorded",
    "Run",
    "RunContext",
    "Step",
    "StepCall",
    "StepRecord",
    "Worker",
    "Workflow",
    "effect",
    "runs",
    "step",
    "workflow",
]
