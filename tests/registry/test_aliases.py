"""Aliases: compare-and-set, whole history, rollback as a stack, errors that name who holds it."""

from collections.abc import Callable

import pytest

from visutility.core.clock import SimulatedClock
from visutility.core.errors import (
    AliasMoved,
    AliasNotFound,
    ArtifactTampered,
    Invalid,
    InvalidName,
    ModelNotFound,
    NothingToRollBack,
    VersionNotFound,
)
from visutility.registry import NewVersion, Registry, aliases
from visutility.store import audit

Make = Callable[..., NewVersion]


def promote(registry: Registry, *numbers: int) -> None:
    for number in numbers:
        now = registry.aliases("digits").get("champion")
        registry.promote("digits", number, expected=now, by="ada", why=f"{number} is better")


def rollback(registry: Registry) -> int:
    return registry.rollback("digits", by="eve", why="it got worse").number


def _head(registry: Registry) -> int:
    with registry.store.read() as connection:
        return audit.head(connection).seq


def test_a_first_version_is_not_promoted_by_itself(digits: Registry) -> None:
    with pytest.raises(AliasNotFound, match=r"has no alias 'champion'\. it has challenger"):
        digits.get("digits@champion")


def test_a_promotion_moves_champion_alone_and_is_kept(digits: Registry, clock: SimulatedClock) -> None:
    move = digits.promote("digits", 4, expected=None, by="ada", why="the best so far")
    assert (move.model, move.name, move.position, move.before, move.number) == ("digits", "champion", 1, None, 4)
    assert (move.kind, move.by, move.why, move.at) == ("promote", "ada", "the best so far", clock.now())
    assert digits.get("digits@champion") == digits.get("digits") == digits.get("digits:4")
    assert digits.aliases("digits") == {"challenger": 4, "champion": 4}
    assert digits.history("digits") == [move]
    with digits.store.read() as connection:
        (event,) = audit.events(connection, subject="digits@champion")
    assert (event.kind, event.before["alias"], event.after["alias"]["number"]) == ("alias.promoted", None, 4)


@pytest.mark.parametrize(
    ("expected", "says"),
    [
        (None, r"digits@champion is version 2, not unset: ada moved it at 2026-01-01 00:04:00 UTC \(2 is better\)"),
        (1, r"digits@champion is version 2, not version 1: ada moved it .* look at version 2 and decide again"),
        (3, "is version 2, not version 3"),
        (99, "is version 2, not version 99"),
    ],
)
def test_a_stale_promotion_is_refused_and_names_who_holds_it(digits: Registry, expected: int, says: str) -> None:
    promote(digits, 1, 2)
    before = _head(digits)
    with pytest.raises(AliasMoved, match=says):
        digits.promote("digits", 3, expected=expected, by="eve", why="hurry")
    assert digits.get("digits").number == 2
    assert _head(digits) == before


def test_a_stale_first_promotion_is_refused(digits: Registry) -> None:
    with pytest.raises(AliasMoved, match="digits@champion is unset, not version 1"):
        digits.promote("digits", 2, expected=1, by="eve", why="")


def test_promoting_the_champion_writes_nothing(digits: Registry) -> None:
    promote(digits, 1, 2)
    made = digits.history("digits")[0]
    before = _head(digits)
    assert digits.promote("digits", 2, expected=2, by="eve", why="again") == made
    assert _head(digits) == before


def test_unknown_names_say_what_there_is(digits: Registry) -> None:
    with pytest.raises(VersionNotFound, match=r"digits has no version 9\. its versions are 1 to 4"):
        digits.promote("digits", 9, expected=None, by="ada", why="")
    with pytest.raises(ModelNotFound, match="the registry has digits"):
        digits.promote("digitz", 1, expected=None, by="ada", why="")
    with pytest.raises(AliasNotFound, match="did you mean digits@challenger"):
        digits.get("digits@chalenger")
    with pytest.raises(AliasNotFound, match="it has challenger"):
        digits.history("digits", "champion")
    for ref in (
        "",
        "digits@",
        "digits:",
        "digits:0",
        "digits:01",
        "digits:1@x",
        "a:b:c",
        "Digits",
        "digits@Cham",
        None,
    ):
        with pytest.raises(InvalidName):
            digits.get(ref)


