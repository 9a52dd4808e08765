"""Settings that every test shares: Hypothesis repeats itself, keeps no files, and knows no deadline."""

import os
import tempfile
from pathlib import Path

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
