"""Late, partial, repeated and contradicting labels, in any order: joined exactly once, or refused with a reason."""

import math
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visutility.core import codec
from visutility.core.errors import (
    Conflict,
    Invalid,
    InvalidObservation,
    InvalidSetting,
    LabelContradicted,
    NotFound,
    PredictionNotFound,
)
from visutility.core.rng import rng
from visutility.monitor.labels import LabelJoin


def same(one: LabelJoin, other: LabelJoin) -> bool:
    return one.save() == other.save()


def test_labels_that_come_late_and_early_are_joined():
    join = LabelJoin()
    assert join.label(["b"], [1]).tolist() == []  # before its prediction
    assert join.predict(["a", "b", "c"], [0, 1, 2], at=[1, 2, 3]).tolist() == [0.0]  # b, at once
    assert join.label(["c", "a"], [1, 0]).tolist() == [1.0, 0.0]
    found = join.realised()
    assert (found.labelled, found.rows, found.value) == (3, 3, pytest.approx(2 / 3))
    assert found.low < found.value < found.high
    assert join.counts.held == 1
    assert join.counts.dropped == 0


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_order_split_and_repetition_joins_each_prediction_once(data):
    n = 12
    said = data.draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))
    truth = data.draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))
    events = [("p", at) for at in range(n)] + [("l", at) for at in range(n) if at % 3]  # a third never gets a label
    events += data.draw(st.lists(st.sampled_from(events), max_size=10))  # delivered again
    events = data.draw(st.permutations(events))
    join, losses = LabelJoin(), []
    for what, at in events:
        if what == "p":
            losses += join.predict([at], [said[at]], at=float(at)).tolist()
        else:
            losses += join.label([at], [truth[at]]).tolist()
        join = LabelJoin.load(join.save())  # killed and restarted between any two
    expected = [float(said[at] != truth[at]) for at in range(n) if at % 3]
    assert sorted(losses) == sorted(expected)
    table = join.table()
    assert table["id"].tolist() == list(range(n))
    assert np.nansum(table["loss"]) == sum(expected)
    assert join.counts.joined == len(expected)
    assert join.counts.duplicates == len(events) - n - len(expected)


@settings(max_examples=40, deadline=None)
@given(cuts=st.lists(st.integers(1, 39), max_size=6, unique=True), seed=st.integers(0, 50))
def test_the_split_into_batches_changes_nothing(cuts, seed):
    g = rng(seed, "labels", "split")
    ids, said, label, at = g.permutation(40), g.integers(0, 3, 40), g.integers(0, 3, 40), g.random(40)
    whole, parts = LabelJoin(keep=25, keep_for=0.8, early=8), LabelJoin(keep=25, keep_for=0.8, early=8)
    order = g.permutation(40)
    every = np.concatenate([whole.predict(ids, said, at=at), whole.label(ids[order], label[order])])
    bounds = [0, *sorted(cuts), 40]
    pairs = list(pairwise(bounds))
    found = [parts.predict(ids[a:b], said[a:b], at=at[a:b]) for a, b in pairs]
    found += [parts.label(ids[order][a:b], label[order][a:b]) for a, b in pairs]
    assert same(whole, parts)
    assert every.tolist() == np.concatenate(found).tolist()


def test_a_duplicate_label_is_counted_and_ignored():
    join = LabelJoin()
    join.predict([1, 2], [0, 0])
    join.label([1], [0])
    assert join.label([1, 1], [0, 0]).tolist() == []
    assert (join.counts.joined, join.counts.duplicates) == (1, 2)


def test_a_contradicting_label_is_refused_and_nothing_of_its_batch_is_taken():
    join = LabelJoin()
    join.predict([1, 2], [0, 0])
    join.label([1], [0])
    before = join.save()
    with pytest.raises(LabelContradicted, match=r"label of 1 was 0\.0, now 1\.0") as caught:
        join.label([2, 1], [0, 1])
    assert isinstance(caught.value, Conflict)
    assert caught.value.hint
    with pytest.raises(LabelContradicted):
        join.label([2, 2], [0, 1])  # within one batch
    with pytest.raises(LabelContradicted, match="prediction 2"):
        join.predict([3, 2], [0, 1])
    with pytest.raises(LabelContradicted, match="prediction 4"):
        join.predict([4, 4], [0, 1])
    assert join.save() == before


