"""Values become bytes and come back: one JSON, one time format, one array format, one hash."""

import hashlib
import io
import json
import math
import os
import pickle
import subprocess
import sys
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays, scalar_dtypes

from visutility.core import codec
from visutility.core.errors import Invalid

numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
plain = st.recursive(
    st.none() | st.booleans() | numbers | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
times = st.timedeltas(timedelta(days=-700_000), timedelta(days=2_900_000)).map(datetime(1970, 1, 1, tzinfo=UTC).__add__)


# -- JSON ------------------------------------------------------------------------------------------------------------


@given(plain)
def test_json_comes_back_and_the_standard_library_reads_it(value):
    text = codec.dumps(value)
    assert codec.loads(text) == value
    assert codec.loads(text.encode()) == value
    assert json.loads(text) == value


@given(st.dictionaries(st.text(), plain, min_size=2, max_size=6), st.randoms(use_true_random=False))
def test_equal_values_have_equal_bytes(value, shuffle):
    items = list(value.items())
    shuffle.shuffle(items)
    assert codec.dumps(dict(items)) == codec.dumps(value)


def test_sets_have_equal_bytes_in_every_process():
    code = "from visutility.core.codec import dumps; print(dumps({'tags': {'q', 'w', 'e', 'r', 't', 'y'}}))"
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert said == {'{"tags":["e","q","r","t","w","y"]}\n'}


class Point(msgspec.Struct):
    y: float
    x: int


@dataclass
class Pair:
    b: str
    a: str


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Point(y=0.5, x=1), '{"x":1,"y":0.5}'),
        (Pair("2", "1"), '{"a":"1","b":"2"}'),
        ({"n": np.float64(0.1), "k": np.int64(3), "t": np.bool_(True)}, '{"k":3,"n":0.1,"t":true}'),
        ([np.float32(0.5), np.array(2.0)], "[0.5,2.0]"),
        ({"é": "ü", "one": 1, "float": 1.0}, '{"float":1.0,"one":1,"é":"ü"}'),
        (2**70, "1180591620717411303424"),
        (-0.0, "-0.0"),
    ],
)
def test_what_json_looks_like(value, text):
    assert codec.dumps(value) == text


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (math.nan, "value is nan"),
        ({"loss": [0.1, -math.inf]}, "value['loss'][1] is -inf"),
        ([{"a": {"b": np.float64("nan")}}], "value[0]['a']['b'] is nan"),
        (Point(y=math.inf, x=1), "value['y'] is inf"),
    ],
)
def test_what_is_not_finite_is_refused_with_its_place(value, path):
    with pytest.raises(Invalid) as caught:
        codec.dumps(value)
    assert caught.value.problem == path


LOOP: list = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    "value",
    [object(), np.ones(2), {1: "int key"}, {1: "a", "1": "b"}, {(1, 2): 3}, "\ud800", LOOP, {math.nan: 1}, 1j],
    ids=lambda value: type(value).__name__,
)
def test_what_json_does_not_have_is_refused(value):
    with pytest.raises(Invalid, match="cannot store"):
        codec.dumps(value)


@pytest.mark.parametrize("text", ["", "{", b"\xff", b'"\xff"', "\ud800", "NaN", "1e999", "[" * 100_000, "{} x"])
def test_what_is_not_json_is_refused(text):
    with pytest.raises(Invalid, match="not JSON"):
        codec.loads(text)


def test_the_hash_is_sha_256():
    assert codec.sha256(b"abc") == codec.sha256("abc") == hashlib.sha256(b"abc").hexdigest()
    assert codec.sha256("é") == hashlib.sha256("é".encode()).hexdigest()


# -- times -----------------------------------------------------------------------------------------------------------


@given(times, times)
def test_times_sort_as_text_and_come_back(a, b):
    assert (codec.to_text(a) < codec.to_text(b)) == (a < b)
    assert codec.to_time(codec.to_text(a)) == a
    assert len(codec.to_text(a)) == 27


@given(times, st.integers(-23, 23))
def test_one_moment_has_one_text_in_every_zone(at, hours):
    assert codec.to_text(at.astimezone(timezone(timedelta(hours=hours)))) == codec.to_text(at)


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(Invalid, match="zone"):
        codec.to_text(datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None))


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2026-01-31", "2026-01-31T08:00:00Z", "2026-01-31T08:00:00.000000", "2026-1-31T08:00:00.000000Z",
     "2026-01-31T08:00:00.000000+00:00", "2026-01-31 08:00:00.000000Z", "2026-02-30T08:00:00.000000Z"],
)  # fmt: skip
def test_a_text_that_would_not_sort_is_not_a_time(text):
    with pytest.raises(Invalid, match="is not like 2026-01-31T08"):
        codec.to_time(text)


# -- arrays ----------------------------------------------------------------------------------------------------------


