import pickle
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import binom

from visutility.core.errors import EmptyWindow, InvalidData, InvalidImage, InvalidSetting, MissingExtra
from visutility.core.rng import rng
from visutility.data import Box, DataBatch, to_unit
from visutility.data import _schema as schema
from visutility.report.images import png

SAMPLES = Path(__file__).parent.parent / "data"
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def images(count: int, *shape: int, seed: int = 0) -> np.ndarray:
    return rng(seed, "images").integers(0, 256, (count, *(shape or (8, 8))), np.uint8)


def address(column: pa.Array) -> int:
    return column.storage.flatten().buffers()[1].address


@pytest.mark.parametrize("shape", [(8, 8), (6, 9, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_images_are_shared_all_the_way(shape, dtype):
    pixels = images(5, *shape).astype(dtype)
    batch = DataBatch.from_arrays(list("abcde"), pixels, labels=np.arange(5))
    out = batch.images()
    assert out.dtype == dtype
    assert np.array_equal(out, pixels)
    assert np.shares_memory(out, pixels)
    assert address(batch.record_batch.column("image")) == pixels.ctypes.data
    assert not out.flags.writeable


def test_a_slice_of_arrow_memory_stays_a_view():
    pixels = images(5)
    batch = DataBatch(DataBatch.from_arrays(list("abcde"), pixels).record_batch.slice(2, 2))
    assert batch.ids == ["c", "d"]
    assert np.array_equal(batch.images(), pixels[2:4])
    assert np.shares_memory(batch.images(), pixels)


def test_labels_and_times_are_views():
    labels = np.arange(3, dtype=np.int64)
    times = np.array(["2026-05-04T12:00", "2026-05-04T13:00", "2026-05-04T14:00"], "datetime64[us]")
    batch = DataBatch.from_arrays(list("abc"), images(3), labels, times)
    assert np.shares_memory(batch.labels, labels)
    assert np.shares_memory(batch.times, batch.record_batch.column("time").to_numpy())
    assert np.array_equal(batch.times, times)
    assert batch.times.dtype == np.dtype("datetime64[us]")


def test_a_strided_array_is_copied_once_and_right():
    pixels = images(6)[::2]
    out = DataBatch.from_arrays(list("abc"), pixels).images()
    assert np.array_equal(out, pixels)
    assert not np.shares_memory(out, pixels)


def test_times_of_any_zone_become_utc():
    berlin = timezone(timedelta(hours=2))
    batch = DataBatch.from_arrays(["a", "b"], images(2), times=[NOON.astimezone(berlin), None])
    assert batch.times[0] == np.datetime64("2026-05-04T12:00")
    assert np.isnat(batch.times[1])


def test_boxes_come_back():
    boxes = [[Box(1, 2, 3, 4, 0), (5.5, 6, 7, 8, 2)], [], None]
    batch = DataBatch.from_arrays(list("abc"), images(3), boxes=boxes)
    assert batch.boxes == [[Box(1, 2, 3, 4, 0), Box(5.5, 6, 7, 8, 2)], [], None]
    assert batch.select([2, 0]).boxes == [None, batch.boxes[0]]


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["a", "b", "a"], "id 'a' is there twice"),
        (["a", None, "c"], "1 of 3 ids are null"),
        (["a", "", "c"], "an id is empty"),
        (["a", "b"], "there are 2 ids and 3 images"),
        ([1, 2, 3], "ids do not fit"),
    ],
)
def test_bad_ids_are_refused(ids, message):
    with pytest.raises(InvalidData, match=message):
        DataBatch.from_arrays(ids, images(3))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ({"label": pa.array([1.5, 2.0])}, "column 'label' has type double"),
        ({"label": pa.array([0, -1])}, "the label of 'b' is negative"),
        ({"label": pa.array([0, 2**63], pa.uint64())}, "column 'label' does not fit int64"),
        ({"time": pa.array([1, 2], pa.timestamp("us"))}, "column 'time' has type timestamp"),
        ({"camera": pa.array([1, 2])}, "column 'camera' is unknown"),
        ({"boxes": pa.array([1, 2])}, "column 'boxes' does not fit"),
    ],
)
def test_bad_columns_are_refused(column, message):
    good = {"id": pa.array(["a", "b"]), "image": pa.array([b"x", b"y"])}
    with pytest.raises(InvalidData, match=message):
        DataBatch(pa.record_batch({**good, **column}))