@pytest.mark.parametrize(("policy", "wrong"), [("first", 0.0), ("last", 1.0)])
def test_a_policy_says_which_of_two_labels_counts(policy, wrong):
    join = LabelJoin(contradiction=policy)
    join.predict([1], [0])
    assert join.label([1], [0]).tolist() == [0.0]
    assert join.label([1], [1]).tolist() == []  # a prediction's loss is given back once
    assert join.realised().value == 1.0 - wrong
    assert (join.counts.contradictions, join.counts.joined) == (1, 1)
    join.label([2, 2], [0, 1])  # held labels, too
    join.predict([2], [0])
    assert join.table()["loss"].tolist() == [wrong, wrong]


def test_a_label_of_an_unknown_prediction_is_held_for_a_bounded_time_or_refused():
    join = LabelJoin(early=2)
    join.label([1, 2, 3], [0, 0, 0])
    assert (join.counts.held, join.counts.dropped) == (3, 1)
    assert join.predict([1, 2, 3], [0, 0, 0]).tolist() == [0.0, 0.0]  # the label of 1 was dropped

    aged = LabelJoin(keep_for=10.0)
    aged.label(["x"], [0])  # before any time is known: waits from the first time on
    aged.predict(["a"], [0], at=100.0)
    aged.advance(109.0)
    assert aged.counts.dropped == 0
    aged.advance(111.0)
    assert aged.counts.dropped == 1

    strict = LabelJoin(unknown="refuse")
    strict.predict([1], [0])
    before = strict.save()
    with pytest.raises(PredictionNotFound, match="no prediction 7") as caught:
        strict.label([1, 7], [0, 0])
    assert isinstance(caught.value, NotFound)
    assert strict.save() == before


def test_memory_is_bounded_and_what_left_is_never_joined_again():
    join = LabelJoin(keep=100, early=10)
    for at in range(1000):
        join.predict([at], [0], at=float(at))
        join.label([at], [1])
    assert (len(join), join.counts.joined, join.counts.forgotten) == (100, 1000, 900)
    assert join.predict([5], [0], at=5.0).tolist() == []  # delivered again, long after it left
    assert join.label([5], [1]).tolist() == []
    assert (join.counts.late, join.counts.joined) == (1, 1000)
    join.label(np.arange(2000, 2100), np.zeros(100))
    assert join.counts.held - join.counts.dropped == 10
    assert len(join.save()) < 20_000


def test_times_may_come_in_any_order_but_the_clock_may_not_go_backwards():
    join = LabelJoin(keep_for=10.0)
    join.predict([1, 2, 3], [0, 0, 0], at=[5, 3, 12])  # out of order: fine
    assert join.table()["id"].tolist() == [2, 1, 3]
    join.predict([4], [0], at=1.0)  # too old to be kept
    assert (join.counts.late, len(join)) == (1, 3)
    before = join.save()
    with pytest.raises(InvalidObservation, match="the clock went backwards"):
        join.advance(11.0)
    with pytest.raises(InvalidObservation, match="the clock went backwards"):
        join.advance(math.nan)
    assert join.save() == before
    join.advance(14.0)
    assert join.table()["id"].tolist() == [1, 3]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_refused_with_their_position(bad):
    join = LabelJoin()
    join.predict([1], [0], at=1.0)
    before = join.save()
    for call in (
        lambda: join.predict([2, 3], [0, bad]),
        lambda: join.predict([2], [0], at=bad),
        lambda: join.predict([2], [0], expected=[bad]),
        lambda: join.label([5, 1], [0, bad]),
    ):
        with pytest.raises(InvalidObservation, match="position"):
            call()
    assert join.save() == before


