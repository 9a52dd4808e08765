"""examples/mini.py: short enough to read in one sitting, and its loop really closes."""

import importlib.util
from pathlib import Path

import pytest

MINI = Path(__file__).parent.parent.parent / "examples" / "mini.py"


def test_it_is_at_most_300_lines():
    assert len(MINI.read_text().splitlines()) <= 300


@pytest.mark.slow
def test_the_loop_closes(tmp_path):
    spec = importlib.util.spec_from_file_location("mini", MINI)
    mini = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(mini)
    end = mini.main(tmp_path)
    assert end["delay"] > 0
    assert end["gate"].answer == "pass"
    assert end["champion"] == 2
    assert end["right"] > 0.85
    assert end["audit"] == []
