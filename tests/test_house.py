"""The rules of the house, read off the source by AST. Each rule stands here once, as data, and is shown to bite.

A rule takes one module and yields "line: what is wrong". `holds` and `breaks` are snippets, each judged as the module
named beside it, that the rule must let pass and must refuse.
"""

import ast
import graphlib
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src"
ROOT = "visutility"

# -- the tables ------------------------------------------------------------------------------------------------------

BELOW_LOOP = "core tune monitor data store registry flow execute"
MAY_IMPORT = {  # package -> what of ours it may import, besides itself; "" is the root package
    "": f"{BELOW_LOOP} loop report",
    "core": "",
    "tune": "core",
    "monitor": "core",
    "data": "core",
    "report": "core monitor.drift.report",  # a drift verdict on a page
    "store": "core",
    "execute": "core",
    "flow": "core store",
    "registry": "core store tune monitor.detector monitor.Level monitor.Verdicts",  # of monitor the value types
    "loop": f"{BELOW_LOOP} report",
    "interop": f"{BELOW_LOOP} loop",
    "api": f"{BELOW_LOOP} loop report",
    "demo": f"{BELOW_LOOP} loop report __version__",
    "cli": f"{BELOW_LOOP} loop report interop demo __version__",
    "__main__": "cli",
    "testing": f"{BELOW_LOOP} loop report interop",
}

THIRD_PARTY = {  # package -> where it may be imported; one that is missing here may be imported nowhere
    "alembic": "store",
    "jinja2": "report api",
    "msgspec": "*",
    "numba": "monitor.loops",
    "numpy": "*",
    "optuna": "interop",
    "PIL": "data loop demo report testing",
    "prometheus_client": "loop api cli",
    "pyarrow": "data loop testing monitor.drift.tables",
    "rich": "cli demo",
    "river": "interop",
    "scipy": "tune monitor data loop testing",
    "skops": "loop interop",
    "sklearn": "loop interop demo testing",
    "sqlalchemy": "store registry flow loop testing",
    "threadpoolctl": "tune",
    "typer": "cli",
}
INSIDE_FUNCTIONS = {  # heavy or optional: imported where used, never when a module is loaded; package -> except in
    "alembic": "store.migrations",
    "numba": "",
    "PIL": "",
    "pyarrow": "data loop testing",
    "optuna": "interop.optuna interop.optuna_import interop._optuna_space",
    "river": "interop.river",
    "skops": "",
    "sklearn": "interop.sklearn",
}

PURE = ("tune", "monitor", "data")  # no SQL, no clock, no threads
IMPURE = (
    "sqlalchemy sqlite3 time sched threading _thread concurrent multiprocessing asyncio queue visutility.core.clock"
)
PURE_BUT = {"tune.drive": "threading queue concurrent", "tune.one_thread": "threading"}

PICKLES = "pickle _pickle cloudpickle dill joblib marshal shelve"

BANNED_NAMES = {  # dotted name -> the modules that may use it
    "datetime.date.today": "",
    "datetime.datetime.now": "core.clock",
    "datetime.datetime.today": "",
    "datetime.datetime.utcnow": "",
    "numpy.random": "core.rng",
    "random": "",
    "time.sleep": "core.clock",
    "time.time": "core.clock",
    "time.time_ns": "core.clock",
}
BANNED_IN_TESTS = ("time.sleep", "random", "numpy.random")  # but a generator that is given a seed is welcome
RANDOM_TYPES = {"numpy.random.Generator", "numpy.random.BitGenerator"}  # naming a type draws nothing

NO_EXPORTS = (
    "core",
    "store.migrations",
    "store.migrations.versions",
    "tune.surrogate",
    "cli",
    "demo",
    "api",
    "api.routes",
)
MAX_LINES = 400  # of a module; aim at 100 to 250
MAX_FUNCTION = 60  # lines without the docstring; aim at less than 50
MAX_METHODS = 25  # of a class, private ones too; aim at less than 15
ANY_SIZE = "store.migrations.versions"  # a migration is one step, written once and never touched again


