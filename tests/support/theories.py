"""What each detector's theory says of one stream, in plain Python from the equations of its page and paper.

A theory takes the values of a stream that is watched from its first value on (or after a reference window) and yields,
value by value, the statistic and the limit at which it is an alarm: the limit that follows from what is promised, never
one that a detector states. Nothing of `visutility` is used. `None` stands for a value without a decision. A theory ends
where the stream would be learnt anew in silence, and says nothing of what comes after an alarm.
"""

import math
from collections.abc import Iterator

import numpy as np
from scipy import optimize, special, stats

Said = Iterator[tuple[float, float] | None]


# -- bets ------------------------------------------------------------------------------------------------------------


def eprocess(values, arl) -> Said:
    """Bets against a rate that is learnt, less its regret, at the ends of blocks of 32 values."""
    told = eprocess_blocks([sum(values[at : at + 32]) for at in range(0, len(values) - 31, 32)])
    for at in range(1, len(values) + 1):
        if at % 32:
            yield None
        else:
            wealth, lost = next(told)
            yield sum(wealth) / 4.0 * math.exp(-lost), arl


def eprocess_blocks(sums) -> Iterator[tuple[list[float], float]]:
    """Equations (1) to (4) of docs/detector-eprocess.md: winnings and regret after each block with these sums."""
    wealth, rate, base, kept, history = [0.0] * 4, 0.5, 0, 0, []
    for n, s in enumerate(sums, start=1):
        history.append((s, rate))
        for k in range(4):
            tilt = 0.3 * 2**k
            wealth[k] = (wealth[k] + 32.0) * math.exp(tilt * s - 32.0 * math.log1p(rate * math.expm1(tilt)))
        yield list(wealth), _regret(history[base:])
        if n & (n - 1) == 0:  # a power of 2
            if n in (4, 16, 64, 256):
                wealth = [won * math.exp(-_regret(history[base:kept])) for won in wealth]
                base, kept = kept, n
            rate = (sum(s for s, _ in history) + 4.0) / (32 * n + 4.5)


def _regret(history):
    """By how much the best single mean explains blocks better than the rates that were bet against."""
    total, size = sum(s for s, _ in history), 32 * len(history)
    used = sum(s * math.log(rate) + (32.0 - s) * math.log(1.0 - rate) for s, rate in history)
    return max(sum(x * math.log(x / size) for x in (total, size - total) if x > 0.0) - used, 0.0)


def e_detector(values, arl, reference, delta) -> Said:
    """L = 1 + bet (x - m0), M <- (M + 1) L (Shin, Ramdas & Rinaldo 2024), m0 the bound of Clopper & Pearson (1934)."""
    ones, n = int(sum(reference)), len(reference)
    bound = float(stats.beta.ppf(1.0 - delta, ones + 1, n - ones))
    low = min(max(bound / 2.0, 1e-4), 0.1)
    bets, won = [low * (0.9 / low) ** (k / 7.0) / bound for k in range(8)], [0.0] * 8
    for x in values:
        won = [(m + 1.0) * (1.0 + bet * (x - bound)) for m, bet in zip(won, bets, strict=True)]
        yield sum(won) / 8.0, arl


_SPANS = (2.0, 8.0, 32.0, 128.0, 512.0)
_STAKES = np.array([0.27, 0.44, 0.18, 0.06, 0.05]) * 2.0 / 3.0


def _densities(inflation):
    """The five bets on high ranks and the one on low ones, on 256 cells, to the power 1/v."""
    u = (np.arange(256) + 0.5) / 256.0
    z = np.clip(stats.norm.ppf(u), -1.6, 3.0)
    steep = z + np.minimum(z + 0.8, 0.0) + 0.4 * np.maximum(z - 0.8, 0.0)
    tops = 0.97 + 3.0 * np.clip(256.0 * u - 0.99 * 256.0 + 0.5, 0.0, 1.0)
    found = [each / each.mean() for each in (*(np.exp(d * steep) for d in (0.15, 0.27, 0.45, 1.2)), tops)]
    return np.array([*found, found[1][::-1]]) ** (1.0 / inflation)


