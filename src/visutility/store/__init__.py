"""All SQL plumbing: one database, its tables and migrations, content-addressed bytes, the audit log."""

from visutility.store import audit, health
from visutility.store.blobs import Blobs
from visutility.store.engine import Store, Tx
from visutility.store.findings import Finding
from visutility.store.migrate import upgrade

__all__ = ["Blobs", "Finding", "Store", "Tx", "audit", "health", "upgrade"]
