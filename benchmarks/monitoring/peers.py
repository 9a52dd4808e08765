"""Which peers can run here. The others are left out, and named with what they lack."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path


def lacking(*modules: str, java: bool = False) -> str:
    """What of these is not here, in words; empty if all is."""
    missing = [f"no {module}" for module in modules if find_spec(module) is None]
    if java and not missing and not java_runs():
        missing = ["no Java"]
    return ", ".join(missing)


@cache
def java_runs() -> bool:
    """Whether there is a Java, and not only a program of that name that offers to install one."""
    home = os.environ.get("JAVA_HOME")
    program = str(Path(home, "bin", "java")) if home else "java"
    return (
        shutil.which(program) is not None and not subprocess.run([program, "-version"], capture_output=True).returncode
    )


def left_out(lacks: Mapping[str, str]) -> str:
    """A line that names the peers that lack something; empty if none does."""
    named = [f"{peer} ({lack})" for peer, lack in lacks.items() if lack]
    return f"left out: {', '.join(named)}\n" if named else ""