def _gain(density, low, high):
    """The mean of densities that are constant on cells over an interval of ranks; what tempering took, by share."""
    edge = np.arange(256) / 256.0
    covered = np.clip(np.minimum(high, edge + 1.0 / 256.0) - np.maximum(low, edge), 0.0, None)
    gain, share = density @ covered / covered.sum(), high - low
    return gain + (share * (1.0 - density.mean(axis=1)) if share >= 0.1 else 0.0)


def ranks(values, arl, learning, period=1, phases=1) -> Said:
    """Bets on the rank of a value in an urn of 97 bins (docs/detector-ranks.md), one urn for each part of a season.

    For values without ties.
    """
    first, counts = [[] for _ in range(phases)], np.ones((phases, 97))
    won, eased, average, cross = np.zeros(5), 0.0, np.zeros(5), np.zeros(5)
    power, ranked, density, score = 0.0, 0, _densities(1.0), 0.0
    for at, value in enumerate(values):
        part = at % period * phases // period
        if len(first[part]) < 96:
            first[part] = sorted([*first[part], value])
            yield score, arl
            continue
        mine, urn = sum(edge <= value for edge in first[part]), counts[part]
        n = urn.sum() - 1.0
        low, high = urn[:mine].sum() / (n + 1.0), urn[: mine + 1].sum() / (n + 1.0)
        gain, opens = _gain(density, low, high), high - low <= 0.5
        if n < learning:
            gain = 0.0 * gain
        won, eased = (won + _STAKES * opens) * gain[:5], (eased + opens) * gain[5]
        urn[mine] += 1.0
        rank, score = (low + high) / 2.0 - 0.5, won.sum()
        cross, average = cross + rank * average, average + (rank - average) / _SPANS
        power, ranked = power + rank * rank, ranked + 1
        if (n + 1.0) % 128.0 == 0.0 and score < arl ** (2.0 / 3.0):
            density = _densities(_inflation(cross, power, ranked))
        yield score, arl
        if eased >= 100.0 * arl or ((n + 1.0) % 128.0 == 0.0 and urn[0] - 1.0 > (n + 1.0 - 96.0) / 2.0):
            return


def _inflation(cross, power, n):
    """By how much dependence inflates the variance of sums: the largest that is surely above 1, as a power of 1.25."""
    found = 0.0
    for span, products in zip(_SPANS, cross, strict=True):
        excess, error = 2.0 * span * products / power, 2.0 * span / math.sqrt((2.0 * span - 1.0) * n)
        if excess > 3.0 * min(max(n / 2400.0, 0.5), 1.0) * error:
            found = max(found, excess)
    return 1.25 ** sum(1.0 + found >= 1.25 ** (k + 0.3) for k in range(21))


_RATES = np.array([0.005, 0.02, 0.05, 0.11, 0.2, 0.35, 0.55, 0.8])
_FILTERS = ((1 / 30, 0.0), (1 / 150, 0.0), (1 / 70, 0.4))  # jumps a value, autocorrelation given the rate


