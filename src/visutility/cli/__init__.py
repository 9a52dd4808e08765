"""The command line: one file per noun, the same verbs as the library."""

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0, or the code of the error's kind (`docs/errors.md`)."""
    from visutility.cli.app import run

    return run(sys.argv[1:] if argv is None else list(argv))


__all__ = ["main"]
