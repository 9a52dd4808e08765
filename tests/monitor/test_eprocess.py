"""The detector with a growing baseline: its theorem with means that it has to learn, its arithmetic, any cut."""

import math

import numpy as np
import pytest
from scipy import stats
from theories import eprocess_blocks

from visutility.core.errors import InvalidObservation, InvalidSetting
from visutility.core.rng import rng
from visutility.monitor import Fleet, Level, blocks, make_detector, universal
from visutility.monitor.blocks import BLOCK, GRID, block_sums, dense, on_grid, ragged
from visutility.monitor.detectors.eprocess import EProcess
from visutility.monitor.state import arrays


def errors(rate, *names, shape):
    return (rng(0, "eprocess", str(rate), *names).random(shape) < rate).astype(np.float32)


def equal(one, other):
    return all(np.array_equal(array, arrays(other)[name]) for name, array in arrays(one).items())


# -- the arithmetic --------------------------------------------------------------------------------------------------


def test_the_winnings_are_those_of_the_plain_recursion():
    values = rng(0, "plain").beta(2, 8, 32 * 70).astype(np.float32)
    on_grid(values)
    detector = EProcess(arl=1e12)
    state, _ = detector.update(detector.fresh(1), values)
    *_, (wealth, lost) = eprocess_blocks(values.reshape(70, 32).sum(axis=1).tolist())
    np.testing.assert_allclose(state.wealth[:, 0], wealth, rtol=1e-3)
    np.testing.assert_allclose(universal.regret(state), [lost], rtol=1e-4)
    assert state.rate[0] == pytest.approx((values[: 32 * 64].sum() + 4) / (32 * 64 + 4.5))


@pytest.mark.parametrize("rate", [1e-6, 0.02, 0.3, 0.7, 0.999])
def test_no_factor_has_a_mean_above_one(rate):
    """The worst distribution of a value with that mean is 0 or 1: all 33 sums of a block, weighed exactly."""
    s = np.arange(33)
    mean = stats.binom.pmf(s, 32, rate) @ (np.exp(np.outer(s, universal.TILTS)) * universal._scale(np.array([rate])).T)
    assert (mean <= 1.0).all()
    assert (mean > 1.0 - 1e-3).all()


# -- any cut ---------------------------------------------------------------------------------------------------------


def feed(detector, state, values, draw):
    """Feed values (s, n) in random dense and ragged pieces; the state and the verdicts."""
    at, found = 0, []
    while at < values.shape[1]:
        k = int(draw.choice([1, 3, 15, 16, 17, 40, 128]))
        piece = values[:, at : at + k]
        if draw.random() < 0.5:
            state, said = detector.update(state, piece)
        else:
            ids = np.repeat(np.arange(len(piece)), piece.shape[1])
            by_stream = draw.permutation(ids)  # arrival order between streams is free, within a stream it is kept
            batch = np.empty(piece.size, values.dtype)
            batch[np.argsort(by_stream, kind="stable")] = piece.ravel()
            state, said = detector.update(state, batch, by_stream)
        found += list(said)
        at += k
    return state, found


@pytest.mark.parametrize("kind", ["errors", "losses", "float64"])
def test_any_cut_gives_the_same_state_and_verdicts_to_the_bit(kind):
    detector = EProcess(arl=100.0)
    draw = rng(1, "cuts", kind)
    rates = np.repeat([0.1, 0.6, 0.2], [700, 500, 500])
    values = draw.random((7, 1700)) < rates if kind == "errors" else draw.beta(20 * rates, 20 - 20 * rates, (7, 1700))
    values = values.astype(np.float32 if kind != "float64" else np.float64)
    values[3, :5] = 0.0  # streams differ in what they have
    last, wanted = detector.update(detector.fresh(7), values)
    assert len({verdict.stream for verdict in wanted}) > 3
    for seed in range(12):
        state, found = feed(detector, detector.fresh(7), values, rng(2, "cuts", kind, seed))
        assert equal(state, last)
        assert sorted(found, key=lambda v: (v.stream, v.position)) == sorted(
            wanted, key=lambda v: (v.stream, v.position)
        )


def test_streams_out_of_step_get_what_they_get_alone():
    """Many streams, of which any number close a block in a batch: all paths of the fleet against one stream alone."""
    detector = EProcess(arl=50.0)
    draw = rng(3, "step")
    state, each = detector.fresh(40), [[] for _ in range(40)]
    found = []
    for at in range(120):
        n = int(draw.choice([1, 5, 60, 700]))
        ids = draw.integers(0, 40 if at % 3 else 4, n)
        values = draw.random(n) < (0.1 if at < 60 else 0.5)
        for stream, value in zip(ids.tolist(), values.tolist(), strict=True):
            each[stream].append(value)
        state, said = detector.update(state, values, ids)
        found += list(said)
    assert len(found) > 20
    for stream, values in enumerate(each):
        alone, said = detector.update(detector.fresh(1), np.array(values))
        assert [v[1:] for v in said] == [v[1:] for v in found if v.stream == stream]
        for name, array in arrays(alone).items():
            assert np.array_equal(array[..., 0], arrays(state)[name][..., stream]), name