# -- modules and what they import ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Module:
    name: str  # without the leading "visutility."; "" is the root
    source: str
    is_package: bool = False

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)

    @property
    def package(self) -> str:
        return self.name.split(".")[0]

    @cached_property
    def imports(self) -> list["Import"]:
        return list(_imports(self))


@dataclass(frozen=True)
class Import:
    line: int
    target: str  # "numpy.linalg", "visutility.core.errors.Invalid"
    at_import: bool  # executed when the module is loaded
    typing: bool  # under TYPE_CHECKING

    @property
    def ours(self) -> str | None:
        """The target without "visutility."; None when it is not ours."""
        head, _, rest = self.target.partition(".")
        return rest if head == ROOT else None


def _imports(module: Module) -> Iterator[Import]:
    """Every import of ours and of others: at the top, in functions, for types, relative, and by literal name."""
    home = [ROOT, *filter(None, module.name.split("."))]
    home = home if module.is_package else home[:-1]
    stack: list[tuple[ast.AST, bool, bool]] = [(module.tree, True, False)]
    while stack:
        node, at_import, typing = stack.pop()
        targets: list[str] = []
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = home[: len(home) - node.level + 1] if node.level else []
            prefix = ".".join([*base, *filter(None, [node.module])])
            targets = [f"{prefix}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__"):
            targets = [a.value for a in node.args[:1] if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        yield from (Import(node.lineno, target, at_import and not typing, typing) for target in targets)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            at_import = False
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            stack += [(inner, at_import, True) for inner in node.body]
            stack += [(inner, at_import, typing) for inner in node.orelse]
        else:
            stack += [(inner, at_import, typing) for inner in ast.iter_child_nodes(node)]


def within(name: str, prefixes: str | Iterable[str]) -> bool:
    """Whether the dotted name is one of the prefixes or below one; "*" holds everything."""
    listed = prefixes.split() if isinstance(prefixes, str) else prefixes
    return any(p == "*" or name == p or name.startswith(f"{p}.") for p in listed)


def dotted_names(module: Module) -> Iterator[tuple[int, str]]:
    """Every dotted name that is used, with import aliases resolved: (line, "numpy.random.default_rng")."""
    known: dict[str, str] = {}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            known.update(
                (a.asname or a.name.split(".")[0], a.name if a.asname else a.name.split(".")[0]) for a in node.names
            )
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            known.update((a.asname or a.name, f"{node.module}.{a.name}") for a in node.names)
    inner = {node.value for node in ast.walk(module.tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(module.tree):
        if isinstance(node, (ast.Attribute, ast.Name)) and isinstance(node.ctx, ast.Load) and node not in inner:
            head, *rest = ast.unparse(node).split(".")
            if head in known and all(part.isidentifier() for part in rest):
                yield node.lineno, ".".join([known[head], *rest])


# -- the rules -------------------------------------------------------------------------------------------------------


def import_table(module: Module) -> Iterator[str]:
    allowed = MAY_IMPORT.get(module.package)
    if allowed is None:
        yield f"1: package {module.package} is not in MAY_IMPORT"
        return
    for one in module.imports:
        if one.ours is None or (module.package and within(one.ours, module.package)):
            continue
        if not within(one.ours, allowed):
            yield f"{one.line}: {one.target}; {module.package or ROOT} may import {allowed or 'nothing'} of ours"


def third_party(module: Module) -> Iterator[str]:
    for one in module.imports:
        name = one.target.split(".")[0]
        if name == ROOT or name in sys.stdlib_module_names:
            continue
        where = THIRD_PARTY.get(name)
        if where is None:
            yield f"{one.line}: {name} is not in THIRD_PARTY: what is it for, and where?"
        elif not within(module.name, where):
            yield f"{one.line}: {name} is for {where} alone"
        elif one.at_import and name in INSIDE_FUNCTIONS and not within(module.name, INSIDE_FUNCTIONS[name]):
            yield f"{one.line}: import {name} inside the function that uses it"


def purity(module: Module) -> Iterator[str]:
    if module.package not in PURE:
        return
    for one in module.imports:
        if within(one.target, IMPURE) and not within(one.target, PURE_BUT.get(module.name, "")):
            yield f"{one.line}: {module.package} has no SQL, no clock and no threads, but imports {one.target}"


def banned_names(module: Module) -> Iterator[str]:
    for line, name in dotted_names(module):
        for banned, where in BANNED_NAMES.items():
            if within(name, [banned]) and name not in RANDOM_TYPES and not within(module.name, where):
                yield f"{line}: {name}; take a Clock, or core.rng.rng(seed, *names)"


def repeatable(module: Module) -> Iterator[str]:
    calls = [node for node in ast.walk(module.tree) if isinstance(node, ast.Call) and node.args]
    seeded = {one.lineno for one in calls if ast.unparse(one.func).endswith(("default_rng", "random.Random"))}
    lines = module.source.splitlines()
    for line, name in dotted_names(module):
        allowed = name in RANDOM_TYPES or line in seeded or lines[line - 1].endswith("on purpose")
        if within(name, BANNED_IN_TESTS) and not allowed:
            yield f"{line}: {name}; tests wait for nothing and draw from a generator with a seed"


def no_pickle(module: Module) -> Iterator[str]:
    if module.package != "execute":
        yield from (
            f"{one.line}: {one.target} runs what it reads" for one in module.imports if within(one.target, PICKLES)
        )
    for node in ast.walk(module.tree):
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False":
            yield f"{node.value.lineno}: allow_pickle runs what it reads"


def no_assert(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Assert):
            yield f"{node.lineno}: assert vanishes under -O; raise an error of core.errors"


def finished(module: Module) -> Iterator[str]:
    for number, line in enumerate(module.source.splitlines(), start=1):
        if found := re.search(r"\b(TODO|FIXME|XXX|HACK)\b|\bNotImplementedError\b", line):
            yield f"{number}: {found[0]}"


def sizes(module: Module) -> Iterator[str]:
    if within(module.name, ANY_SIZE):
        return
    lines = module.source.count("\n")
    if lines > MAX_LINES:
        yield f"{lines}: longer than {MAX_LINES} lines; split it"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ClassDef):
            methods = sum(isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef)) for inner in node.body)
            if methods > MAX_METHODS:
                yield f"{node.lineno}: {node.name} has {methods} methods"
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            words = node.body[0] if ast.get_docstring(node) else None
            lines = node.end_lineno - node.lineno - (words.end_lineno - words.lineno + 1 if words else 0)
            if lines > MAX_FUNCTION:
                yield f"{node.lineno}: {node.name} has {lines} lines"


