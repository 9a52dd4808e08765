"""The docs are tested: their Python runs, their links resolve, and everything a user can name is named in them."""

import ast
import gc
import inspect
import re
import sys
import types
from importlib import import_module
from pathlib import Path

import pytest

TREE = Path(__file__).parents[1]
DOCS = TREE / "docs"
PAGES = [TREE / "README.md", *sorted(DOCS.rglob("*.md"))]
EXTRA = [TREE / "CONTRIBUTING.md", TREE / "CHANGELOG.md"]  # links are checked, code is not run
BLOCK = re.compile(r"^```python[^\S\n]*\n(.*?)^```[^\S\n]*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)|!\[[^\]]*\]\(([^)\s]+)\)")


def page_id(path: Path) -> str:
    return path.relative_to(TREE).as_posix()


def blocks(text: str) -> list[tuple[int, str]]:
    """The Python blocks of a page: (line of its first line, source)."""
    return [(text[: found.start(1)].count("\n") + 1, found[1]) for found in BLOCK.finditer(text)]


def run(path: Path, module: types.ModuleType) -> int:
    """Run a page's blocks in order in one module's namespace; tracebacks show the page's own lines."""
    found = blocks(path.read_text("utf-8"))
    for line, source in found:
        exec(compile("\n" * (line - 1) + source, str(path), "exec"), vars(module))
    return len(found)


# -- what is in the docs runs and resolves ---------------------------------------------------------------------------

WITH_CODE = [path for path in PAGES if blocks(path.read_text("utf-8"))]


