"""Reading: pages, search, diff, artifacts; and what the hot calls cost in statements."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import event, insert

from visutility.core.clock import SimulatedClock
from visutility.core.errors import Invalid, InvalidName, ModelNotFound
from visutility.registry import MetricFilter, NewVersion, Registry
from visutility.store.schema import model_version

Make = Callable[..., NewVersion]


@contextmanager
def statements(registry: Registry) -> Iterator[list[str]]:
    """Collect the SQL statements sent meanwhile; BEGIN and COMMIT are not among them."""
    sent: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        sent.append(statement)

    event.listen(registry.store.engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(registry.store.engine, "before_cursor_execute", note)


def grow(registry: Registry, to: int) -> None:
    """Add versions behind the log's back until there are `to`: only their number matters here."""
    last = registry.latest("digits")
    with registry.store.write("test") as tx:
        row = tx.execute(model_version.select().where(model_version.c.id == last.id)).mappings().one()
        rows = [{**row, "id": f"v{n:025}", "number": n, "run_id": None} for n in range(last.number + 1, to + 1)]
        tx.execute(insert(model_version), rows)


def test_getting_a_version_is_one_statement(digits: Registry) -> None:
    digits.promote("digits", 1, expected=None, by="ada", why="")
    for ref in ("digits@champion", "digits", "digits:2"):
        with statements(digits) as sent:
            digits.get(ref)
        assert len(sent) == 1


def test_lists_are_one_statement_however_long(digits: Registry) -> None:
    for call in (digits.models, lambda: digits.versions("digits"), lambda: digits.aliases("digits")):
        with statements(digits) as sent:
            call()
        assert len(sent) == 1


def test_the_work_of_a_registration_and_promotion_does_not_grow_with_the_versions(digits: Registry, make: Make) -> None:
    counts = []
    for size in (10, 3000):
        grow(digits, size)
        with statements(digits) as registering:
            digits.register(make(b"model 1"), by="ada", why="")
        champion = digits.aliases("digits").get("champion")
        with statements(digits) as promoting:
            digits.promote("digits", size, expected=champion, by="ada", why="")
        with statements(digits) as latest:
            digits.latest("digits")
        counts.append((len(registering), len(promoting), len(latest)))
    assert counts[0] == counts[1]
    assert counts[0][1] <= 10
    assert counts[0][2] == 1


def test_no_hot_statement_scans_a_table(digits: Registry) -> None:
    digits.promote("digits", 1, expected=None, by="ada", why="")
    with statements(digits) as sent:
        digits.get("digits@champion")
        digits.get("digits:2")
        digits.latest("digits")
        digits.history("digits")
        digits.versions("digits", after=3)
        digits.promote("digits", 2, expected=1, by="ada", why="")
    with digits.store.read() as connection:
        for statement in sent:
            marks = (1,) * statement.count("?")
            plan = [row.detail for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", marks)]
            assert not [step for step in plan if step.startswith("SCAN")], (statement, plan)


def test_models_are_listed_by_name_in_pages(digits: Registry) -> None:
    for name in ("zebras", "apples"):
        digits.create_model(name, "detection", by="ada")
    digits.promote("digits", 2, expected=None, by="ada", why="")
    found = digits.models()
    assert [(one.name, one.task, one.champion, one.challenger, one.versions) for one in found] == [
        ("apples", "detection", None, None, 0),
        ("digits", "classification", 2, 4, 4),
        ("zebras", "detection", None, None, 0),
    ]
    assert [one.name for one in digits.models(after="apples", limit=1)] == ["digits"]


def test_versions_are_listed_newest_first_in_pages(digits: Registry) -> None:
    assert [one.number for one in digits.versions("digits", limit=3)] == [4, 3, 2]
    assert [one.number for one in digits.versions("digits", after=2, limit=3)] == [1]
    assert digits.versions("digits", after=1) == []
    for call in (digits.versions, digits.aliases, digits.latest, digits.find_model):
        with pytest.raises(ModelNotFound, match="the registry has digits"):
            call("digitz")
    with pytest.raises(Invalid, match="limit is 1001"):
        digits.versions("digits", limit=1001)


@pytest.mark.parametrize(
    ("where", "numbers"),
    [
        ((), [4, 3, 2, 1]),
        (("accuracy >= 0.8",), [4, 3]),
        (("accuracy>0.8",), [4]),
        (("accuracy != 0.7",), [4, 3, 1]),
        (("accuracy == 0.7",), [2]),
        (("accuracy > 0.6", "accuracy <= 0.8"), [3, 2]),
        ((MetricFilter("accuracy", "<", 0.65),), [1]),
        (("loss < 9",), []),
    ],
)
def test_search_filters_by_metrics(digits: Registry, where: tuple[str, ...], numbers: list[int]) -> None:
    assert [one.number for one in digits.search("digits", where)] == numbers
    assert [one.number for one in digits.search(where=where)] == numbers


def test_search_is_paged_and_knows_dotted_names(digits: Registry, make: Make, clock: SimulatedClock) -> None:
    clock.advance(1)
    digits.register(make(b"model 1", metrics={"old.f1-macro": 0.4}), by="ada", why="")
    assert [one.number for one in digits.search("digits", ["old.f1-macro < 0.5"])] == [5]
    first = digits.search("digits", limit=2)
    rest = digits.search("digits", limit=9, after=first[-1].id)
    assert [one.number for one in first + rest] == [5, 4, 3, 2, 1]


@pytest.mark.parametrize(
    "text", ["accuracy", "accuracy >", "> 1", "accuracy > high", "accuracy => 1", "accuracy > nan"]
)
def test_a_filter_that_makes_no_sense_is_refused(digits: Registry, text: str) -> None:
    with pytest.raises(Invalid):
        digits.search("digits", [text])


def test_a_metric_name_is_never_part_of_the_sql(digits: Registry) -> None:
    with pytest.raises(InvalidName):
        digits.search("digits", ["x')||1--> 0"])


def test_diff_names_what_changed(digits: Registry, make: Make) -> None:
    new = make(
        b"model 1",
        params={"C": 1, "kernel": "rbf"},
        metrics={"accuracy": 0.6, "f1": 0.5},
        data_rows=10,
        data_fingerprint="f" * 64,
    )
    digits.register(new, by="ada", why="")
    found = digits.diff("digits:1", "digits:5")
    assert (found.before, found.after, found.same_artifact) == ("digits:1", "digits:5", True)
    assert found.params == {"C": (1.0, 1), "kernel": (None, "rbf")}
    assert found.metrics == {"f1": (None, 0.5)}
    assert found.data == {"fingerprint": (None, "f" * 64), "rows": (None, 10)}
    same = digits.diff("digits:1", "digits:1")
    assert (same.params, same.metrics, same.data) == ({}, {}, {})


def test_artifacts_of_aliases_are_checked(digits: Registry) -> None:
    digits.promote("digits", 1, expected=None, by="ada", why="")
    assert digits.check_artifacts() == []
    champion, challenger = (digits.blobs.path(digits.get(ref).artifact_sha256) for ref in ("digits", "digits:4"))
    challenger.unlink()
    champion.chmod(0o600)
    champion.write_bytes(b"tampered")
    assert [str(finding) for finding in digits.check_artifacts()] == [
        "model_alias digits@challenger points at digits:4, whose artifact is missing",
        "model_alias digits@champion points at digits:1, whose artifact does not have its hash",
    ]
    assert Path(challenger).parent.exists()
