"""The registry: models, immutable versions, aliases with their history, lineage, and durable studies.

`Registry` is one transaction a call. The modules hold one function per event, each taking an open transaction, so
that a durable step can register or promote in the transaction that records it.
"""

from visutility.registry import aliases, models, queries, studies, versions
from visutility.registry.facade import Registry
from visutility.registry.studies import DurableStudy, LoadedStudy, StudyRecord
from visutility.registry.types import (
    CHALLENGER,
    CHAMPION,
    Change,
    Diff,
    Link,
    MetricFilter,
    Model,
    ModelSummary,
    Move,
    NewVersion,
    Ref,
    Version,
    parse_ref,
)
from visutility.registry.why import broken

__all__ = [
    "CHALLENGER",
    "CHAMPION",
    "Change",
    "Diff",
    "DurableStudy",
    "Link",
    "LoadedStudy",
    "MetricFilter",
    "Model",
    "ModelSummary",
    "Move",
    "NewVersion",
    "Ref",
    "Registry",
    "StudyRecord",
    "Version",
    "aliases",
    "broken",
    "models",
    "parse_ref",
    "queries",
    "studies",
    "versions",
]
