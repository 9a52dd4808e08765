"""Settings that every test shares: Hypothesis repeats itself, keeps no files, and knows no deadline."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.configuration import set_hypothesis_home_dir

# Its caches stay out of the tree. `pytest --hypothesis-profile=fresh` draws examples that no run had before.
set_hypothesis_home_dir(Path(tempfile.gettempdir()) / f"visutility-hypothesis-{os.getuid()}")
settings.register_profile(
    "repeatable",
    database=None,
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],  # depends on the machine, so it would fail by chance
)
settings.register_profile("fresh", settings.get_profile("repeatable"), derandomize=False)
settings.load_profile("repeatable")


@pytest.fixture
def optuna_database():
    """Open databases of Optuna's by their URL, and close them in the end: it leaves its connections open."""
    from optuna.storages import RDBStorage

    opened = []

    def open_database(url):
        opened.append(RDBStorage(url))
        return opened[-1]

    yield open_database
    for one in opened:
        one.remove_session()
        one.engine.dispose()