def test_masked_values_are_refused():
    join = LabelJoin()
    join.predict([1, 2], [0, 1], at=1.0)
    before = join.save()
    masked = np.ma.array([1.0, 1.0], mask=[False, True])
    for call in (
        lambda: join.predict([3, 4], masked),
        lambda: join.predict([3, 4], [0, 1], at=masked),
        lambda: join.predict(np.ma.array([3, 4], mask=[False, True]), [0, 1]),
        lambda: join.label([1, 2], masked),
    ):
        with pytest.raises(InvalidObservation):
            call()
    assert join.save() == before
    assert join.label([1, 2], np.ma.array([0.0, 0.0])).tolist() == [0.0, 1.0]


def test_shapes_ids_and_settings_are_checked():
    join = LabelJoin()
    for ids in ([1.5], [True], [None], [1, "a"], [2**63], ["a\0"]):
        with pytest.raises(InvalidObservation):
            join.predict(ids, np.zeros(len(ids)))
    with pytest.raises(InvalidObservation, match="shape"):
        join.label([1, 2], [0])
    with pytest.raises(InvalidObservation, match="numbers"):
        join.label([1], ["cat"])
    for at in ("noon", [[1.0]], [1.0, 2.0, 3.0]):
        with pytest.raises(InvalidObservation):
            join.predict([1], [0], at=at)
    with pytest.raises(InvalidObservation, match="times"):
        LabelJoin(keep_for=5.0).predict([1], [0])
    for wrong in ({"keep": 0}, {"early": -1}, {"keep_for": 0.0}, {"scale": 0.0}, {"metric": "f1"}):
        with pytest.raises(InvalidSetting):
            LabelJoin(**wrong)
    for wrong in ({"unknown": "drop"}, {"contradiction": "both"}):
        with pytest.raises(InvalidSetting):
            LabelJoin(**wrong)
    with pytest.raises(InvalidSetting):
        join.realised(level=1.0)


def test_ids_of_two_types_are_refused_across_batches_too():
    join = LabelJoin()
    join.predict([1, 2], [0, 1])
    before = join.save()
    for wrong in (["1"], np.array(["a"])):
        with pytest.raises(InvalidObservation, match=r"\['int', 'str'\]"):
            join.predict(wrong, [0])
        with pytest.raises(InvalidObservation):
            join.label(wrong, [0])
    assert join.save() == before
    early = LabelJoin()
    early.label(["a"], [1])
    with pytest.raises(InvalidObservation):
        early.predict([7], [1])


def test_ids_may_be_numbers_of_numpy_and_columns_of_tables():
    plain, other = LabelJoin(), LabelJoin()
    for column in ([3, 4], list(np.array([5, 6])), pd.Series([7, 8]), pa.array([9, 10])):
        other.predict(column, [0, 1])
    plain.predict([3, 4, 5, 6, 7, 8, 9, 10], [0, 1] * 4)
    assert same(plain, other)
    named = LabelJoin()
    named.predict(list(np.array(["ü", "漢"])), [0, 1])
    assert named.table()["id"].tolist() == ["ü", "漢"]


def test_an_id_that_would_take_all_memory_is_refused():
    with pytest.raises(InvalidObservation, match="100000 long"):
        LabelJoin().predict(["x" * 100_000], [0])


def test_empty_batches_change_nothing():
    join = LabelJoin()
    before = join.save()
    assert join.predict([], []).tolist() == join.label([], []).tolist() == []
    assert join.save() == before
    found = join.realised()
    assert math.isnan(found.value)
    assert math.isnan(found.share)
    assert "None of 0" in found.words


def test_a_save_is_exact_and_other_bytes_are_refused():
    join = LabelJoin(metric="mae", scale=2.0, keep=10, keep_for=50.0)
    join.predict(["a", "b"], [1.0, 3.0], at=[1, 2], expected=[0.5, 0.25])
    join.label(["b", "z"], [2.0, 1.0])
    again = LabelJoin.load(join.save())
    assert same(join, again)
    for one in (join, again):
        one.predict(["z"], [0.5], at=3.0)
    assert same(join, again)
    assert repr(join.realised()) == repr(again.realised())  # NaN is not equal to itself
    for bytes_ in (b"", join.save()[:-1], b"x" + join.save()):
        with pytest.raises(Invalid):
            LabelJoin.load(bytes_)