def dependent(values, arl, learning) -> Said:
    """Bets that errors are likelier than a mixture of five models says (docs/detector-dependent.md)."""
    weights, rates, jumps = np.array([1.0, 1.0, 1e-6, 1e-6, 1e-6]), np.full((3, 8), 1 / 8), np.full((3, 8), 1 / 8)
    count, last, up, down = np.zeros((2, 2)), 0, np.zeros(5), np.zeros(4)  # count[last, x]
    errors, drift, inflation = np.zeros(2), np.zeros(4), 0
    for n, x in enumerate(int(value) for value in values):
        ones = count[:, 1].sum()
        mean, after = (ones + 0.5) / (n + 1.0), (count[:, 1] + 0.5) / (count.sum(axis=1) + 1.0)
        now, emits = [], []
        for (hazard, chain), rate, jump in zip(_FILTERS, rates, jumps, strict=True):
            now.append((1.0 - hazard) * rate + hazard * jump / jump.sum())
            emits.append(_RATES * (1.0 - chain) + chain * last)
        each = np.array([mean, after[last], *(p @ emit for p, emit in zip(now, emits, strict=True))])
        rate, chain, few = weights @ each / weights.sum(), weights[1] / weights.sum(), ones < 24
        weights = np.maximum(weights * np.abs(1 - x - each) / abs(1 - x - rate), 1e-14)
        for at, ((hazard, _), emit) in enumerate(zip(_FILTERS, emits, strict=True)):
            came = np.abs(1 - x - emit)
            jumps[at], rates[at] = (
                jumps[at] + hazard * jumps[at] / jumps[at].sum() * came / (now[at] @ came),
                now[at] * came / (now[at] @ came),
            )
        if few:
            burst = min((count[1, 1] + 0.75) / (count[1].sum() + 5.0), 0.15)
            rate, chain = max(mean, burst) if last else mean, 0.0
        stake = 0.0 if n < learning else min(n / (6.0 * learning), 1.0) ** 2
        if n >= learning and after[1] - after[0] >= 0.3:
            stake += 6.0 * chain * min(n / (9.0 * learning), 1.0) ** 2
        stake *= 1.0 if few else arl ** (-inflation / 8)
        sd = math.sqrt(mean * (1.0 - mean))
        for won, sizes, laid in (
            (up, (0.08, 0.17, 0.38, 0.85, 2.0), stake * np.array([0.08, 0.32, 0.26, 0.24, 0.1])),
            (down, (-0.08, -0.17, -0.36, -1.0), (n >= learning) / 3.0),
        ):
            q = np.clip(rate + np.array(sizes) * sd, rate / 8.0, max(rate, 0.98))
            won[:] = (won + laid) * (np.abs(1 - x - q) / abs(1 - x - rate))
        errors, drift = _left_over(errors, drift, x - rate)
        if (n + 1) % 64 == 0:
            inflation = _left_inflation(drift)
        count[last, x] += 1.0
        last = x
        yield up.sum(), arl
        if down.sum() >= 100.0 * arl:
            return


def _left_over(average, drift, error):
    """Averages over 16 and 64 errors of prediction; and sums of products with them, of squares, and of ones."""
    drift = drift * (1.0 - 1 / 4096) + np.array([*(error * average), error * error, 1.0])
    return average + (error - average) / np.array([16.0, 64.0]), drift


def _left_inflation(drift):
    """The eighths by which sums of errors of prediction vary more than they should, and one, where that is sure."""
    found, (*crosses, power, n) = 0, drift
    for span, cross in zip((16.0, 64.0), crosses, strict=True):
        excess, sd = 2.0 * span * cross / power, 2.0 / math.sqrt((2.0 - 1.0 / span) / span * n)
        if excess > 3.0 * sd:
            found = max(found, min(int(8.0 * excess) + 1, 63))
    return found


def auto(values, arl, learning) -> Said:
    """0/1 values: `dependent` with 1.25 times the promise; others: `ranks`, which learns from 128 at least."""
    if set(values) <= {0, 1}:
        return dependent(values, 1.25 * arl, learning)
    return ranks(values, arl, max(learning, 128))


# -- windows ---------------------------------------------------------------------------------------------------------


def adwin(values, delta, block) -> Said:
    """Equation (3.1) of Bifet & Gavalda (2007) at the ends of buckets: the largest rise over its epsilon_cut.

    Ends where a fall is cut off.
    """
    buckets, piece = [], []  # (blocks, values), the oldest first; at most five of a size
    for value in values:
        piece.append(value)
        if len(piece) < block:
            yield None
            continue
        buckets.append((1, piece))
        piece, size = [], 1
        while sum(blocks == size for blocks, _ in buckets) > 5:
            at = next(at for at, (blocks, _) in enumerate(buckets) if blocks == size)
            buckets[at : at + 2] = [(2 * size, buckets[at][1] + buckets[at + 1][1])]
            size *= 2
        window = np.array([x for _, bucket in buckets for x in bucket])
        ends = np.cumsum([len(bucket) for _, bucket in buckets])[:-1]
        n0, n1 = ends, len(window) - ends
        rises = (window.sum() - np.cumsum(window)[ends - 1]) / n1 - np.cumsum(window)[ends - 1] / n0
        term = math.log(2.0 * math.log(len(window)) / delta)
        share = 1.0 / n0 + 1.0 / n1
        cut = np.sqrt(2.0 * window.var() * term * share) + 2.0 / 3.0 * term * share
        yield float((rises / cut).max(initial=0.0)), 1.0
        if (-rises >= cut).any():
            return


