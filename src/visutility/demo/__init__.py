"""The demo: the whole loop on the real scans that ship inside scikit-learn."""

from visutility.demo.page import write_report
from visutility.demo.result import Told
from visutility.demo.story import Demo, Teller
from visutility.demo.words import in_words, rows
from visutility.demo.world import World

__all__ = ["Demo", "Teller", "Told", "World", "in_words", "rows", "write_report"]