def test_a_save_that_nobody_made_is_refused():
    join = LabelJoin()
    join.predict(["a", "b"], [1.0, 0.0], at=[1, 2])
    join.label(["b", "z"], [1.0, 1.0])
    version, packed = codec.unpack_arrays(join.save())
    settings = codec.loads(packed["settings"].tobytes())

    def edited(**changes):
        wanted = {name: array for name, array in (packed | changes).items() if array is not None}
        return codec.pack_arrays({name: np.asarray(array) for name, array in wanted.items()}, version=version)

    def other(**changes):
        return edited(settings=np.frombuffer(codec.dumps(settings | changes).encode(), np.uint8))

    assert LabelJoin.load(edited()).save() == join.save()
    for wrong in (
        codec.pack_arrays({"held_label": np.zeros(1), "order": np.zeros(1)}, version=version),
        codec.pack_arrays(packed, version=version + 1),
        *(edited(**{name: None}) for name in packed),
        *(edited(**{name: np.zeros((2, 2))}) for name in packed),
        *(edited(**{name: np.array(["a"])}) for name in packed),
        edited(settings=np.frombuffer(b"[]", np.uint8)),
        edited(settings=np.frombuffer(b"{", np.uint8)),
        edited(times=[math.nan, 1.0, 1.0]),
        edited(times=[-1.0, 1.0, 1.0]),
        edited(at=[1.0, math.inf]),
        edited(id=["a", "a"]),
        edited(id=[1, 2]),
        edited(held=["a"]),
        edited(label=[0.0, 0.0]),
        edited(order=[-1, 1]),
        other(keep=0),
        other(metric="area"),
        other(counts={"joined": "x"}),
        other(counts={"joined": 1}),
        other(orders="x"),
        other(more=1),
    ):
        with pytest.raises(Invalid):
            LabelJoin.load(wrong)


def test_the_mean_absolute_error_is_in_the_units_of_the_values():
    join = LabelJoin(metric="mae", scale=10.0)
    join.predict([1, 2], [5.0, 8.0])
    assert join.label([1, 2], [6.0, 5.0]).tolist() == [0.1, 0.3]
    assert join.realised().value == pytest.approx(2.0)


def test_labels_of_odd_rows_are_called_selected_and_the_adjustment_helps():
    """Scores are right here, so the adjusted value is right; labels come for doubtful rows alone."""
    g = rng(0, "labels", "selected")
    n = 4000
    chance = g.uniform(0.5, 1.0, n)
    said, label = np.zeros(n), (g.random(n) >= chance).astype(float)
    odd = g.random(n) < np.where(chance < 0.7, 0.5, 0.05)
    join = LabelJoin()
    join.predict(np.arange(n), said, expected=chance)
    join.label(np.flatnonzero(odd), label[odd])
    found, truth = join.realised(), 1.0 - label.mean()
    assert found.selected
    assert "not like the others" in found.words
    assert abs(found.adjusted - truth) < 0.04 < abs(found.value - truth)  # the sd of `adjusted` is below .013

    fair = LabelJoin()
    fair.predict(np.arange(n), said, expected=chance)
    fair.label(np.arange(0, n, 3), label[::3])
    assert not fair.realised().selected  # 3 sd: 3 seeds in 1,000 would say otherwise


def test_the_predictions_that_were_joined_just_now_are_named_in_the_order_of_their_losses():
    join = LabelJoin()
    join.label(["c", "x"], [1, 1])
    assert join.just_joined == ()
    assert join.predict(["a", "b", "c"], [0, 1, 0], at=[1.0, 2.0, 3.0]).tolist() == [1.0]
    assert join.just_joined == ("c",)
    assert join.label(["b", "c", "a"], [1, 1, 1]).tolist() == [0.0, 1.0]
    assert join.just_joined == ("b", "a")
    join.label(["a"], [1])
    assert join.just_joined == ()