@pytest.mark.slow
@pytest.mark.parametrize("path", WITH_CODE, ids=page_id)
@pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")  # Optuna's, which it never closes
def test_the_python_of_the_page_runs(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = types.ModuleType(f"docs_{path.stem}")
    monkeypatch.setitem(sys.modules, module.__name__, module)  # dataclasses look their module up
    assert run(path, module) > 0
    module.__dict__.clear()
    gc.collect()  # here, where the filter holds


def test_a_page_that_is_wrong_fails_at_its_own_line(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Words\n\n```python\nx = 1\n```\n\n```text\nnot code\n```\n\n```python\n\nx / 0\n```\n")
    assert blocks(page.read_text()) == [(4, "x = 1\n"), (12, "\nx / 0\n")]
    with pytest.raises(ZeroDivisionError) as caught:
        run(page, types.ModuleType("docs_page"))
    assert (caught.traceback[-1].path, caught.traceback[-1].lineno + 1) == (page, 13)


def test_every_fence_says_what_it_holds():
    """A bare fence or a misspelt language would be code that nobody runs."""
    known = {"python", "text", "sh", "json", "sql", "toml", "yaml", "html"}
    for path in [*PAGES, *EXTRA]:
        fences = re.findall(r"^```(.*)$", path.read_text("utf-8"), re.MULTILINE)
        assert len(fences) % 2 == 0, page_id(path)
        assert {fence.strip() for fence in fences[::2]} <= known, page_id(path)
        assert {fence.strip() for fence in fences[1::2]} <= {""}, page_id(path)


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, made as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    heads = re.findall(r"^#+ +(.*?) *$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def broken_links(path: Path) -> list[str]:
    wrong = []
    text = re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for link in (one or other for one, other in LINK.findall(text)):
        target, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        there = (path.parent / target).resolve() if target else path
        if not there.exists() or (anchor and anchor not in anchors(there)):
            wrong.append(link)
    return wrong


@pytest.mark.parametrize("path", [*PAGES, *EXTRA], ids=page_id)
def test_links_within_the_project_resolve(path):
    assert broken_links(path) == []


def test_a_broken_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# A `word`\n[a](page.md) [b](#a-word) [c](gone.md) [d](page.md#gone) ![e](gone.svg) [f](https://x.y)\n"
    )
    assert broken_links(page) == ["gone.md", "page.md#gone", "gone.svg"]


def test_the_index_lists_every_page():
    listed = {one.partition("#")[0] for one, _ in LINK.findall((DOCS / "index.md").read_text("utf-8"))}
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")} - {"index.md"}
    assert pages <= listed, f"docs/index.md lacks {sorted(pages - listed)}"


# -- everything a user can name is in the docs -----------------------------------------------------------------------

TEXT = "\n".join(path.read_text("utf-8") for path in PAGES)
CODE = set(re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", TEXT, flags=re.MULTILINE | re.DOTALL)))
FENCED = "\n".join(re.findall(r"^```.*?^```", TEXT, re.MULTILINE | re.DOTALL))


def named(word: str, code: set[str] = CODE) -> bool:
    """Whether inline code is the word, or has it as a whole word: `run` is not named by `run_step` or `run-time`."""
    whole = re.compile(rf"(?<![\w.-]){re.escape(word)}(?![\w-])")
    return any(whole.search(one) for one in code)


def test_a_word_is_named_only_by_itself_in_code():
    code = {"run_step", "visutility runs --all", "`x`", "Invalid(…)", "e-detector"}
    assert [named(word, code) for word in ("run_step", "runs", "Invalid", "e-detector")] == [True] * 4
    assert [named(word, code) for word in ("run", "step", "detector", "valid")] == [False] * 4


def tables():
    return sorted(import_module("visutility.store.schema").metadata.tables)


def settings():
    return sorted(import_module("visutility.core.settings").ENVIRONMENT)


def errors():
    classes = [value for value in vars(import_module("visutility.core.errors")).values() if inspect.isclass(value)]
    return sorted(value.__name__ for value in classes if issubclass(value, Exception))


def plug_ins(package: str, table: str) -> list[str]:
    if not (TREE / "src" / "visutility" / package / "__init__.py").is_file():
        return []
    return sorted(getattr(import_module(f"visutility.{package}"), table))


def commands():
    """Every command of the command line, as it is typed: "visutility audit verify"."""
    if not (TREE / "src/visutility/cli/app.py").is_file():
        return []
    from typer.main import get_command

    return sorted(_commands("visutility", get_command(import_module("visutility.cli.app").app)))


def _commands(path, command):
    inner = getattr(command, "commands", None)
    if inner is None:
        return [path]
    return [one for name, below in inner.items() if not below.hidden for one in _commands(f"{path} {name}", below)]


def prometheus_names(source: str) -> list[str]:
    """The names of the metrics that a source makes, as they are scraped: a counter's ends with _total."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and node.args]
    made = [(ast.unparse(call.func).split(".")[-1], call.args[0]) for call in calls]
    kinds = ("Counter", "Gauge", "Histogram", "Summary", "Info", "Enum")
    names = [(kind, name.value) for kind, name in made if kind in kinds and isinstance(name, ast.Constant)]
    return sorted(f"{name.removesuffix('_total')}_total" if kind == "Counter" else name for kind, name in names)


def metrics():
    path = TREE / "src/visutility/loop/metrics.py"
    return prometheus_names(path.read_text("utf-8")) if path.is_file() else []


NAMED = {
    "table": tables,
    "setting": settings,
    "error": errors,
    "strategy": lambda: plug_ins("tune", "STRATEGIES"),
    "detector": lambda: plug_ins("monitor", "DETECTORS"),
    "corruption": lambda: plug_ins("data", "CORRUPTIONS"),
    "metric": metrics,
}


@pytest.mark.parametrize("kind", NAMED)
def test_the_docs_name_every(kind):
    missing = [name for name in NAMED[kind]() if not named(name)]
    assert not missing, f"no page names in `code` the {kind}: {missing}"


def test_the_docs_name_every_command():
    def typed(command: str) -> object:
        return named(command) or re.search(rf"^(\$ )?{re.escape(command)}(?![\w-])", FENCED, re.MULTILINE)

    assert [command for command in commands() if not typed(command)] == []


def test_the_exit_codes_in_the_docs_are_those_of_the_errors():
    module = import_module("visutility.core.errors")
    rows = dict(re.findall(r"^\| `(\w+)` \| (\d+) \|", (DOCS / "errors.md").read_text("utf-8"), re.MULTILINE))
    kinds = [module.VisuTilityError, *module.VisuTilityError.__subclasses__()]
    assert rows == {kind.__name__: str(kind.exit_code) for kind in kinds if kind.__module__ == module.__name__}


def test_the_lists_are_read_off_the_code():
    assert {"model_version", "audit_event"} <= set(tables())
    assert {"VisuTilityError", "AliasMoved"} <= set(errors())
    source = (
        "A = x.Counter('a', 'words')\nB = Gauge('b', 'words')\nC = Counter('c_total', '')\nD = Gauge(name, 'words')"
    )
    assert prometheus_names(source) == ["a_total", "b", "c_total"]
    app = TREE / "src/visutility/cli/app.py"
    assert bool(commands()) == app.is_file()
    assert bool(metrics()) == (TREE / "src/visutility/loop/metrics.py").is_file()


def test_every_documented_setting_and_command_exists():
    """The other way round: the docs promise nothing that is not there."""
    assert set(re.findall(r"\bVISUTILITY_[A-Z]+\b", TEXT)) <= set(settings())
    if commands():
        typed = {" ".join(one.split()[:3]) for one in CODE if one.startswith("visutility ")}
        nouns = {command.split()[1] for command in commands()}
        assert {one.split()[1] for one in typed if one.split()[1][0].isalpha()} <= nouns
