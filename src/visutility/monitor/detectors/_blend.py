"""The next value of a dependent stream, predicted: a Bayesian average of simple models of how values hang together.

Five models, each of which says with what probability the next value is 1:

- no dependence: the rate of all values so far (Krichevsky & Trofimov 1981: (s + 1/2) / (n + 1));
- the last value: the same, after a 0 and after a 1 apart;
- three jumping rates: a hidden rate, one of eight, that now and then (`HAZARDS`) jumps to one drawn from a
  distribution that is learnt (expected jumps into each rate, from a Dirichlet prior); values given the rate are a
  two-state chain with lag-1 autocorrelation `CHAINS`. The forward recursion of a hidden Markov model (Rabiner 1989,
  equations 19 and 20).

A model's weight is its prior weight times the probability it gave to what came (Bayes), so that their average is the
prediction of one law, the mixture. Before a stream has shown `FEW` ones, the first model alone predicts, with a rate of
at least `AFTER` after a 1: a breakdown of a model that never erred looks like dependence to the others, and rare errors
that come in pairs like a breakdown to the first. Only + - x / are used, in one order: `blend` on arrays and `_lane.py`
on plain floats give the same bits.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from visutility.monitor.state import MANY, Bools, Floats, StreamState, agree, between
from visutility.monitor.windows import sum_rows

RATES = (0.005, 0.02, 0.05, 0.11, 0.2, 0.35, 0.55, 0.8)  # a power of two of them: sums over them are taken in halves
HAZARDS = (1.0 / 30.0, 1.0 / 150.0, 1.0 / 70.0)
CHAINS = (0.0, 0.0, 0.4)
PRIOR = (1.0, 1.0, 1e-6, 1e-6, 1e-6)  # a change, of which a stream has one, must not pass for a jump
LEAST = 1e-14  # a weight never falls below that share of what it is compared with
FEW = 24.0  # ones before which dependence is next to not believed in: a breakdown must not pass for it
AFTER, DOUBT = 0.15, 5.0  # until then, the rate after a 1 before any was seen, and that many values' worth of it
NOVELTY = 1.0 / len(RATES)  # expected jumps into each rate before any was seen
_HEAVY = 10.0  # no weight comes to that: their sum stays what it was but for rounding
_ROUNDED = 1e-6

_HAZARDS = np.array(HAZARDS)[:, None]
_CHAINS = np.array(CHAINS)[:, None]
_STAYS = 1.0 - _HAZARDS
_FLOORS = np.array(RATES)[:, None, None] * (1.0 - _CHAINS)  # (r, f, 1) probability of a 1 after a 0


@dataclass(frozen=True, slots=True)
class BlendState(StreamState):
    """What is learnt of s streams by m = 5 models, three of them with f filters of r = 8 hidden rates."""

    age: Floats  # (s,) values learnt from
    ones: Floats  # (s,) their sum
    pairs: Floats  # (4, s) the sum of the values after a 0, how many there are, and the same after a 1
    last: Floats  # (s,) the last value, 0 before the first
    weights: Floats  # (m, s) of the models, relative to each other
    rates: Floats  # (r, f, s) probability of each hidden rate given the past
    jumps: Floats  # (r, f, s) expected jumps into each rate, the prior's included


def fresh_blend(n: int) -> dict[str, Floats]:
    """Return the arrays of `BlendState`, but `seen`, for n streams of which nothing is known."""
    shape = (len(RATES), len(HAZARDS), n)
    return {
        "age": np.zeros(n),
        "ones": np.zeros(n),
        "pairs": np.zeros((4, n)),
        "last": np.zeros(n),
        "weights": np.repeat(np.array(PRIOR)[:, None], n, axis=1),
        "rates": np.full(shape, 1.0 / len(RATES)),
        "jumps": np.full(shape, NOVELTY),
    }


def check_blend(state: BlendState) -> None:
    """Raise `Invalid` for what no stream comes to."""
    between(state, 0, MANY, "age", "ones", "pairs")
    agree(state.ones <= state.age, "more errors than values")
    agree((state.pairs[0] <= state.pairs[1]) & (state.pairs[2] <= state.pairs[3]), "more errors than values")
    between(state, 0, 1, "last")
    between(state, LEAST, _HEAVY, "weights")
    between(state, NOVELTY, MANY, "jumps")
    between(state, 0, 1.0 + _ROUNDED, "rates")
    agree(np.abs(sum_rows(state.rates) - 1.0) <= _ROUNDED, "probabilities that do not sum to 1")


def forget(work: BlendState, row: int) -> None:
    """Make one row know nothing, in place."""
    for name, array in fresh_blend(1).items():
        getattr(work, name)[..., row] = array[..., 0]


class Prediction(NamedTuple):
    """What was known before the value: all shape (s,)."""

    rate: Floats  # probability of a 1 that bets are placed against
    mean: Floats  # rate of all values so far
    chance: Floats  # probability that was given to the value that came
    chain: Floats  # share of the last-value model
    few: Bools  # whether there were too few ones to know of dependence: then the rate is the mean, or AFTER
    autocorrelation: Floats  # lag-1, of all values so far


def blend(work: BlendState, x: Floats) -> Prediction:
    """Predict the next value of the first rows, then learn from it, in place. `x` (a,) is 0 or 1."""
    a, miss = len(x), 1.0 - x
    last, pairs, weights = work.last[:a], work.pairs[:, :a], work.weights[:, :a]
    rates, jumps = work.rates[:, :, :a], work.jumps[:, :, :a]
    mean = (work.ones[:a] + 0.5) / (work.age[:a] + 1.0)
    after_0, after_1 = (pairs[0] + 0.5) / (pairs[1] + 1.0), (pairs[2] + 0.5) / (pairs[3] + 1.0)
    rest = 1.0 - last
    jump = jumps * (_HAZARDS / halves(jumps))
    now = rates * _STAYS + jump
    emit = _FLOORS + _CHAINS * last
    each = np.concatenate((mean[None], (last * after_1 + rest * after_0)[None], halves(now * emit)))
    whole = sum_rows(weights)
    rate = sum_rows(weights * each) / whole
    chance = x * rate + miss * (1.0 - rate)
    few = work.ones[:a] < FEW
    pair = np.minimum((pairs[2] + AFTER * DOUBT) / (pairs[3] + DOUBT), AFTER)
    against = np.where(few, np.where(last == 1.0, np.maximum(mean, pair), mean), rate)
    gave_against = x * against + miss * (1.0 - against)
    chain = np.where(few, 0.0, weights[1] / whole)
    found = Prediction(against, mean, gave_against, chain, few, after_1 - after_0)
    np.maximum(weights * (x * each + miss * (1.0 - each)) / chance, LEAST, out=weights)
    gave = x * emit + miss * (1.0 - emit)
    gave /= halves(now * gave)
    np.multiply(now, gave, out=rates)
    jumps += jump * gave
    pairs += np.stack((rest * x, rest, last * x, last))
    work.age[:a] += 1.0
    work.ones[:a] += x
    work.last[:a] = x
    return found


def halves(parts: Floats) -> Floats:
    """Return the sum over the first axis, a power of two long, added in halves."""
    while len(parts) > 1:
        half = len(parts) // 2
        parts = parts[:half] + parts[half:]
    total: Floats = parts[0]
    return total
