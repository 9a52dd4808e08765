import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visutility.data import Box, DataBatch, fingerprint

ROW = st.tuples(
    st.binary(max_size=12), st.none() | st.integers(0, 3), st.none() | st.lists(st.integers(1, 9), max_size=2)
)
ROWS = st.dictionaries(st.text(min_size=1, max_size=6).filter(lambda s: s.isprintable()), ROW, min_size=1, max_size=8)


def made(rows: list) -> DataBatch:
    return DataBatch.from_encoded(
        ids=[image_id for image_id, _ in rows],
        images=[image for _, (image, _, _) in rows],
        labels=[label for _, (_, label, _) in rows],
        boxes=[None if sizes is None else [Box(0, 0, size, size, 1) for size in sizes] for _, (_, _, sizes) in rows],
    )


@settings(max_examples=60)
@given(ROWS, st.randoms(use_true_random=False), st.integers(0, 8))
def test_neither_order_nor_cuts_matter(rows, random, cut):
    items = list(rows.items())
    shuffled = random.sample(items, len(items))
    whole = made(items).fingerprint()
    assert made(shuffled).fingerprint() == whole
    parts = [made(part).record_batch for part in (shuffled[:cut], shuffled[cut:])]
    assert fingerprint(parts) == whole
    assert (
        DataBatch(
            DataBatch.concat([made([("~other~", (b"", None, None))]), made(items)]).record_batch.slice(1)
        ).fingerprint()
        == whole
    )


@settings(max_examples=60)
@given(ROWS, ROWS)
def test_equal_fingerprints_mean_equal_rows(first, second):
    assert (made(list(first.items())).fingerprint() == made(list(second.items())).fingerprint()) == (first == second)


@settings(max_examples=60)
@given(ROWS, st.data())
def test_every_single_change_is_seen(rows, data):
    items = list(rows.items())
    whole = made(items).fingerprint()
    at = data.draw(st.integers(0, len(items) - 1))
    image_id, (image, label, sizes) = items[at]
    changes = [
        (image_id + "x", (image, label, sizes)),
        (image_id, (image + b"\0", label, sizes)),
        (image_id, (image, 0 if label is None else label + 1, sizes)),
        (image_id, (image, label, [] if sizes is None else None)),
    ]
    if image:
        where = data.draw(st.integers(0, len(image) - 1))
        bit = 1 << data.draw(st.integers(0, 7))
        changes.append((image_id, (image[:where] + bytes([image[where] ^ bit]) + image[where + 1 :], label, sizes)))
    for change in changes:
        if change[0] == image_id or change[0] not in rows:
            assert made([*items[:at], change, *items[at + 1 :]]).fingerprint() != whole
    if len(items) > 1:
        assert made(items[:at] + items[at + 1 :]).fingerprint() != whole


def test_the_hash_is_the_one_the_page_describes():
    def row(*parts: bytes) -> bytes:
        return hashlib.sha256(b"".join(b"%d:%s" % (len(part), part) for part in parts)).digest()

    first = row(b"a", b"encoded", b"\x01\x02", b"7", b"")
    second = row("ö".encode(), b"encoded", b"", b"", b"1;" + np.array([1, 2, 3, 4], "<f4").tobytes() + b"\5\0\0\0")
    expected = hashlib.sha256(b"visutility rows 1\n" + first + second).hexdigest()
    batch = DataBatch.from_encoded(["ö", "a"], [b"", b"\x01\x02"], labels=[None, 7], boxes=[[Box(1, 2, 3, 4, 5)], None])
    assert batch.fingerprint() == expected


def test_the_kind_and_shape_of_an_array_count():
    pixels = np.arange(24, dtype=np.uint8).reshape(1, 4, 6)
    prints = {
        DataBatch.from_arrays(["a"], array).fingerprint()
        for array in (pixels, pixels.reshape(1, 6, 4), pixels.reshape(1, 4, 6, 1), pixels.astype(np.float32))
    }
    prints.add(DataBatch.from_encoded(["a"], [pixels.tobytes()]).fingerprint())
    assert len(prints) == 5


@pytest.mark.parametrize("at", [0, 100, 191])
def test_a_single_pixel_is_seen(at):
    pixels = np.zeros((3, 8, 8), np.uint8)
    before = DataBatch.from_arrays(list("abc"), pixels).fingerprint()
    changed = pixels.copy()
    changed.reshape(-1)[at] = 1
    assert DataBatch.from_arrays(list("abc"), changed).fingerprint() != before


def test_times_and_absent_columns_do_not_count():
    pixels = np.zeros((2, 4, 4), np.uint8)
    bare = DataBatch.from_arrays(["a", "b"], pixels)
    times = np.array(["2026-01-01", "2026-01-02"], "datetime64[us]")
    assert DataBatch.from_arrays(["a", "b"], pixels, times=times).fingerprint() == bare.fingerprint()
    assert DataBatch.from_arrays(["a", "b"], pixels, labels=[None, None]).fingerprint() == bare.fingerprint()
    assert DataBatch.from_arrays(["a", "b"], pixels, labels=[0, None]).fingerprint() != bare.fingerprint()