def test_saved_at_any_point_a_fleet_goes_on_as_if_nothing_had_happened(tmp_path):
    values = np.concatenate([errors(0.1, shape=(5, 400)), errors(0.5, shape=(5, 200))], axis=1)
    whole = Fleet(EProcess(arl=100.0), streams=5)
    wanted = list(whole.update(values))
    assert wanted
    for cut in (0, 1, 32, 399, 433, 600):
        fleet = Fleet(EProcess(arl=100.0), streams=5)
        said = list(fleet.update(values[:, :cut]))
        fleet.save(tmp_path / "fleet")
        again = Fleet.load(tmp_path / "fleet")
        said += list(again.update(values[:, cut:]))
        assert sorted(said) == sorted(wanted)
        np.testing.assert_array_equal(again.scores(), whole.scores())


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int64, np.float16, np.float32, np.float64])
def test_values_of_any_type_are_the_same_values(dtype):
    values = errors(0.3, shape=(3, 100))
    detector = EProcess()
    wanted, _ = detector.update(detector.fresh(3), values)
    state, _ = detector.update(detector.fresh(3), values.astype(dtype))
    assert equal(state, wanted)
    turned = EProcess(direction="fall", low=-1.0, high=3.0)
    state, _ = turned.update(turned.fresh(3), 3.0 - 4.0 * values)
    assert equal(state, wanted)


def test_ragged_sums_are_those_of_a_loop(monkeypatch):
    draw = rng(4, "ragged")
    for n, s, none in ((1, 3, 65_535), (50, 3, 65_535), (1000, 9, 65_535), (3000, 2, 65_535), (3000, 70, 2)):
        monkeypatch.setattr(blocks, "_NONE", none)  # past so many rows, the wide way
        ids, fill = draw.integers(0, s, n), draw.integers(0, BLOCK, s)
        units = draw.random(n).astype(np.float32)
        on_grid(units)
        assert ((units / GRID) % 1 == 0).all()
        part = np.round(draw.random(s) * fill * 100).astype(np.float32) * np.float32(GRID)
        closed, counts, after = ragged(units, ids, fill, part)
        found = {}
        for one in closed:
            for row, sums in zip(one.rows, one.sums, strict=True):
                found[int(row)] = sums.tolist()
        for row in range(s):
            sums, held, total = [], int(fill[row]), float(part[row])
            for value in units[ids == row]:
                held, total = held + 1, total + float(value)
                if held == BLOCK:
                    sums.append(total)
                    held, total = 0, 0.0
            assert (found.get(row, []), after[row], counts[row]) == (sums, total, (ids == row).sum())


def test_dense_sums_do_not_depend_on_the_order_of_adding():
    values = rng(5, "sums").random((3, 480)).astype(np.float32)
    on_grid(values)
    exact = values.astype(np.float64).reshape(3, 15, 32).sum(axis=2)
    assert (block_sums(values, np.empty((3, 15), np.float32)) == exact).all()
    assert (block_sums(values[0, :32], np.empty(1, np.float32)) == exact[0, 0]).all()
    assert dense(values[:, :0], np.zeros(3, np.int64), np.zeros(3, np.float32), lambda v, out: None)[0] == []


# -- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, -0.01, 1.01])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_bad_value_is_refused_with_its_place_and_nothing_is_taken(bad, dtype):
    fleet = Fleet("eprocess", streams=3)
    before = fleet.detector.save(fleet._state)
    values = errors(0.1, shape=(3, 50)).astype(dtype)
    values[1, 40] = bad
    with pytest.raises(InvalidObservation, match="at position 40 of stream 1"):
        fleet.update(values)
    with pytest.raises(InvalidObservation, match="at position 90"):
        fleet.update(values.ravel(), np.tile([0, 1, 2], 50))
    assert fleet.detector.save(fleet._state) == before
    values[1, 40] = -0.0
    fleet.update(values)


def test_settings_out_of_range_are_refused():
    for settings in ({"arl": 1.0}, {"arl": 1e13}, {"low": None}, {"low": 2.0}):
        with pytest.raises(InvalidSetting):
            EProcess(**settings)


# -- learning --------------------------------------------------------------------------------------------------------


