"""How batches become dense blocks, against brute force."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from visutility.core.rng import rng
from visutility.monitor.windows import Lanes, growing, sum_rows


@given(st.lists(st.integers(0, 6), max_size=60))
def test_blocks_hold_every_value_once_in_the_order_of_its_stream(ids):
    lanes = Lanes.of(np.array(ids, np.int64))
    seen = {int(row): [] for row in lanes.rows}
    for block in lanes.blocks():
        for step in block:
            assert len(step) <= len(lanes.rows)
            for lane, at in enumerate(step.tolist()):
                assert ids[at] == lanes.rows[lane]
                seen[ids[at]].append(at)
    assert seen == {stream: [at for at, other in enumerate(ids) if other == stream] for stream in set(ids)}


def test_a_dense_batch_is_one_block():
    assert [block.shape for block in Lanes.of(np.tile(np.arange(5), 8)).blocks()] == [(8, 5)]
    assert [block.tolist() for block in Lanes.of(np.array([3, 3])).blocks()] == [[[0], [1]]]


@given(st.integers(0, 500), st.integers(1, 20), st.integers(1, 100))
def test_pieces_cover_and_double(n, least, most):
    pieces = list(growing(n, least, most))
    assert [at for first, last in pieces for at in range(first, last)] == list(range(n))
    lengths = [last - first for first, last in pieces]
    assert all(b <= max(2 * a, most) for a, b in pairwise(lengths))


def test_sums_are_the_same_bits_alone_and_together():
    """numpy.sum is not: it adds one long column pairwise and many columns row by row."""
    parts = rng(0, "sums").random((20, 7)) ** 9
    together = sum_rows(parts)
    assert [sum_rows(parts[:, [at]])[0] for at in range(7)] == together.tolist()
    assert np.allclose(together, parts.sum(axis=0))
