"""The scrambled Sobol sequence of scipy's `qmc`, without importing `scipy.stats`, which takes half a second.

The points are the same to the last bit: the directions are those of Joe and Kuo, "Constructing Sobol Sequences with
Better Two-Dimensional Projections" (2008), read from the table that scipy ships; the scrambling is the linear one of
Matoušek (1998) with a digital shift. Where scipy keeps its table elsewhere, and for very many columns, `qmc` is asked.
"""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from visutility.tune.space import Units

Bits: TypeAlias = NDArray[np.uint32]

BITS: Final = 30
WIDE: Final = 512  # columns beyond which `qmc` is asked


def sobol_points(dim: int, draw: Callable[[], np.random.Generator], start: int, count: int) -> Units:
    """Return points (count, dim), from number `start` on, of the sequence that a new generator of `draw` scrambles."""
    found = _directions(dim) if dim <= WIDE else None
    if found is None:
        return _from_qmc(dim, draw(), start, count)
    vectors, shift = _scrambled(found, draw().spawn(1)[0])  # as `qmc` does
    numbers = np.arange(start, start + count, dtype=np.uint32)
    gray = numbers ^ (numbers >> np.uint32(1))
    points = np.tile(shift, (count, 1))
    for bit in range(BITS):
        chosen = ((gray >> np.uint32(bit)) & np.uint32(1)).astype(bool)
        points[chosen] ^= vectors[:, bit]
    return np.asarray(points * 2.0**-BITS, dtype=np.float64)


@lru_cache(maxsize=16)
def _directions(dim: int) -> Bits | None:
    """Return the direction numbers (dim, 30) as whole numbers of 30 bits; None where the table is not as expected."""
    import scipy

    try:
        with np.load(Path(scipy.__file__).parent / "stats" / "_sobol_direction_numbers.npz") as table:
            begin, polynomials = table["vinit"][:dim].tolist(), table["poly"][:dim].tolist()
    except (OSError, KeyError, ValueError):
        return None
    rows = [[1] * BITS]
    for row, polynomial in zip(begin[1:], polynomials[1:], strict=True):
        degree = polynomial.bit_length() - 1
        numbers = row[:degree]
        for at in range(degree, BITS):
            new = numbers[at - degree]
            for k in range(degree):
                if polynomial >> (degree - 1 - k) & 1:
                    new ^= numbers[at - k - 1] << (k + 1)
            numbers.append(new)
        rows.append(numbers)
    return np.array(rows, dtype=np.uint32)[:dim] << np.arange(BITS - 1, -1, -1, dtype=np.uint32)


def _scrambled(directions: Bits, draw: np.random.Generator) -> tuple[Bits, Bits]:
    """Return the directions (dim, 30) times random lower triangular matrices over two elements, and a shift (dim,)."""
    dim = len(directions)
    powers = np.uint32(1) << np.arange(BITS, dtype=np.uint32)
    shift = draw.integers(2, size=(dim, BITS), dtype=np.uint32) @ powers
    lower = np.tril(draw.integers(2, size=(dim, BITS, BITS), dtype=np.uint32))
    lower[:, np.arange(BITS), np.arange(BITS)] = 1
    bits = (directions[:, None, :] >> np.arange(BITS - 1, -1, -1, dtype=np.uint32)[None, :, None]) & np.uint32(1)
    mixed = (lower @ bits) & np.uint32(1)  # (dim, bit from the highest, direction)
    return np.asarray((mixed * powers[::-1, None]).sum(axis=1, dtype=np.uint32)), shift


def _from_qmc(dim: int, draw: np.random.Generator, start: int, count: int) -> Units:
    from scipy.stats import qmc

    sequence = qmc.Sobol(dim, scramble=True, rng=draw)
    if start:
        sequence.fast_forward(start)
    return np.asarray(sequence.random(count))