def test_a_reference_window_is_a_baseline_that_an_alarm_does_not_lose():
    detector = make_detector("eprocess")
    reference = errors(0.1, "reference", shape=5000)
    state = detector.init([reference])
    learnt = detector.learnt(state)
    assert learnt["baseline_size"] == 4992
    assert learnt["baseline_mean"] == pytest.approx(reference[:4992].mean())
    after, said = detector.update(state, errors(0.4, shape=3000))
    alarms = [verdict.position for verdict in said]
    assert len(alarms) > 10  # a stream that stays bad alarms again
    assert alarms[0] < 150
    assert detector.learnt(after)["baseline_size"] >= 4992
    assert detector.learnt(after)["baseline_mean"] < 0.15
    first = next(iter(said))
    assert first.level is Level.ALARM
    assert first.score >= first.limit == 1e6
    assert first.evidence["bet_mean"] > 0.25
    assert first.evidence["baseline_mean"] < 0.12


def test_streams_without_a_reference_learn_from_their_first_values():
    fleet = Fleet("eprocess", streams=200)
    assert len(fleet.update(errors(0.1, "before", shape=(200, 5000)))) == 0
    found = fleet.update(errors(0.3, "after", shape=(200, 400)))
    assert found.alarm.mean() > 0.99
    first = {verdict.stream: verdict.position - 4999 for verdict in reversed(list(found))}
    assert np.median(list(first.values())) < 160
    assert (found.evidence[found.alarm] > 0).all()


def test_large_changes_of_rare_errors_are_not_lost_to_what_winnings_are_cut_at():
    """The regret of the first changed blocks is large, and the winnings are larger."""
    fleet = Fleet("eprocess", streams=300)
    fleet.update(errors(0.02, "rare", shape=(300, 5000)))
    assert fleet.update(errors(0.5, "often", shape=(300, 200))).alarm.all()


