"""Where a trial or a training runs: the executor's contract, and the local one."""

from visutility.execute.executor import Call, Executor, Finished, Handle, Kind, Limits, Outcome, Report, run_call
from visutility.execute.local import LocalExecutor

__all__ = [
    "Call",
    "Executor",
    "Finished",
    "Handle",
    "Kind",
    "Limits",
    "LocalExecutor",
    "Outcome",
    "Report",
    "run_call",
]