@pytest.mark.parametrize("missing", ["id", "image"])
def test_id_and_image_are_needed(missing):
    columns = {"id": pa.array(["a"]), "image": pa.array([b"x"])}
    columns.pop(missing)
    with pytest.raises(InvalidData, match=f"no column '{missing}'"):
        DataBatch(pa.record_batch(columns))


def test_equivalent_arrow_types_are_taken():
    batch = DataBatch(
        pa.record_batch(
            {
                "time": pa.array([1_000_001, None], pa.timestamp("ns", "Europe/Berlin")),
                "image": pa.array([b"x", b"y"], pa.large_binary()),
                "label": pa.array([3, None], pa.int8()),
                "id": pa.array(["a", "b"], pa.large_string()),
            }
        )
    )
    assert batch.record_batch.schema.names == ["id", "image", "label", "time"]
    assert batch.times[0] == np.datetime64("1970-01-01T00:00:00.001")
    assert batch.labelled.tolist() == [True, False]
    assert batch.select(batch.labelled).labels.tolist() == [3]


def test_a_box_without_a_size_is_refused():
    with pytest.raises(InvalidData, match=r"image 'c' has the box .*'w': 0.0"):
        DataBatch.from_arrays(
            list("abc"), images(3), boxes=[[(1, 1, 2, 2, 0)], None, [(1, 1, 2, 2, 0), (1, 1, 0, 2, 0)]]
        )
    with pytest.raises(InvalidData, match="image 'a' has the box"):
        DataBatch.from_arrays(["a"], images(1), boxes=[[(np.nan, 1, 2, 2, 0)]])


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((2, 8, 8)),
        np.zeros((2, 8, 8), np.int16),
        np.zeros((2, 8, 8), ">f4"),
        np.zeros((2, 8), np.uint8),
        np.zeros((2, 0, 8), np.uint8),
        [[1]],
    ],
    ids=["float64", "int16", "big-endian", "flat", "no height", "list"],
)
def test_arrays_that_are_no_images_are_refused(bad):
    with pytest.raises(InvalidImage, match="images "):
        DataBatch.from_arrays(["a", "b"], bad)


def test_a_float_image_that_is_not_finite_is_named():
    pixels = np.zeros((3, 4, 4), np.float32)
    pixels[1, 2, 2] = np.nan
    with pytest.raises(InvalidImage, match="image 'b' has a value that is not finite"):
        DataBatch.from_arrays(list("abc"), pixels)


def test_a_null_image_and_a_tensor_of_another_order_are_refused():
    with pytest.raises(InvalidImage, match="image 'b' is null"):
        DataBatch(pa.record_batch({"id": pa.array(["a", "b"]), "image": pa.array([b"x", None])}))
    turned = pa.fixed_shape_tensor(pa.uint8(), (2, 3), permutation=[1, 0])
    column = pa.ExtensionArray.from_storage(turned, pa.array([[1] * 6], pa.list_(pa.uint8(), 6)))
    with pytest.raises(InvalidImage, match="in this order"):
        DataBatch(pa.record_batch({"id": pa.array(["a"]), "image": column}))


def test_missing_columns_and_labels_say_so():
    batch = DataBatch.from_arrays(["a", "b"], images(2), labels=[1, None])
    with pytest.raises(InvalidData, match="1 of 2 rows have no label"):
        _ = batch.labels
    with pytest.raises(InvalidData, match="no column 'time'"):
        _ = batch.times
    assert not DataBatch.from_arrays(["a"], images(1)).labelled.any()