def documented(module: Module) -> Iterator[str]:
    if not ast.get_docstring(module.tree):
        yield "1: the module has no docstring"
    for owner, node in _public(module.tree.body, ""):
        if not ast.get_docstring(node) and not _stands_in(node):
            yield f"{node.lineno}: {owner}{node.name} has no docstring"


def _public(
    body: list[ast.stmt], owner: str
) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]]:
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            yield owner, node
            if isinstance(node, ast.ClassDef) and all(_is_root(base) for base in node.bases):  # others inherit words
                yield from _public(node.body, f"{owner}{node.name}.")


def _is_root(base: ast.expr) -> bool:
    name = ast.unparse(base.value if isinstance(base, ast.Subscript) else base).split(".")[-1]
    return name in ("ABC", "Protocol", "Generic", "Struct", "NamedTuple", "Enum", "StrEnum", "IntEnum", "Exception")


def _stands_in(node: ast.AST) -> bool:
    said = [ast.unparse(one) for one in getattr(node, "decorator_list", [])]
    return any(one.split(".")[-1] in ("overload", "setter", "deleter", "override") for one in said)


def exports(module: Module) -> Iterator[str]:
    if not module.is_package or not module.name:
        return  # the root is lazy: tests/test_imports_cost.py resolves every name of it
    listed: list[str] | None = None
    bound: set[str] = set()
    own: set[str] = set()  # defined here or in a module of this package: these must be exported
    for node in module.tree.body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = {alias.asname or alias.name.split(".")[0] for alias in node.names}
            inner = isinstance(node, ast.ImportFrom) and (
                node.level == 1 or within(node.module or "", [f"{ROOT}.{module.name}"])
            )
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names, inner = {node.name}, True
        elif isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            names, inner = {ast.unparse(t) for t in getattr(node, "targets", None) or [node.target]}, True
            listed = ast.literal_eval(node.value) if "__all__" in names else listed
        else:
            continue
        bound |= names
        own |= {name for name in names if inner and not name.startswith("_")}
    if listed is None:
        if own or module.name not in NO_EXPORTS:
            yield f"1: {module.name}/__init__.py has no __all__"
        return
    if listed != sorted(listed, key=export_order):
        yield f"1: __all__ is not sorted: {sorted(listed, key=export_order)}"
    if missing := sorted(own - set(listed)):
        yield f"1: not in __all__: {missing}"
    if unbound := sorted(set(listed) - bound):
        yield f"1: in __all__ but not there: {unbound}"


