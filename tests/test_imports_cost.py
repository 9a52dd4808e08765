"""What importing loads, by `sys.modules` in a child process, and the lazy names of the root package."""

import ast
import importlib
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

import visutility

TREE = Path(__file__).parents[1]
MAX_MODULES = 250
HEAVY = {"PIL", "alembic", "jinja2", "numpy", "prometheus_client", "pyarrow", "scipy", "skops", "sklearn", "sqlalchemy"}
SCREEN = {"rich", "typer"}
LIGHT = {  # module -> heavy packages that it must not load
    "visutility": HEAVY | SCREEN | {"msgspec", "asyncio", "multiprocessing"},
    "visutility.core.errors": HEAVY | SCREEN,
    "visutility.core.settings": HEAVY | SCREEN,
    "visutility.core.wire": HEAVY | SCREEN,
    "visutility.cli": HEAVY,
    "visutility.cli.app": HEAVY,
}


def exists(module: str) -> bool:
    path = TREE.joinpath("src", *module.split("."))
    return (path / "__init__.py").is_file() or path.with_suffix(".py").is_file()


def loaded_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    child = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stderr
    return set(child.stdout.split())


@pytest.mark.parametrize("module", [module for module in LIGHT if exists(module)])
def test_importing_loads_nothing_heavy(module):
    loaded = {name.split(".")[0] for name in loaded_by(f"import {module}")}
    assert loaded & LIGHT[module] == set()


def test_importing_the_package_loads_few_modules():
    assert len(loaded_by("import visutility")) < MAX_MODULES


def test_the_measure_sees_what_is_loaded():
    loaded = loaded_by("import visutility\nvisutility.Space")
    assert {"numpy", "visutility.tune.space"} <= loaded
    assert len(loaded) > len(loaded_by("import visutility"))


def test_the_three_lists_of_names_agree():
    """`__all__`, the homes, and what type checkers read: a name in one and not in another works for some users only."""
    homes = visutility._HOMES
    assert visutility.__all__ == sorted([*homes, "__version__"], key=lambda name: (name.islower(), name))
    typed = {}
    for node in ast.walk(ast.parse(Path(visutility.__file__).read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("visutility."):
            typed.update((alias.name, node.module.removeprefix("visutility.")) for alias in node.names)
    assert typed == homes


@pytest.mark.parametrize("name", visutility.__all__)
def test_every_name_is_there(name):
    assert name in dir(visutility)
    if name != "__version__":
        home = importlib.import_module(f"visutility.{visutility._HOMES[name]}")
        assert getattr(visutility, name) is getattr(home, name)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Spaec'"):
        visutility.Spaec  # noqa: B018
    assert not hasattr(visutility, "tuen")


def test_the_version_is_written_once_in_effect():
    project = tomllib.loads((TREE / "pyproject.toml").read_text("utf-8"))["project"]
    assert visutility.__version__ == project["version"] == version("visutility")
