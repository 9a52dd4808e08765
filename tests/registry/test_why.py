"""The chain of causes: complete for a version that a run made, honest for one made by hand, loud about holes."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from visutility.core.codec import dumps
from visutility.core.errors import AliasNotFound, ModelNotFound
from visutility.registry import Registry, broken

CHAIN = ["metrics", "alarm", "trigger", "run", "study", "trial", "data", "version", "gate", "promotion"]


def test_the_chain_goes_from_the_first_bad_values_to_the_promotion(retrained: Registry) -> None:
    links = retrained.why("digits@champion")
    assert [link.kind for link in links] == CHAIN
    assert broken(links) == []
    by = {link.kind: link for link in links}
    assert by["metrics"].title == "50 values of loss, positions 150 to 199, mean 0.5"
    assert by["metrics"].detail["event"] == "e1"
    assert by["alarm"].title == ("e-detector alarm on loss at position 187: score 1.5e+06, limit 1e+06")
    assert by["alarm"].detail["promise"] == "ARL0 at least 1e6"
    assert by["alarm"].detail["reference"] == {"mean": 0.02, "rows": 200}
    assert by["trigger"].title == "run: an alarm, no cooldown"
    assert by["run"].title == "retrain, running: 3 steps (snapshot, tune, train)"
    assert by["study"].title == "digits.run-1: bayesian, 2 of 2 trials complete; few trials, mixed space"
    assert by["trial"].title == "trial 1 (bayesian): loss 0.04 with C=1.5"
    assert by["data"].detail["parts"] == {"gate": 150, "train": 300}
    assert by["version"].title == "digits:5 registered by run/run-1 (trial 1 was the best)"
    assert by["version"].detail["parent"] == "digits:1"
    assert by["gate"].title == "pass against digits:1: better on fresh rows"
    assert by["gate"].detail["metrics"]["gate.challenger"] == {"accuracy": 0.96}
    assert by["promotion"].title == ("digits@champion moved from version 1 to 5 by run/run-1 (better on fresh rows)")
    assert by["promotion"].detail["gate"] == "gate-1"


def test_every_link_names_a_row_that_exists(retrained: Registry) -> None:
    version = retrained.get("digits:5")
    assert [link.id for link in retrained.why("digits:5")] == [
        "chunk-1",
        "verdict-1",
        "trigger-1",
        "run-1",
        "study-1",
        "study-1/1",
        "snapshot-1",
        version.id,
        "gate-1",
        "digits@champion#2",
    ]


def test_the_chain_is_plain_data(retrained: Registry) -> None:
    assert '"kind":"alarm"' in dumps(retrained.why("digits"))


def test_a_version_made_by_hand_has_a_short_chain_that_says_so(digits: Registry) -> None:
    (link,) = digits.why("digits:2")
    assert (link.kind, link.title) == ("version", "digits:2 registered by ada by hand: no run made it (try 2)")
    digits.promote("digits", 2, expected=None, by="eve", why="I like it")
    assert [one.title for one in digits.why("digits@champion")] == [
        "digits:2 registered by ada by hand: no run made it (try 2)",
        "digits@champion set to 2 by eve (I like it)",
    ]


def test_a_rollback_is_in_the_chain_of_the_version_that_came_back(digits: Registry) -> None:
    digits.promote("digits", 1, expected=None, by="ada", why="first")
    digits.promote("digits", 2, expected=1, by="ada", why="second")
    digits.rollback("digits", by="eve", why="second is slow")
    assert [(link.kind, link.id) for link in digits.why("digits@champion")[1:]] == [
        ("promotion", "digits@champion#1"),
        ("rollback", "digits@champion#3"),
    ]


def test_an_alias_of_one_s_own_is_in_the_chain_when_asked_for(digits: Registry) -> None:
    digits.move_alias("digits", "staging", to=2, expected=None, by="ada", why="try it")
    assert [link.kind for link in digits.why("digits@staging")] == ["version", "move"]
    assert [link.kind for link in digits.why("digits@challenger")] == ["version"]


def test_what_does_not_exist_has_no_chain(digits: Registry) -> None:
    with pytest.raises(AliasNotFound):
        digits.why("digits@champion")
    with pytest.raises(ModelNotFound):
        digits.why("nothing")


@pytest.mark.parametrize(
    ("table", "kind"),
    [
        ("metric_chunk", "metrics"),
        ("verdict", "alarm"),
        ("watch", "alarm"),
        ("retrain_trigger", "trigger"),
        ("run", "run"),
        ("study", "study"),
        ("trial", "trial"),
        ("data_snapshot", "data"),
        ("audit_event", "version"),
    ],
)
def test_a_link_that_vanished_is_reported_and_not_skipped(
    retrained: Registry, path: Path, table: str, kind: str
) -> None:
    _behind_the_back(path, f"DELETE FROM {table}")
    links = retrained.why("digits@champion")
    (finding,) = broken(links)
    assert finding.where.startswith(f"{kind} ")
    assert kind in [link.kind for link in links]


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        ("UPDATE verdict SET position = 500", "metrics", "does not hold position 500"),
        ("UPDATE run SET trigger_id = NULL", "run", "has trigger None, digits:5 has trigger-1"),
        ("UPDATE data_snapshot SET fingerprint = 'x'", "data", "has fingerprint x"),
        ("UPDATE gate_report SET challenger_id = champion_id", "gate", "not digits:5"),
        ("UPDATE gate_report SET champion_id = 'nobody'", "gate", "names champion nobody, which does not exist"),
        ("UPDATE study SET run_id = 'another'", "study", "belongs to run another, digits:5 to run-1"),
    ],
)
def test_links_that_contradict_each_other_are_reported(
    retrained: Registry, path: Path, change: str, kind: str, says: str
) -> None:
    _behind_the_back(path, change)
    (finding,) = broken(retrained.why("digits@champion"))
    assert finding.where.startswith(f"{kind} ")
    assert says in finding.problem


def test_a_gate_that_a_promotion_names_is_found_without_a_run(retrained: Registry, path: Path) -> None:
    _behind_the_back(path, "UPDATE gate_report SET run_id = NULL")
    assert [link.kind for link in retrained.why("digits")] == CHAIN
    _behind_the_back(path, "DELETE FROM gate_report")
    (finding,) = broken(retrained.why("digits"))
    assert str(finding) == "gate gate-1 does not exist, but the promotion of digits:5 names it"


def _behind_the_back(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            raw.execute(f"DROP TRIGGER {name}")
        raw.execute(statement)
