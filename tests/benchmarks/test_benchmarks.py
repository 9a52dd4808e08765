"""Every benchmark runs as its page says and prints a table. Nothing here looks at a time."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TREE = Path(__file__).parents[2]
HERE = TREE / "benchmarks"
FILES = sorted([*HERE.glob("[a-z]*.py"), *HERE.glob("[a-z]*/[a-z]*.py")])
NAMES = [
    ".".join(path.relative_to(HERE).with_suffix("").parts)
    for path in FILES
    if re.search(r"^def main\(", path.read_text("utf-8"), re.MULTILINE)
]


def python(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the project's folder, as somebody who benchmarks does, with one thread a library."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", **more}
    return subprocess.run([sys.executable, *arguments], cwd=TREE, env=env, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_benchmark_runs_and_prints_a_table(name, tmp_path):
    code = f"import sys\nfrom benchmarks.{name} import main\nsys.exit(main(['--quick']))"
    child = python("-W", "error", "-c", code, VISUTILITY_BENCH_CACHE=str(tmp_path))
    assert child.returncode == 0, child.stderr
    rows = [line for line in child.stdout.splitlines() if len(re.findall(r"\d", line)) and len(line.split()) >= 3]
    assert len(rows) >= 2, child.stdout


@pytest.mark.parametrize("name", NAMES)
def test_the_docs_give_its_command(name):
    assert f"python -m benchmarks.{name}" in (TREE / "docs" / "benchmarks.md").read_text("utf-8")


def test_the_list_has_every_benchmark_with_words():
    child = python("-m", "benchmarks", "--list")
    assert child.returncode == 0, child.stderr
    listed = {line.split()[0]: line.split()[1:] for line in child.stdout.splitlines()}
    assert sorted(listed) == sorted(NAMES)
    assert all(listed.values())


def test_an_unknown_benchmark_is_refused_with_the_names_there_are():
    child = python("-m", "benchmarks", "startpu")
    assert child.returncode == 2
    assert "startpu" in child.stderr
    assert "startup" in child.stderr


def test_a_benchmark_that_fails_fails_the_run(tmp_path):
    """Run a copy of the runner beside two benchmarks, one of which fails."""
    package = tmp_path / "benchmarks"
    package.mkdir()
    for name in ("__init__.py", "__main__.py"):
        (package / name).write_text((TREE / "benchmarks" / name).read_text("utf-8"))
    body = '"""Words."""\ndef main(argv=None):\n    return {code}\nraise SystemExit(main())\n'
    (package / "good.py").write_text(body.format(code=0))
    (package / "bad.py").write_text(body.format(code=3))
    (package / "notes.py").write_text('"""No benchmark."""\n')
    (package / "folder").mkdir()
    (package / "folder" / "__init__.py").write_text("")
    (package / "folder" / "deep.py").write_text(body.format(code=0))
    ran = [
        subprocess.run(
            [sys.executable, "-m", "benchmarks", *names], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        for names in ([], ["good"], ["folder"], ["folder.deep", "good"])
    ]
    assert [one.returncode for one in ran] == [1, 0, 0, 0]
    assert [one.stdout.count("== ") for one in ran] == [3, 1, 1, 2]
    assert "== folder.deep: Words." in ran[2].stdout
    assert "failed: bad" in ran[0].stderr
    assert "== good: Words." in ran[0].stdout
    assert "notes" not in ran[0].stdout