def test_real_jpegs_decode():
    paths = sorted((SAMPLES / "bccd").glob("*.jpg"))
    batch = DataBatch.from_encoded([path.name for path in paths], [path.read_bytes() for path in paths])
    decoded = batch.images()
    assert decoded.shape == (3, 480, 640, 3)
    assert decoded.dtype == np.uint8
    assert 100 < decoded.mean() < 250  # bright-field photographs: not black, not turned to floats
    assert [image_id for image_id, _ in batch.decoded()] == batch.ids


def test_png_of_every_kind_decodes_to_the_pixels_written():
    for shape in [(5, 7), (5, 7, 3), (5, 7, 4)]:
        pixels = images(2, *shape)
        batch = DataBatch.from_encoded(["a", "b"], [png(image) for image in pixels])
        assert np.array_equal(batch.images(), pixels)


def test_a_corrupt_image_is_named_with_the_reason():
    whole = (SAMPLES / "bccd/BloodImage_00389.jpg").read_bytes()
    for bad, reason in [
        (whole[:9000], "truncated"),
        (b"hello", "not an image: 5 bytes that start with b'hello'"),
        (b"", "0 bytes"),
    ]:
        batch = DataBatch.from_encoded(["good", "bad"], [whole, bad])
        with pytest.raises(InvalidImage, match=f"image 'bad' .*{reason}") as caught:
            batch.images()
        assert caught.value.__cause__ is None


def test_damaged_bytes_never_raise_anything_else():
    whole = png(images(1, 16, 16)[0])
    draw = rng(3, "damage")
    refused = 0
    for _ in range(300):
        bad = bytearray(whole)
        for at in draw.integers(0, len(bad), 3):
            bad[at] = draw.integers(0, 256)
        try:
            DataBatch.from_encoded(["x"], [bytes(bad)]).images()
        except InvalidImage as error:
            refused += "'x'" in str(error)
    assert refused > 100  # PNG carries checksums: most damage is seen


def test_images_nobody_can_use_are_refused():
    from PIL import Image

    batch = DataBatch.from_encoded(["deep"], [_saved(Image.new("I;16", (4, 4)), "PNG")])
    with pytest.raises(InvalidImage, match="image 'deep' has mode 'I;16'"):
        batch.images()
    bomb = DataBatch.from_encoded(["bomb"], [_saved(Image.new("1", (9000, 9000)), "PNG")])
    with pytest.raises(InvalidImage, match="image 'bomb' has 9000 x 9000 pixels"):
        bomb.images()
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    with pytest.raises(InvalidImage, match="image 'eps' is not an image"):
        DataBatch.from_encoded(["eps"], [script]).images()


def test_a_palette_becomes_colour_and_keeps_its_transparency():
    from PIL import Image

    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putdata([0, 1])
    plain = DataBatch.from_encoded(["a"], [_saved(palette, "PNG")]).images()
    assert plain.tolist() == [[[[10, 20, 30], [40, 50, 60]]]]
    clear = DataBatch.from_encoded(["a"], [_saved(palette, "PNG", transparency=1)]).images()
    assert clear.tolist() == [[[[10, 20, 30, 255], [40, 50, 60, 0]]]]


def _saved(image, kind, **options) -> bytes:
    import io

    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def test_images_of_different_shapes_are_named_and_can_be_read_one_by_one():
    batch = DataBatch.from_encoded(["a", "b"], [png(images(1, 4, 4)[0]), png(images(1, 5, 4)[0])])
    with pytest.raises(InvalidImage, match=r"image 'b' has shape \(5, 4\), 'a' has \(4, 4\)"):
        batch.images()
    assert [image.shape for _, image in batch.decoded()] == [(4, 4), (5, 4)]


def test_decoding_without_pillow_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    with pytest.raises(MissingExtra, match=r"pip install visutility\[vision\]"):
        DataBatch.from_encoded(["a"], [png(images(1)[0])]).images()


