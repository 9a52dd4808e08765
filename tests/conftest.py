"""Settings that every test shares: Hypothesis repeats itself, keeps no files, and knows no deadline."""

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis.configuration import set_hypothesis_home_dir

# The same examples in every run, so that a red test is red again; `pytest --hypothesis-profile=fresh` draws new ones.
set_hypothesis_home_dir(Path(tempfile.gettempdir()) / "visutility-hypothesis")  # its caches stay out of the tree
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