def export_order(name: str) -> tuple[int, str]:
    """CONSTANTS, then Classes, then functions: the order that ruff keeps."""
    return (0 if name.isupper() and len(name) > 1 else 1 if name[0].isupper() else 2), name


@dataclass(frozen=True)
class Rule:
    check: Callable[[Module], Iterable[str]]
    breaks: tuple[tuple[str, str], ...] = field(repr=False)  # (module, source)
    holds: tuple[tuple[str, str], ...] = field(repr=False)
    of_tests: bool = False  # a rule of the tests, not of the source


# fmt: off
DOC = '"""Words."""\n'
RULES = [
    Rule(
        import_table,
        breaks=(
            ("tune.space", "from visutility.monitor import stats"),
            ("tune.space", "import visutility.data.batch"),
            ("tune.space", "from .. import store"),
            ("tune.space", "from ..store.engine import Tx"),
            ("tune.space", "def f():\n    from visutility.store import Store"),
            ("tune.space", "if TYPE_CHECKING:\n    from visutility.loop import Project"),
            ("tune.space", "import_module('visutility.loop')"),
            ("core.errors", "from visutility.tune import Space"),
            ("core.errors", "from visutility import Space"),
            ("registry.queries", "from visutility.monitor.fleet import Fleet"),
            ("registry.queries", "from visutility.tuner import x"),
            ("loop.run", "from visutility.cli import app"),
            ("testing.stores", "from visutility.cli.app import app"),
            ("attic.old", "import os"),
        ),
        holds=(
            ("tune.space", "from .history import x\nfrom visutility.core.errors import Invalid\nimport storeroom"),
            ("registry.queries", "from visutility.monitor import Level\nfrom visutility.tune.study import Study"),
            ("cli.app", "from visutility import __version__"),
        ),
    ),
    Rule(
        third_party,
        breaks=(
            ("tune.space", "import sqlalchemy"),
            ("registry.queries", "def f():\n    import pyarrow.parquet"),
            ("monitor.stats", "def f():\n    import pyarrow"),
            ("monitor.drift.tables", "import pyarrow"),
            ("loop.classifier", "from sklearn.svm import SVC"),
            ("loop.classifier", "try:\n    import skops.io\nexcept ImportError:\n    skops = None"),
            ("data.batch", "class A:\n    from PIL import Image"),
            ("store.migrate", "from alembic import command"),
            ("core.codec", "import requests"),
        ),
        holds=(
            ("loop.classifier", "def f():\n    from sklearn.svm import SVC"),
            ("monitor.drift.tables", "def f():\n    import pyarrow"),
            ("loop.classifier", "if TYPE_CHECKING:\n    from sklearn.base import BaseEstimator"),
            ("store.migrations.env", "from alembic import context"),
            ("data.batch", "import os, numpy\nimport pyarrow as pa\nfrom . import sources"),
        ),
    ),
    Rule(
        purity,
        breaks=(
            ("tune.study", "import threading"),
            ("monitor.fleet", "def f():\n    from time import monotonic"),
            ("data.sources", "from visutility.core.clock import Clock"),
            ("data.sources", "import sqlite3"),
            ("tune.drive", "import time"),
        ),
        holds=(
            ("tune.drive", "import threading"),
            ("flow.worker", "import threading, time"),
            ("data.batch", "import timeit"),
        ),
    ),
    Rule(
        banned_names,
        breaks=(
            ("flow.worker", "import time\ntime.sleep(1)"),
            ("flow.worker", "from time import sleep as nap\nnap(1)"),
            ("flow.worker", "from datetime import UTC, datetime\nat = datetime.now(UTC)"),
            ("flow.worker", "import datetime as dt\nat = dt.datetime.utcnow()"),
            ("core.ids", "import time\nf = time.time"),
            ("tune.grid", "import numpy as np\nnp.random.seed(1)"),
            ("tune.grid", "from numpy.random import default_rng\ndefault_rng(1)"),
            ("tune.grid", "import random\nrandom.random()"),
        ),
        holds=(
            ("core.clock", "import time\ntime.sleep(1)"),
            ("core.rng", "import numpy as np\nnp.random.PCG64(1)"),
            ("tune.grid", "import numpy as np\ndef f(draw: np.random.Generator): ...\nnp.randomised = clock.now()"),
            ("flow.worker", "import time\ntime.monotonic()"),
        ),
    ),
    Rule(
        repeatable,
        breaks=(
            ("loop.test_x", "import time\ntime.sleep(0.1)"),
            ("loop.test_x", "import numpy as np\nnp.random.rand(3)"),
            ("loop.test_x", "import numpy as np\ndraw = np.random.default_rng()"),
            ("loop.test_x", "import random\nrandom.choice('ab')"),
        ),
        holds=(
            ("loop.test_x", "import numpy as np\ndraw: np.random.Generator = np.random.default_rng(1)"),
            ("loop.test_x", "import random\nrandom.Random(1).choice('ab')"),
            ("loop.test_x", "import random\nrandom.choice('ab')  # a careless recipe, on purpose"),
        ),
        of_tests=True,
    ),
    Rule(
        no_pickle,
        breaks=(
            ("registry.versions", "import pickle"),
            ("registry.versions", "def f():\n    from joblib import load"),
            ("execute.local", "np.load(path, allow_pickle=True)"),
            ("core.codec", "np.load(path, allow_pickle=flag)"),
        ),
        holds=(("execute.local", "import pickle"), ("core.codec", "np.load(path, allow_pickle=False)")),
    ),
    Rule(
        no_assert,
        breaks=(("tune.space", "def f(x):\n    assert x"),),
        holds=(("tune.space", "assertion = 'assert x'"),),
    ),
    Rule(
        finished,
        breaks=(("tune.space", "# TODO: more"), ("tune.space", "raise NotImplementedError")),
        holds=(("tune.space", "x = 'TODOS'"),),
    ),
    Rule(
        sizes,
        breaks=(
            ("tune.space", "\n" * (MAX_LINES + 1)),
            ("tune.space", "def f():" + "\n    x = 1" * (MAX_FUNCTION + 1)),
            ("tune.space", "class A:" + "\n    def f(self): ..." * (MAX_METHODS + 1)),
        ),
        holds=(
            ("tune.space", "\n" * MAX_LINES),
            ("tune.space", "def f():\n    " + DOC.replace("W", "\n" * 99) + "    x = 1\n" * MAX_FUNCTION),
            ("tune.space", "class A:" + "\n    def f(self): ..." * MAX_METHODS),
            ("store.migrations.versions.r1", "\n" * (MAX_LINES + 1)),
        ),
    ),
    Rule(
        documented,
        breaks=(
            ("tune.space", "x = 1"),
            ("tune.space", DOC + "def f(): ..."),
            ("tune.space", DOC + "class A: ..."),
            ("tune.space", DOC + f"class A:\n    {DOC}    def f(self): ..."),
            ("tune.space", DOC + f"class A:\n    {DOC}    @property\n    def f(self): ..."),
            ("tune.space", DOC + f"class A(ABC, Generic[S]):\n    {DOC}    @abstractmethod\n    def f(self): ..."),
        ),
        holds=(
            ("tune.space", DOC + "def _f(): ...\nclass _A:\n    def f(self): ..."),
            ("tune.space", DOC + f"class A:\n    {DOC}    def __len__(self): ..."),
            ("tune.space", DOC + f"class A(B):\n    {DOC}    def f(self): ..."),
            ("tune.space", DOC + f"def f():\n    {DOC}    def inner(): ..."),
        ),
    ),
    Rule(
        exports,
        breaks=(
            ("tune", DOC),
            ("tune", "from visutility.tune.space import Space"),
            ("tune", "from visutility.tune.space import Float, Space\n__all__ = ['Space', 'Float']"),
            ("tune", "from .space import Float, Space\n__all__ = ['Float']"),
            ("tune", "from visutility.tune.space import Float\n__all__ = ['Float', 'Space']"),
            ("tune", "__all__ = ['make', 'X_Y']\nX_Y = 1\ndef make(): ..."),
        ),
        holds=(
            ("core", DOC),
            ("tune", "from visutility.tune.space import Float, make\nX_Y = {}\n__all__ = ['X_Y', 'Float', 'make']"),
            ("tune", "import os\nfrom visutility.core.ids import new_id\n_x = 1\ndef f(): ...\n__all__ = ['f']"),
        ),
    ),
]
# fmt: on
names = [rule.check.__name__ for rule in RULES]


