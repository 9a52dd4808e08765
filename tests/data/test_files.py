"""Windows in files: tables as streams, arrays, folders of images; what cannot be read says which file and why."""

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.feather as pf
import pyarrow.parquet as pq
import pytest
from PIL import Image

from visutility.core.errors import EmptyWindow, InvalidData, InvalidImage, NotFound
from visutility.core.rng import rng
from visutility.data.files import TableFile, read, told

TABLE = pa.table({"x": [1.0, 2.0, None], "name": ["a", "b", "c"]})


def rows(window):
    return pa.RecordBatchReader.from_stream(window.data).read_all()


def test_tables_in_every_format_are_streams_that_can_be_read_again(tmp_path):
    pc.write_csv(TABLE, tmp_path / "t.csv")
    (tmp_path / "t.tsv").write_text("x\tname\n1.0\ta\n2.0\tb\n\tc\n")
    with pa.CompressedOutputStream(tmp_path / "t.csv.gz", "gzip") as out:
        pc.write_csv(TABLE, out)
    pq.write_table(TABLE, tmp_path / "t.parquet")
    pf.write_feather(TABLE, tmp_path / "t.feather")
    with pa.OSFile(str(tmp_path / "t.arrow"), "wb") as out, pa.ipc.new_file(out, TABLE.schema) as writer:
        writer.write_table(TABLE)
    folder = tmp_path / "parts"
    folder.mkdir()
    for at in range(3):
        pq.write_table(TABLE.slice(at, 1), folder / f"{at}.parquet")
    for name in ("t.csv", "t.tsv", "t.csv.gz", "t.parquet", "t.feather", "t.arrow", "parts"):
        window = read(tmp_path / name)
        assert window.kind == "table"
        assert window.path == tmp_path / name
        for _ in range(2):
            assert rows(window).to_pydict() == TABLE.to_pydict(), name


def test_the_ending_says_how_fields_are_told_apart(tmp_path):
    (tmp_path / "sales.tsv.csv").write_text("x,name\n1.0,a\n")
    assert rows(read(tmp_path / "sales.tsv.csv")).column_names == ["x", "name"]


def test_arrays_are_embeddings_images_or_tables(tmp_path):
    g = rng(0, "files")
    shapes = {"embedding": (5, 8), "images": (5, 6, 7)}
    for kind, shape in shapes.items():
        np.save(tmp_path / "a.npy", g.random(shape))
        assert read(tmp_path / "a.npy").kind == kind
        assert read(tmp_path / "a.npy").data.shape == shape
    np.save(tmp_path / "rgb.npy", np.zeros((2, 3, 3, 3), np.uint8))
    assert read(tmp_path / "rgb.npy", "images").kind == "images"
    np.save(tmp_path / "flat.npy", g.random(5))
    assert read(tmp_path / "flat.npy").kind == "table"
    np.save(tmp_path / "vectors.npy", g.random((5, 2)))
    assert read(tmp_path / "vectors.npy", "table").kind == "table"
    np.savez(tmp_path / "t.npz", x=np.arange(3), y=np.arange(3.0))
    assert set(read(tmp_path / "t.npz").data) == {"x", "y"}
    np.savez(tmp_path / "e.npz", labels=np.arange(5), embedding=g.random((5, 4)))
    assert read(tmp_path / "e.npz").data.shape == (5, 4)


def images(folder, *, sizes=((8, 6), (8, 6)), modes=("L", "L"), name="{}.png"):
    for at, (size, mode) in enumerate(zip(sizes, modes, strict=True)):
        path = folder / name.format(at)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new(mode, size, 100 + at if mode == "L" else (100 + at, 0, 0)).save(path)


def test_a_folder_of_images_is_read_whole_in_the_order_of_names(tmp_path):
    images(tmp_path, name="b/{}.png")
    images(tmp_path, name="a-{}.png")
    images(tmp_path, name=".hidden/{}.png")
    (tmp_path / "notes.txt").write_text("no image")
    window = read(tmp_path)
    assert window.names == ("a-0.png", "a-1.png", "b/0.png", "b/1.png")
    assert (window.data.shape, window.data.dtype) == ((4, 6, 8), np.uint8)
    assert window.data[:, 0, 0].tolist() == [100, 101, 100, 101]


def test_grey_among_colours_becomes_colour_and_sizes_can_be_made_one(tmp_path):
    images(tmp_path, sizes=((8, 6), (20, 40)), modes=("L", "RGB"))
    with pytest.raises(InvalidImage, match=r"1.png is 20 x 40 pixels, 0.png 8 x 6.*--size"):
        read(tmp_path)
    window = read(tmp_path, size=5)
    assert window.data.shape == (2, 5, 5, 3)
    assert window.data[:, 2, 2].tolist() == [[100, 100, 100], [101, 0, 0]]


def test_what_cannot_be_read_says_which_and_what_to_do(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.bin").write_bytes(b"x")
    (tmp_path / "x.npy").write_bytes(b"x")
    (tmp_path / "x.parquet").write_bytes(b"x")
    (tmp_path / "x.arrow").write_bytes(b"x")
    (tmp_path / "x.csv").write_bytes(b"")
    np.save(tmp_path / "deep.npy", np.zeros((1, 1, 1, 1, 1)))
    np.save(tmp_path / "scalar.npy", 3.0)
    (tmp_path / "zip.npz").write_bytes(b"PK\x03\x04 and no more")
    np.savez_compressed(tmp_path / "whole.npz", a=np.arange(1000.0))
    packed = (tmp_path / "whole.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(packed[:200] + b"\xff" * 100 + packed[300:])
    np.savez(tmp_path / "two.npz", a=np.zeros((2, 2)), b=np.zeros((2, 2)))
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "1.png").write_bytes(b"no png")
    for name, error in {
        "gone.csv": NotFound,
        "empty": EmptyWindow,
        "x.bin": InvalidData,
        "x.npy": InvalidData,
        "x.parquet": InvalidData,
        "x.arrow": InvalidData,
        "x.csv": InvalidData,
        "deep.npy": InvalidData,
        "two.npz": InvalidData,
        "scalar.npy": InvalidData,
        "zip.npz": InvalidData,
        "cut.npz": InvalidData,
        "bad": InvalidImage,
    }.items():
        with pytest.raises(error) as caught:
            read(tmp_path / name)
        assert name.partition(".")[0] in str(caught.value) or "1.png" in str(caught.value)
        assert caught.value.hint
    np.save(tmp_path / "a.npy", np.zeros((5, 4)))
    with pytest.raises(InvalidData, match="holds no images but embedding"):
        read(tmp_path / "a.npy", "images")
    with pytest.raises(InvalidData):
        read(tmp_path / "a.npy", size=0)


def test_a_file_that_breaks_half_way_is_named(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("x\n" + "1\n" * 1_000_000 + "words\n")
    with pytest.raises(InvalidData, match=r"t.csv cannot be read"), told(path):
        rows(read(path))
    assert TableFile(path).path == path