@pytest.mark.parametrize("perfect", [512, 1000, 5000, 8192, 16_384, 20_000, 100_000])
@pytest.mark.parametrize("rate", [0.1, 0.3, 1.0])
def test_a_breakdown_after_no_error_at_all_is_seen(perfect, rate):
    """Of 40 streams all; the odds of the boldest bet are 11 times the baseline's, which must not be next to none."""
    fleet = Fleet("eprocess", streams=40)
    for _ in range(2):
        assert len(fleet.update(np.zeros((40, perfect // 2), np.float32))) == 0
    assert fleet.update(errors(rate, "breakdown", str(perfect), shape=(40, 500))).alarm.all()


def test_winnings_that_no_alarm_follows_overflow_nothing():
    """After 128 zeros one mean explains the ones that follow far better than the rates did: regret is large."""
    detector = EProcess(arl=1e6)
    state, said = detector.update(detector.fresh(1), np.repeat([0.0, 1.0], [128, 1280]))
    assert all(np.isfinite(array).all() for array in arrays(state).values())
    assert np.isfinite(detector.scores(state)).all()
    assert len(said) <= 1


# -- the theorem -----------------------------------------------------------------------------------------------------


def largest_mean_evidence():
    """The largest mean, over the rate of independent errors, of the evidence after three blocks: by enumeration.

    All 33^3 sums of three blocks, weighed exactly; at most 96 by the theorem. No chance is involved.
    """
    detector = EProcess(arl=1e12)
    sums = np.stack(np.meshgrid(*[np.arange(33)] * 3, indexing="ij")).reshape(3, -1)
    values = (np.arange(32) < sums.T[:, :, None]).reshape(-1, 96)
    state, _ = detector.update(detector.fresh(len(values)), values)
    state.regret[:] = universal.regret(state)
    evidence = detector.scores(state)
    rates = np.linspace(0.01, 0.99, 99)
    return max(float(stats.binom.pmf(sums, 32, rate).prod(axis=0) @ evidence) for rate in rates)


@pytest.mark.slow
def test_the_mean_of_the_evidence_is_at_most_the_number_of_values():
    assert largest_mean_evidence() <= 96.0


@pytest.mark.slow
def test_a_detector_that_takes_its_baseline_for_the_truth_is_caught(monkeypatch):
    monkeypatch.setattr(universal, "_regret", lambda fit, total, rest: np.zeros(len(fit), np.float32))
    assert largest_mean_evidence() > 96.0


def test_the_evidence_is_bounded_by_a_martingale_that_is_tight():
    """M of the true mean, above the evidence for every mean, has mean 96, but for what is cut at 1e30."""
    detector = EProcess(arl=1e12)
    sums = np.stack(np.meshgrid(*[np.arange(33)] * 3, indexing="ij")).reshape(3, -1)
    state, _ = detector.update(detector.fresh(sums.shape[1]), (np.arange(32) < sums.T[:, :, None]).reshape(-1, 96))
    for rate in (0.02, 0.1, 0.5, 0.9):
        ones = sums.sum(axis=0)
        weight = np.exp(universal.fit(state) - ones * math.log(rate) - (96 - ones) * math.log(1 - rate))
        known = universal.won(state) / 4.0 * weight
        assert stats.binom.pmf(sums, 32, rate).prod(axis=0) @ known == pytest.approx(96.0, rel=1e-4)


def dependent(draw, runs, n):
    """Values with conditional mean .3 whose spread depends on the past: calm after a large value."""
    values, wild = np.empty((runs, n), np.float32), np.ones(runs, np.bool_)
    for at in range(n):
        u = draw.random(runs)
        values[:, at] = np.where(wild, u < 0.3, np.where(u < 0.5, 0.1, 0.5))
        wild = values[:, at] < 0.3
    return values


NULLS = {
    "errors .02": lambda draw, runs, n: draw.random((runs, n)) < 0.02,
    "errors .1": lambda draw, runs, n: draw.random((runs, n)) < 0.1,
    "errors .5": lambda draw, runs, n: draw.random((runs, n)) < 0.5,
    "losses": lambda draw, runs, n: draw.beta(1, 4, (runs, n)),
    "dependent": dependent,
}


@pytest.mark.slow
@pytest.mark.parametrize("null", NULLS)
def test_false_alarms_stay_within_the_promise_while_the_mean_is_learnt(null):
    """First alarms within T = arl / 4 values from the first value on, of 4,000 streams: at most 1/4 may have one.

    A detector that keeps its promise fails with probability at most 1e-6. The promise is far from tight here, so that
    only a grossly wrong detector would fail: what is tight is above.
    """
    runs, arl = 4000, 8000
    fleet = Fleet(EProcess(arl=arl), streams=runs)
    draw = rng(6, "null", null)
    alarmed = np.zeros(runs, np.bool_)
    for _ in range(4):
        alarmed |= fleet.update(NULLS[null](draw, runs, arl // 16)).alarm
    assert alarmed.sum() <= stats.binom.isf(1e-6, runs, 1 / 4)


@pytest.mark.parametrize("value", [1e300, -1e300])
def test_values_too_large_for_float32_are_refused_like_others(value):
    detector = EProcess()
    state = detector.init(2)
    with pytest.raises(InvalidObservation, match="position 1 of stream 1"):
        detector.update(state, [[0.0, 1.0], [0.0, value]])
    with pytest.raises(InvalidObservation, match="position 1"):
        detector.update(state, [0.0, value], [0, 1])


def test_winnings_that_only_together_are_beyond_float32_are_cut_without_a_warning():
    draw = np.random.default_rng(0)
    fleet = Fleet("eprocess", streams=20)
    fleet.update(draw.random((20, 1000)) < 0.001)
    found = fleet.update(draw.random((20, 2000)) < 0.8)
    assert np.isfinite(found.score).all()
    assert np.isfinite(fleet.scores()).all()


def test_baselines_above_a_half_are_exact_however_they_are_cut():
    """256 blocks of such values have more 4096ths than float32 has digits for."""
    values = rng(0, "large means").beta(90, 10, 100_000)
    detector = EProcess(arl=1e12)
    whole, _ = detector.update(detector.fresh(1), values)
    parts = detector.fresh(1)
    for piece in np.array_split(values, 700):
        parts, _ = detector.update(parts, piece)
    assert equal(whole, parts)
    grid = np.round(values.astype(np.float32) / GRID) * GRID  # 100,000 values are whole blocks
    assert whole.total[0] == grid.sum(dtype=np.float64)


def test_the_evidence_of_eprocess_is_less_the_regret_of_now():
    """After each block that moves no base, as equations (1) to (3) have it; the score that is shown is mostly above."""
    values = (rng(0, "regret").random(32 * 60) < np.repeat([0.1, 0.2], 32 * 30)).astype(float)
    detector = make_detector("eprocess", arl=1e12)
    state, above = detector.init(1), 0
    for wealth, lost in eprocess_blocks(values.reshape(-1, 32).sum(axis=1).tolist()):
        at = int(state.seen[0])
        state, verdicts = detector.update(state, values[at : at + 32])
        if (at + 32) // 32 in (4, 16, 64):
            continue  # the state has moved its base already
        np.testing.assert_allclose(detector.settled(state, verdicts), sum(wealth) / 4.0 * np.exp(-lost), rtol=1e-2)
        above += detector.scores(state)[0] > 1.1 * detector.settled(state)[0]
    assert above > 10
