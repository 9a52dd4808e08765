"""Images as data: batches over Arrow, sources of fresh rows, fingerprints, stable splits, corruptions."""

from visutility.data._build import Box
from visutility.data.batch import DataBatch
from visutility.data.corruptions import CORRUPTIONS, Composition, Corruption, corrupt
from visutility.data.decode import to_unit
from visutility.data.fingerprint import fingerprint
from visutility.data.parquet import ParquetSource
from visutility.data.sources import FolderSource, MemorySource, Source

__all__ = [
    "CORRUPTIONS",
    "Box",
    "Composition",
    "Corruption",
    "DataBatch",
    "FolderSource",
    "MemorySource",
    "ParquetSource",
    "Source",
    "corrupt",
    "fingerprint",
    "to_unit",
]