def test_rollback_goes_to_the_champion_before_and_twice_goes_further(digits: Registry) -> None:
    promote(digits, 1, 2, 4)
    assert rollback(digits) == 2
    assert rollback(digits) == 1
    with pytest.raises(NothingToRollBack, match="no champion came before digits:1"):
        rollback(digits)
    assert digits.get("digits").number == 1
    assert [(move.kind, move.before, move.number) for move in digits.history("digits")] == [
        ("rollback", 2, 1),
        ("rollback", 4, 2),
        ("promote", 2, 4),
        ("promote", 1, 2),
        ("promote", None, 1),
    ]


def test_a_promotion_after_a_rollback_goes_on_top_of_it(digits: Registry) -> None:
    promote(digits, 1, 2, 3)
    assert rollback(digits) == 2
    promote(digits, 4)
    assert rollback(digits) == 2
    assert rollback(digits) == 1


def test_a_version_that_was_champion_twice_is_twice_in_the_stack(digits: Registry) -> None:
    promote(digits, 1, 2, 1, 3)
    assert [rollback(digits) for _ in range(3)] == [1, 2, 1]


def test_rollback_has_its_own_conditions(digits: Registry) -> None:
    with pytest.raises(AliasNotFound, match="has no champion to roll back"):
        rollback(digits)
    promote(digits, 1, 2)
    with pytest.raises(AliasMoved, match="is version 2, not version 1"):
        digits.rollback("digits", by="eve", why="", expected=1)
    assert digits.rollback("digits", by="eve", why="", expected=2).number == 1


def test_an_alias_of_one_s_own_moves_by_compare_and_set(digits: Registry) -> None:
    assert digits.move_alias("digits", "staging", to=2, expected=None, by="ada", why="try it").before is None
    assert digits.move_alias("digits", "staging", to=3, expected=2, by="ada", why="").kind == "move"
    with pytest.raises(AliasMoved):
        digits.move_alias("digits", "staging", to=1, expected=2, by="ada", why="")
    for name in ("champion", "challenger"):
        with pytest.raises(Invalid, match="use register, promote or rollback"):
            digits.move_alias("digits", name, to=1, expected=4, by="ada", why="")
    with pytest.raises(InvalidName):
        digits.move_alias("digits", "No Name", to=1, expected=None, by="ada", why="")
    with digits.store.write("test") as tx, pytest.raises(Invalid, match="kind 'register' is no move by itself"):
        aliases.move_alias(tx, "digits", "staging", to=1, expected=3, by="ada", why="", kind="register")
    assert digits.get("digits@staging").number == 3


def test_a_version_whose_artifact_is_damaged_is_not_promoted(digits: Registry) -> None:
    promote(digits, 1)
    damaged = digits.blobs.path(digits.get("digits:2").artifact_sha256)
    damaged.chmod(0o600)
    damaged.write_bytes(b"other")
    with pytest.raises(ArtifactTampered):
        digits.promote("digits", 2, expected=1, by="ada", why="")
    assert digits.get("digits").number == 1


def test_history_is_paged(digits: Registry) -> None:
    promote(digits, *(1, 2) * 5)
    first = digits.history("digits", limit=4)
    second = digits.history("digits", limit=4, after=first[-1].position)
    assert [move.position for move in first + second] == [10, 9, 8, 7, 6, 5, 4, 3]
    assert digits.history("digits", after=1) == []
    with pytest.raises(Invalid, match="limit is 0"):
        digits.history("digits", limit=0)


def test_every_change_left_the_log_whole(digits: Registry) -> None:
    promote(digits, 1, 2, 3)
    rollback(digits)
    with digits.store.read() as connection:
        assert audit.verify(connection) == []