def glr(values, arl, learning) -> Said:
    """The largest log likelihood ratio over the kept starting points (docs/detector-glr.md)."""
    x, binary = np.array(values), set(values) <= {0, 1}
    sums = np.concatenate([np.zeros((1, 3)), np.cumsum(np.stack([x, x**2, x**3], axis=1), axis=0)])
    for n in range(1, len(x) + 1):
        if n % 4:
            yield None
            continue
        top = 0.0
        for n0 in _starts(n // 4):
            n1 = n - n0
            rise = (sums[n, 0] - sums[n0, 0]) / n1 - sums[n0, 0] / n0
            if n0 < learning or rise <= 0.0:
                continue
            if binary:
                tables = (sums[n0, 0], n0, 1.0), (sums[n, 0] - sums[n0, 0], n1, 1.0), (sums[n, 0], n, -1.0)
                ratio = sum(by * (special.xlogy(k, k / m) + special.xlogy(m - k, 1.0 - k / m)) for k, m, by in tables)
            else:
                ratio = _skewed(n0, n1, rise, *(sums[n] / n))
            top = max(top, ratio)
        yield top, math.log(arl) - (1.5 if binary else 2.0)


def _starts(blocks):
    """The multiples of 4, 8, 16, … values of which the last four of each are kept, once so many blocks are whole."""
    kept = {at for level in range(17) for at in list(range(0, blocks, 2**level))[-4:]}
    return sorted(4 * at for at in kept - {0})


def _skewed(n0, n1, rise, mean, square, cube):
    """-(n / 2) log(1 - 2 w I / n), I the rate of Cramer for gamma values of the skewness g."""
    n, sd = n0 + n1, math.sqrt(square - mean**2)
    g = max((cube - 3.0 * mean * square + 2.0 * mean**3) / sd**3 + 2.0 * math.sqrt(6.0 / n), 1e-3)
    y = g * rise / sd / 2.0
    return -n / 2.0 * math.log1p(-2.0 * n0 * n1 / n * (4.0 / g**2) * (y - math.log1p(y)) / n)


def rolling(values, arl, reference, window, parts) -> Said:
    """The window's mean over the reference's, and the band that a decision may pass with probability r.

    r = (window / parts) / (2 arl); 0/1 values: beta-binomial, others: Student's t moved by the skewness. A best window
    lowers the limit by what luck does not explain (docs/detector-rolling.md).
    """
    first, n, block = np.array(reference), len(reference), window // parts
    mean, sd, r = first.mean(), first.std(ddof=1), block / (2.0 * arl)
    skew = ((first - mean) ** 3).mean() / first.std() ** 3
    if set(reference) <= {0, 1}:
        predicted = stats.betabinom(window, first.sum() + 0.5, n - first.sum() + 0.5)
        band = next(c for c in range(window + 2) if predicted.sf(c - 1) <= r) - 0.5
        band = band / window - mean
    else:
        band = _mean_quantile(r, sd, skew, n, window)
    wholes = []  # means of windows that end on a multiple of its length
    for at in range(1, len(values) + 1):
        if at % block or at < window:
            yield None
            continue
        now, limit = np.mean(values[at - window : at]), band
        if at % window == 0:
            wholes.append(now)
        if k := len(wholes) - 1:  # the last one may overlap the window
            luck = _mean_quantile(0.01 / (k * (k + 1.0)), sd, -skew, n, window)
            limit = min(limit, min(wholes[:-1]) - mean + band + luck)
        yield now - mean, limit


def _mean_quantile(upper, sd, skew, n, k):
    """How far the mean of k values may lie above that of n: Student's t, and Cornish & Fisher's (1938) first terms."""
    t, c = stats.t.isf(upper, n - 1), math.sqrt(1.0 / k + 1.0 / n)
    g = max(skew + 2.0 * math.sqrt(6.0 / n), 0.0)
    third = max(g * ((1.0 / k**2 - 1.0 / n**2) / c**3 + 3.0 / (n * c)), 0.0)
    return sd * c * (t + g / (2.0 * n * c) + (t * t - 1.0) * third / 6.0)


# -- excursions ------------------------------------------------------------------------------------------------------


def cusum(values, arl, size, margin, learning) -> Said:
    """Page's (1954) sum of log-likelihood ratios against a baseline of all that came before the excursion."""
    base, away, score, due, law = [], [], 0.0, learning, None
    binary = set(values) <= {0, 1}
    for x in values:
        away.append(x)
        score = max(0.0, score + law[0](x)) if law else 0.0
        if score == 0.0:
            base, away = base + away, []
        yield (score, law[1]) if law else None
        if score == 0.0 and len(base) >= due:
            law = (_bernoullis if binary else _normals)(base, arl, size, margin)
            due = len(base) + len(base) // 32 + 1


def _bernoullis(base, arl, size, margin):
    """The log-likelihood ratio of two rates, and the limit that makes the run length `arl`."""
    n, rate = len(base), (sum(base) + 1.0) / (len(base) + 2.0)
    q0 = rate + margin * math.sqrt(rate * (1.0 - rate) / n)
    q1 = q0 + size * math.sqrt(q0 * (1.0 - q0))
    one, none = math.log(q1 / q0), math.log((1.0 - q1) / (1.0 - q0))
    return (lambda x: one if x else none), _wald(-arl * (q0 * one + (1.0 - q0) * none))


def _normals(base, arl, size, margin):
    """The same of two normal means; the limit is farther by 1 / R where large values are likelier than normal."""
    mean, sd = np.mean(base), np.std(base, ddof=1)
    worse = mean + margin * sd / math.sqrt(len(base))
    return (lambda x: size * (x - worse) / sd - size**2 / 2.0), _wald(arl * size**2 / 2.0) / _third(size, base)


def page_hinkley(values, arl, size, learning) -> Said:
    """Hinkley's (1971) sum of deviations from the mean so far, over its least value."""
    score, total, due, sd, limit = 0.0, 0.0, learning, 0.0, math.inf
    binary = set(values) <= {0, 1}
    for n, x in enumerate(values, start=1):
        total += x
        if n >= due:
            past, due = values[:n], n + n // 32 + 1
            rate = (total + 1.0) / (n + 2.0)
            sd = math.sqrt(rate * (1.0 - rate)) if binary else float(np.std(past, ddof=1))
            power = _exponent(size, rate) if binary else _third(size, past)
            limit = _wald(arl * size**2 / 2.0) / (power * size)
        score = max(0.0, score + (x - total / n) / sd - size / 2.0) if sd else 0.0
        yield score, limit


def _wald(y):
    """h with e^h - h - 1 = y."""
    return optimize.brentq(lambda h: math.expm1(h) - h - y, 1e-9, 1.0 + math.log1p(2.0 * y))


def _third(size, past):
    """R, to the third order: 1 = R + R^2 size skew / 3; 1 where the values are not skewed to the right."""
    skew = max(stats.skew(past), 0.0)
    return optimize.brentq(lambda r: r + r * r * size * skew / 3.0 - 1.0, 0.0, 1.0)


def _exponent(size, rate):
    """R > 0, at most 1, with E exp(R (size z - size^2 / 2)) = 1 for standardised errors of that rate."""
    rate = min(rate, 0.5)
    sd = math.sqrt(rate * (1.0 - rate))

    def mean(r):
        up, down = (size * z / sd - size * size / 2.0 for z in (1.0 - rate, -rate))
        return rate * math.exp(r * up) + (1.0 - rate) * math.exp(r * down) - 1.0

    return 1.0 if mean(1.0) <= 0.0 else optimize.brentq(mean, 1e-3, 1.0)