def load(folder: Path) -> list[Module]:
    found = []
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        found.append(Module(".".join(parts[:-1] if is_package else parts), path.read_text("utf-8"), is_package))
    return found


MODULES = load(SRC / ROOT)
TESTS = load(SRC.parent / "tests")


@pytest.mark.parametrize("rule", RULES, ids=names)
def test_the_rule_holds(rule):
    modules = TESTS if rule.of_tests else MODULES
    wrong = [f"{module.name or ROOT}:{what}" for module in modules for what in rule.check(module)]
    assert not wrong, "\n".join(wrong)


def snippet(name: str, source: str) -> Module:
    return Module(name, source, is_package="." not in name)


def cases(which: str):
    return [
        pytest.param(rule, *case, id=f"{rule.check.__name__}-{number}")
        for rule in RULES
        for number, case in enumerate(getattr(rule, which))
    ]


@pytest.mark.parametrize(("rule", "name", "source"), cases("breaks"))
def test_the_rule_can_fail(rule, name, source):
    assert list(rule.check(snippet(name, source)))


@pytest.mark.parametrize(("rule", "name", "source"), cases("holds"))
def test_the_rule_can_hold(rule, name, source):
    assert list(rule.check(snippet(name, source))) == []


# -- cycles: the one rule about all modules at once ------------------------------------------------------------------


