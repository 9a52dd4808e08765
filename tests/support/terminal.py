"""Programs on a terminal of their own, as a person starts them."""

import os
import pty
import subprocess
import sys


def on_a_terminal(*words: str, columns: int = 100) -> tuple[int, str]:
    """Run Python with these arguments on a terminal; return its exit code and what the terminal showed."""
    ours, theirs = pty.openpty()
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TERM": "xterm", "COLUMNS": str(columns)}
    env.pop("NO_COLOR", None)
    with subprocess.Popen([sys.executable, *words], env=env, stdin=theirs, stdout=theirs, stderr=theirs) as child:
        os.close(theirs)
        shown = b""
        try:
            while more := os.read(ours, 65536):
                shown += more
        except OSError:  # how Linux says that nobody holds the other end any more
            pass
        os.close(ours)
    return child.returncode, shown.decode()