def test_encoded_images_must_be_bytes_and_fit():
    with pytest.raises(InvalidImage, match="image 1 is str"):
        DataBatch.from_encoded(["a", "b"], [b"x", "y"])


def test_more_encoded_bytes_than_arrow_can_hold_are_refused(monkeypatch):
    one = DataBatch.from_encoded(["a"], [b"x" * 60])
    monkeypatch.setattr(schema, "MAX_ENCODED", 100)
    with pytest.raises(InvalidData, match="would hold 120 bytes"):
        DataBatch.from_encoded(["a", "b"], [b"x" * 60] * 2)
    with pytest.raises(InvalidData, match="would hold 120 bytes"):
        DataBatch.concat([one, DataBatch.from_encoded(["b"], [b"x" * 60])])


def test_select_takes_rows_in_the_order_asked_or_by_a_mask():
    pixels = images(4)
    batch = DataBatch.from_arrays(list("abcd"), pixels, labels=[0, 1, 2, 3])
    chosen = batch.select([3, 0])
    assert chosen.ids == ["d", "a"]
    assert chosen.labels.tolist() == [3, 0]
    assert np.array_equal(chosen.images(), pixels[[3, 0]])
    assert batch.select(np.array([True, False, False, True])).ids == ["a", "d"]
    nothing = batch.select([])
    assert len(nothing) == 0
    assert nothing.images().shape == (0, 8, 8)


@pytest.mark.parametrize("rows", [[4], [-1], [0, 0], [0.5], [[0]], [True, False]])
def test_select_refuses_what_is_no_row(rows):
    with pytest.raises(InvalidData, match="row"):
        DataBatch.from_arrays(list("abcd"), images(4)).select(rows)


def test_no_rows_of_encoded_images_have_no_shape():
    batch = DataBatch.from_encoded(["a"], [b"x"]).select([])
    with pytest.raises(EmptyWindow, match="no images to decode"):
        batch.images()


def test_concat_fills_what_some_lack():
    first = DataBatch.from_arrays(["a"], images(1), labels=[7])
    second = DataBatch.from_arrays(["b"], images(1, seed=1), times=[NOON])
    both = DataBatch.concat([first, second])
    assert both.ids == ["a", "b"]
    assert both.labelled.tolist() == [True, False]
    assert np.isnat(both.times).tolist() == [True, False]
    assert np.array_equal(both.images(), np.concatenate([first.images(), second.images()]))
    assert len(DataBatch.concat([first.select([]), second.select([])])) == 0


def test_concat_refuses_what_does_not_go_together():
    first = DataBatch.from_arrays(["a"], images(1))
    with pytest.raises(InvalidData, match="id 'a' is there twice"):
        DataBatch.concat([first, first])
    with pytest.raises(InvalidData, match="images differ"):
        DataBatch.concat([first, DataBatch.from_arrays(["b"], images(1, 4, 4))])
    with pytest.raises(InvalidData, match="no batches"):
        DataBatch.concat([])


def full_batch(count: int = 6) -> DataBatch:
    return DataBatch.from_arrays(
        [f"row-{at}" for at in range(count)],
        images(count),
        labels=[at if at % 2 else None for at in range(count)],
        times=[NOON + timedelta(seconds=at) for at in range(count)],
        boxes=[[Box(1, 2, 3, 4, at)] for at in range(count)],
    )


def test_ipc_comes_back_exactly_from_bytes_and_from_a_file(tmp_path):
    batch = full_batch()
    path = tmp_path / "rows.arrow"
    path.write_bytes(batch.to_ipc())
    for again in (DataBatch.from_ipc(batch.to_ipc()), DataBatch.from_ipc(path)):
        assert again.record_batch.equals(batch.record_batch)
        assert again.boxes == batch.boxes
    empty = batch.select([])
    assert DataBatch.from_ipc(empty.to_ipc()).record_batch.equals(empty.record_batch)


