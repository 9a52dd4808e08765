"""List or run the benchmarks, each in a process of its own.

python -m benchmarks                  all of them
python -m benchmarks startup flow     these
python -m benchmarks tuning           those of a folder
python -m benchmarks --quick          small sizes, to see that they run
python -m benchmarks --list           what there is
"""

import argparse
import ast
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}  # what results are promised for


def benchmarks() -> dict[str, str]:
    """Return each module here that has a `main`, with the first line of its docstring; nothing is imported.

    One in a folder is named `folder.module`.
    """
    found = {}
    for path in sorted([*HERE.glob("[a-z]*.py"), *HERE.glob("[a-z]*/[a-z]*.py")]):
        tree = ast.parse(path.read_text("utf-8"))
        if any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body):
            name = ".".join(path.relative_to(HERE).with_suffix("").parts)
            found[name] = (ast.get_docstring(tree) or "").partition("\n")[0]
    return found


def chosen(names: Sequence[str], known: Sequence[str]) -> list[str]:
    """Return the benchmarks that these names mean: a folder's name means all of its, no name means all."""
    return [name for name in known if not names or name in names or name.partition(".")[0] in names]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the named benchmarks, or all; return 0, or 1 when one of them failed."""
    known = benchmarks()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Run the benchmarks.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(known))
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that they run")
    parser.add_argument("--list", action="store_true", help="list them and stop")
    given = parser.parse_args(argv)
    if unknown := [name for name in given.names if not chosen([name], list(known))]:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(known)}")
    if given.list:
        print("\n".join(f"{name:22} {words}" for name, words in known.items()))
        return 0
    failed = []
    for name in chosen(given.names, list(known)):
        print(f"== {name}: {known[name]}", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}", *(["--quick"] if given.quick else [])]
        if subprocess.run(command, cwd=HERE.parent, env={**os.environ, **ONE_THREAD}, check=False).returncode:
            failed.append(name)
        print(flush=True)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