@given(arrays(np.float64, st.integers(0, 50), elements=st.floats(allow_nan=True)))
def test_floats_come_back_bit_for_bit(values):
    again = codec.unpack_floats(codec.pack_floats(values))
    assert again.tobytes() == values.tobytes()
    assert again.flags.writeable


def test_floats_are_little_endian_wherever_they_came_from():
    assert codec.pack_floats(np.array([1.0], dtype=">f8")) == b"\0\0\0\0\0\0\xf0?"
    assert codec.pack_floats(np.arange(6.0)[::2]) == codec.pack_floats(np.array([0.0, 2.0, 4.0]))


def test_half_a_float_is_refused():
    with pytest.raises(Invalid, match="11 bytes"):
        codec.unpack_floats(bytes(11))


@given(
    st.dictionaries(
        st.sampled_from(["mean", "file", "version", "__version__", "allow_pickle", "a/b", "ä"]),
        arrays(scalar_dtypes(), array_shapes(min_dims=0, min_side=0, max_side=3)),
    ),
    st.integers(0, 2**31),
)
def test_arrays_come_back_with_type_shape_and_version(stored, version):
    data = codec.pack_arrays(stored, version=version)
    again_version, again = codec.unpack_arrays(data)
    assert again_version == version
    assert list(again) == list(stored)
    for name, array in stored.items():
        assert (again[name].dtype, again[name].shape) == (array.dtype, array.shape)
        assert again[name].tobytes() == array.tobytes()
    assert codec.pack_arrays(again, version=version) == data, "equal arrays have equal bytes"


def test_objects_are_neither_packed_nor_unpacked():
    with pytest.raises(Invalid, match="cannot pack"):
        codec.pack_arrays({"state": np.array([{"a": 1}], dtype=object)}, version=1)
    with_objects = io.BytesIO()
    np.savez(with_objects, allow_pickle=True, version=np.int64(1), state=np.array([{"a": 1}], dtype=object))
    for data in (with_objects.getvalue(), pickle.dumps({"version": 1})):
        with pytest.raises(Invalid, match="not packed arrays"):
            codec.unpack_arrays(data)


def foreign():
    for save in (lambda out: np.save(out, np.ones(2)), lambda out: np.savez(out, x=np.ones(2))):
        out = io.BytesIO()
        save(out)
        yield out.getvalue()
    yield from (b"", b"PK\x03\x04", b"\x93NUMPY", b"not an archive")


@pytest.mark.parametrize("data", list(foreign()), ids=["npy", "no version", "empty", "zip head", "npy head", "text"])
def test_other_bytes_are_refused(data):
    with pytest.raises(Invalid, match="not packed arrays"):
        codec.unpack_arrays(data)


PACKED = codec.pack_arrays({"mean": np.arange(5.0), "count": np.arange(5)}, version=3)


@given(st.integers(0, len(PACKED) - 1))
def test_cut_bytes_are_refused(keep):
    with pytest.raises(Invalid, match="not packed arrays"):
        codec.unpack_arrays(PACKED[:keep])


@given(st.integers(0, len(PACKED) - 1), st.integers(1, 255))
def test_one_changed_byte_is_refused(at, flip):
    with pytest.raises(Invalid, match="not packed arrays"):
        codec.unpack_arrays(PACKED[:at] + bytes([PACKED[at] ^ flip]) + PACKED[at + 1 :])


FORGED = {
    "no JSON": b"{",
    "no list of arrays": b"[3]",
    "objects": b'[3,[["mean","|O",[5]]]]',
    "objects in a record": b'[3,[["mean",[["a","|O"]],[5]]]]',
    "a name that is no text": b'[3,[[1,"<f8",[5]]]]',
    "no such type": b'[3,[["mean","<x8",[5]]]]',
    "more than there is": b'[3,[["mean","<f8",[6]]]]',
    "less than there is": b'[3,[["mean","<f8",[4]]]]',
    "a negative side": b'[3,[["mean","<f8",[-1]]]]',
    "a huge side": b'[3,[["mean","<f8",[99999999999999999999]]]]',
}


def forged(header: bytes) -> bytes:
    """Five floats under that header, with the checksum that belongs to them."""
    mark = PACKED[: PACKED.index(b"[") - 4]
    body = mark + len(header).to_bytes(4, "little") + header + np.arange(5.0).tobytes()
    return body + zlib.crc32(body).to_bytes(4, "little")


@pytest.mark.parametrize("header", FORGED.values(), ids=list(FORGED))
def test_a_header_forged_with_its_checksum_is_refused(header):
    with pytest.raises(Invalid, match="not packed arrays"):
        codec.unpack_arrays(forged(header))


def test_a_right_header_made_in_the_same_way_is_accepted():
    """Otherwise the forged ones would be refused for another reason than what they say."""
    version, again = codec.unpack_arrays(forged(b'[3,[["mean","<f8",[5]]]]'))
    assert (version, again["mean"].tolist()) == (3, [0.0, 1.0, 2.0, 3.0, 4.0])