def test_a_file_is_mapped_not_read(tmp_path):
    pixels = np.zeros((64, 256, 256), np.uint8)
    path = tmp_path / "rows.arrow"
    path.write_bytes(DataBatch.from_arrays([str(at) for at in range(64)], pixels).to_ipc())
    before = pa.total_allocated_bytes()
    batch = DataBatch.from_ipc(path)
    view = batch.images()
    assert pa.total_allocated_bytes() - before < pixels.nbytes / 10
    with Path("/proc/self/maps").open() as maps:
        spans = [line.split()[0].split("-") for line in maps if str(path) in line]
    at = view.ctypes.data
    assert any(int(low, 16) <= at < int(high, 16) for low, high in spans)


def test_a_slice_travels_without_its_parent():
    batch = DataBatch(full_batch(500).record_batch.slice(10, 2))
    assert len(pickle.dumps(batch)) < 8000
    again = pickle.loads(pickle.dumps(batch))
    assert again.record_batch.equals(batch.record_batch)


@pytest.mark.parametrize("cut", [0, 10, 0.5, 0.99])
def test_a_cut_arrow_file_is_refused(cut, tmp_path):
    data = full_batch().to_ipc()
    path = tmp_path / "rows.arrow"
    path.write_bytes(data[: cut if cut >= 1 else int(len(data) * cut)])
    with pytest.raises(InvalidData, match=r"rows\.arrow: not a whole Arrow file"):
        DataBatch.from_ipc(path)


def test_no_file_is_refused(tmp_path):
    with pytest.raises(InvalidData, match="nowhere"):
        DataBatch.from_ipc(tmp_path / "nowhere")


def test_split_gives_each_row_one_part_for_good():
    shares = {"train": 0.6, "tune": 0.2, "gate": 0.2}
    ids = [f"row-{at}" for at in range(400)]
    small = DataBatch.from_arrays(ids[:100], images(100)).split(shares, seed=5)
    large = DataBatch.from_arrays(ids[::-1], images(400)).split(shares, seed=5)
    assert list(small) == list(shares)
    assert sorted(image_id for part in large.values() for image_id in part.ids) == sorted(ids)
    for name, part in small.items():
        assert set(part.ids) <= set(large[name].ids)
    other = DataBatch.from_arrays(ids[:100], images(100)).split(shares, seed=6)
    assert other["train"].ids != small["train"].ids


def test_the_parts_have_their_shares():
    ids = [f"row-{at}" for at in range(20_000)]
    shares = {"train": 0.6, "tune": 0.25, "gate": 0.15}
    parts = DataBatch.from_arrays(ids, np.zeros((20_000, 1, 1), np.uint8)).split(shares, seed=1)
    for name, share in shares.items():
        low, high = binom.isf([1 - 1e-6, 1e-6], 20_000, share)
        # a right split fails under another seed with 6e-6 in all; a share off by .03 slips through with < 1e-4
        assert low <= len(parts[name]) <= high


@pytest.mark.parametrize("shares", [{}, {"a": 0.5}, {"a": 1.5, "b": -0.5}, {"a": 1.0, "b": 0.0}, {"a": float("nan")}])
def test_shares_must_sum_to_one(shares):
    with pytest.raises(InvalidSetting, match="do not sum to 1"):
        full_batch().split(shares, seed=0)


def test_a_seed_is_a_whole_number():
    with pytest.raises(InvalidSetting, match=r"seed 0\.5"):
        full_batch().split({"a": 1.0}, seed=0.5)


def test_to_unit():
    assert to_unit(np.array([0, 51, 255], np.uint8)).tolist() == [0.0, np.float32(0.2), 1.0]
    floats = np.ones(3, np.float32)
    assert to_unit(floats) is floats
    with pytest.raises(InvalidImage, match="int64"):
        to_unit(np.ones(3, np.int64))


def test_a_batch_describes_itself():
    assert repr(full_batch()) == "DataBatch(6 rows, 8x8 uint8 images, label, boxes, time)"
    assert repr(DataBatch.from_encoded(["a"], [b"x"])) == "DataBatch(1 rows, encoded images)"