def cycle(modules: list[Module], *, lazy: bool) -> list[str]:
    """One cycle of imports, or nothing; with `lazy`, imports in functions and for types count too."""
    known = {module.name for module in modules}
    graph: dict[str, set[str]] = {}
    for module in modules:
        wanted = {one.ours for one in module.imports if one.ours is not None and (lazy or one.at_import)}
        graph[module.name] = {_module_of(target, known) for target in wanted} - {module.name}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def _module_of(target: str, known: set[str]) -> str:
    while target and target not in known:
        target = target.rpartition(".")[0]
    return target


@pytest.mark.parametrize("lazy", [False, True], ids=["when loaded", "lazy and typing too"])
def test_no_module_imports_itself_in_the_end(lazy):
    assert cycle(MODULES, lazy=lazy) == []


def test_a_cycle_is_found():
    a = Module("tune.a", "from visutility.tune.b import B")
    late = Module("tune.b", "def f():\n    from visutility.tune import a")
    typing = Module("tune.b", "if TYPE_CHECKING:\n    from .a import A")
    early = Module("tune.b", "import visutility.tune.a")
    up = Module("tune", "from visutility.tune.c import C", is_package=True)
    c = Module("tune.c", "from visutility.tune import C")
    assert cycle([a, late], lazy=False) == cycle([a, typing], lazy=False) == cycle([a, up], lazy=True) == []
    assert cycle([a, late], lazy=True)
    assert cycle([a, typing], lazy=True)
    assert cycle([a, early], lazy=False)
    assert cycle([up, c], lazy=False)


def test_the_tables_name_packages_that_are_or_were_planned():
    """A package without a row is refused by `import_table`; here, that every module was looked at."""
    assert len(MODULES) == len(list(SRC.rglob("*.py")))
    assert {module.package for module in MODULES} <= set(MAY_IMPORT)
