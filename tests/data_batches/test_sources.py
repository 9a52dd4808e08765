import errno
import os
import signal
import subprocess
import sys
import tempfile
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from visutility.core.errors import DiskFull, EmptyWindow, InvalidData, InvalidImage, InvalidSetting
from visutility.data import DataBatch, FolderSource, MemorySource, ParquetSource
from visutility.report.images import png
from visutility.testing.sources import SOURCE_CHECKS, sample_rows

SAMPLES = Path(__file__).parent.parent / "data"
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def rows(first: int, count: int, *, shape=(4, 4)) -> DataBatch:
    """Rows numbered from `first`, one a second, pixels and label telling the number."""
    at = np.arange(first, first + count)
    pixels = np.broadcast_to((at % 256).astype(np.uint8)[:, None, None], (count, *shape)).copy()
    times = [NOON + timedelta(seconds=int(second)) for second in at]
    return DataBatch.from_arrays([f"row-{number:06d}" for number in at], pixels, labels=at, times=times)


def in_memory(batch, folder):
    return MemorySource(batch)


def in_memory_in_parts(batch, folder):
    source = MemorySource()
    for at in range(len(batch) if batch else 0):
        source.append(batch.select([at]))
    return source


def in_one_file(batch, folder):
    path = folder / "rows.parquet"
    if batch:
        pq.write_table(pa.Table.from_batches([batch.record_batch]), path, row_group_size=5)
    return ParquetSource(path)


def in_parquet_folder(batch, folder):
    source = ParquetSource(folder / "rows")
    for at in range(0, len(batch) if batch else 0, 4):
        source.append(batch.select(range(at, min(at + 4, len(batch)))))
    return source


def in_image_folder(batch, folder):
    for image_id, image, time in zip(*_columns(batch), strict=True) if batch else ():
        path = folder / image_id
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(image)
        os.utime(path, ns=(0, int(time.astype(np.int64)) * 1000))
    return FolderSource(folder)


def _columns(batch):
    return batch.ids, batch.record_batch.column("image").to_pylist(), batch.times


@pytest.mark.parametrize("check", SOURCE_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(
    "make",
    [in_memory, in_memory_in_parts, in_one_file, in_parquet_folder, in_image_folder],
    ids=lambda make: make.__name__,
)
def test_every_source_keeps_the_contract(make, check, tmp_path):
    made = iter(range(100))

    def source(batch):
        folder = tmp_path / str(next(made))
        folder.mkdir()
        return make(batch, folder)

    check(source)


class Broken:
    """A source with one fault each, to show that the conformance checks can fail."""

    def __init__(self, batch, fault):
        self.source, self.fault = MemorySource(batch), fault

    def count(self, *, since=None):
        return self.source.count(since=since) + (self.fault == "count")

    def fetch(self, *, since=None, limit=None):
        if self.fault == "empty":
            return sample_rows().select([])
        if self.fault == "since":
            since = None if since is None else since - timedelta(minutes=1)
        window = self.source.fetch(since=since, limit=None if self.fault == "limit" else limit)
        return window.select(np.arange(len(window))[::-1]) if self.fault == "order" else window


@pytest.mark.parametrize("fault", ["count", "empty", "since", "limit", "order"])
def test_the_conformance_checks_can_fail(fault):
    failed = []
    for check in SOURCE_CHECKS:
        try:
            check(lambda batch: Broken(batch, fault))
        except (AssertionError, EmptyWindow):
            failed.append(check.__name__)
    assert failed


@pytest.mark.parametrize("source", [MemorySource(name="fresh labels"), ParquetSource("/nowhere/at-all")])
def test_an_empty_window_names_source_and_time(source):
    name = "fresh labels" if isinstance(source, MemorySource) else "/nowhere/at-all"
    with pytest.raises(EmptyWindow, match=f"{name} has no rows newer than 2026-05-04T12:00:00"):
        source.fetch(since=NOON)
    with pytest.raises(EmptyWindow, match=f"{name} has no rows\\."):
        source.fetch()


@pytest.mark.parametrize("limit", [0, -1, 1.5, True])
def test_a_limit_is_a_count(limit, tmp_path):
    for source in (MemorySource(rows(0, 3)), in_parquet_folder(rows(0, 3), tmp_path)):
        with pytest.raises(InvalidSetting, match="limit is"):
            source.fetch(limit=limit)


def test_since_needs_a_zone_and_times():
    source = MemorySource(DataBatch.from_arrays(["b", "a"], np.zeros((2, 4, 4), np.uint8)))
    assert source.fetch().ids == ["a", "b"]  # no times: ties, by id
    with pytest.raises(InvalidData, match="has no times"):
        source.fetch(since=NOON)
    with pytest.raises(InvalidData, match="has no times"):
        source.count(since=NOON)
    with pytest.raises(InvalidData, match="has no zone"):
        source.fetch(since=NOON.replace(tzinfo=None))


def test_rows_without_a_time_come_first_and_are_never_new():
    pixels = np.zeros((3, 4, 4), np.uint8)
    source = MemorySource(DataBatch.from_arrays(list("abc"), pixels, times=[NOON, None, NOON - timedelta(days=40_000)]))
    assert source.fetch().ids == ["b", "c", "a"]
    assert source.fetch(since=NOON - timedelta(days=50_000)).ids == ["c", "a"]


def test_memory_refuses_what_does_not_fit_and_stays_whole():
    source = MemorySource(rows(0, 3))
    with pytest.raises(InvalidData, match="has id 'row-000002' already"):
        source.append(rows(2, 3))
    with pytest.raises(InvalidData, match="images differ"):
        source.append(rows(3, 3, shape=(5, 5)))
    assert source.count() == 3
    source.append(rows(3, 3))
    assert source.fetch().labels.tolist() == [0, 1, 2, 3, 4, 5]


# -- Parquet ---------------------------------------------------------------------------------------------------------


def test_appended_files_sort_by_time_and_repeat_harmlessly(tmp_path):
    source = ParquetSource(tmp_path / "rows")
    late, early = rows(100, 10), rows(0, 10)
    names = [source.append(late), source.append(early), source.append(late)]
    assert names[0] == names[2]
    assert sorted(path.name for path in names[:2]) == [names[1].name, names[0].name]
    assert source.count() == 20
    assert source.fetch(limit=12).labels.tolist() == [*range(10), 100, 101]


def test_every_kind_of_column_survives_parquet(tmp_path):
    batch = DataBatch.from_arrays(
        ["a", "b"],
        np.arange(24, dtype=np.float32).reshape(2, 2, 2, 3) / 24,
        labels=[1, None],
        times=[NOON, NOON + timedelta(seconds=1)],
        boxes=[[(1, 2, 3, 4, 0)], None],
    )
    source = ParquetSource(tmp_path)
    source.append(batch)
    assert source.fetch().record_batch.equals(batch.record_batch)


def test_only_the_row_groups_asked_for_are_read(tmp_path, monkeypatch):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_batches([rows(0, 100).record_batch]), path, row_group_size=10)
    read = []
    original = pq.ParquetFile.read_row_groups
    monkeypatch.setattr(
        pq.ParquetFile,
        "read_row_groups",
        lambda self, groups, **kw: read.append(groups) or original(self, groups, **kw),
    )
    found = ParquetSource(path).fetch(since=NOON + timedelta(seconds=34), limit=8)
    assert found.labels.tolist() == list(range(35, 43))
    assert np.array_equal(found.images()[:, 0, 0], np.arange(35, 43))
    assert read == [[3, 4]]


def test_files_without_newer_rows_are_settled_by_their_footer(tmp_path, monkeypatch):
    source = ParquetSource(tmp_path)
    for first in (0, 10, 20):
        source.append(rows(first, 10))
    read = []
    original = pq.ParquetFile.read
    monkeypatch.setattr(pq.ParquetFile, "read", lambda self, **kw: read.append(1) or original(self, **kw))
    assert source.count(since=NOON + timedelta(seconds=19)) == 10
    assert len(read) == 1


def test_files_of_others_are_read_too(tmp_path):
    table = pa.table(
        {
            "camera": ["left", "right", "left"],
            "time": pa.array([3_000_000_000, 1_000_000_000, 2_000_000_001], pa.timestamp("ns", "Europe/Berlin")),
            "image": pa.array([b"x", b"y", b"z"], pa.large_binary()),
            "id": pa.array(["a", "b", "c"]).dictionary_encode(),
        }
    )
    path = tmp_path / "theirs.parquet"
    pq.write_table(table.set_column(3, "id", table.column("id").cast(pa.string())), path)
    found = ParquetSource(path).fetch(since=datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC))
    assert found.ids == ["c", "a"]
    assert found.record_batch.schema.names == ["id", "image", "time"]


def test_a_file_that_is_not_whole_or_does_not_fit_is_named(tmp_path):
    source = ParquetSource(tmp_path)
    source.append(rows(0, 50))
    whole = source.append(rows(100, 50)).read_bytes()
    for name, content, message in [
        ("cut", whole[:-20], "cut.parquet is no whole Parquet file"),
        ("text", b"id,image\n", "text.parquet is no whole Parquet file"),
        ("empty", b"", "empty.parquet is no whole Parquet file"),
    ]:
        bad = tmp_path / f"{name}.parquet"
        bad.write_bytes(content)
        for ask in (source.fetch, source.count):
            with pytest.raises(InvalidData, match=message):
                ask()
        bad.unlink()
    for column, message in [
        ({"image": [b"x"]}, "no column 'id'"),
        ({"id": ["new"]}, "no column 'image'"),
        ({"id": ["new"], "image": [b"x"], "time": [NOON.replace(tzinfo=None)]}, "column 'time' has type"),
        ({"id": ["row-000003"], "image": rows(3, 1).record_batch.column("image")}, "id 'row-000003' is there twice"),
        ({"id": ["new"], "image": [b"x"]}, "images differ"),
        ({"id": ["new"], "image": [1]}, "column 'image' has type int64"),
    ]:
        pq.write_table(pa.table(column), tmp_path / "strange.parquet")
        with pytest.raises((InvalidData, InvalidImage), match=message) as caught:
            source.fetch()
        assert str(tmp_path) in str(caught.value)


def test_damage_inside_a_file_is_named(tmp_path):
    source = ParquetSource(tmp_path)
    path = source.append(rows(0, 3000, shape=(16, 16)))
    data = bytearray(path.read_bytes())
    data[4 : len(data) // 2] = b"\xff" * (len(data) // 2 - 4)
    path.write_bytes(data)
    with pytest.raises(InvalidData, match="no whole Parquet file"):
        source.fetch()


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (DataBatch.from_arrays(["a"], np.zeros((1, 4, 4), np.uint8)), "no column 'time'"),
        (DataBatch.from_arrays(["a"], np.zeros((1, 4, 4), np.uint8), times=[None]), "a row has no time"),
        (rows(0, 1).select([]), "there are no rows"),
    ],
)
def test_only_rows_with_a_time_are_appended(batch, message, tmp_path):
    with pytest.raises(InvalidData, match=message):
        ParquetSource(tmp_path).append(batch)
    assert list(tmp_path.iterdir()) == []


def test_one_file_is_not_appended_to(tmp_path):
    with pytest.raises(InvalidData, match="is one file"):
        ParquetSource(tmp_path / "rows.parquet").append(rows(0, 1))
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(InvalidData, match="is one file"):
        ParquetSource(tmp_path / "taken").append(rows(0, 1))
    with pytest.raises(InvalidData, match="cannot append"):
        ParquetSource(tmp_path / "taken" / "below").append(rows(0, 1))


def test_a_full_disk_leaves_nothing_half_written(tmp_path, monkeypatch):
    source = ParquetSource(tmp_path)
    source.append(rows(0, 5))

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFull, match="no space"):
        source.append(rows(5, 5))
    assert len(list(tmp_path.iterdir())) == 1
    assert source.count() == 5


def test_a_reader_sees_whole_files_only(tmp_path):
    source = ParquetSource(tmp_path / "rows")
    counts, failures, done = [], [], threading.Event()

    def read():
        while not done.is_set():
            try:
                counts.append(source.count())
            except InvalidData as error:
                failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for first in range(0, 600, 20):
        source.append(rows(first, 20))
    done.set()
    reader.join()
    assert failures == []
    assert counts == sorted(counts)
    assert {count % 20 for count in counts} == {0}


KILLED = """
import os, signal, sys
from pathlib import Path
from visutility.data import DataBatch, ParquetSource
batch = DataBatch.from_ipc(Path(sys.argv[2]))
Path.replace = lambda *names: os.kill(os.getpid(), signal.SIGKILL)
ParquetSource(sys.argv[1]).append(batch)
"""


def test_killed_before_the_rename_nothing_was_appended(tmp_path):
    source = ParquetSource(tmp_path / "rows")
    source.append(rows(0, 5))
    more = tmp_path / "more.arrow"
    more.write_bytes(rows(5, 5).to_ipc())
    child = subprocess.run([sys.executable, "-c", KILLED, str(source.path), str(more)], check=False)
    assert child.returncode == -signal.SIGKILL
    assert len(list(source.path.iterdir())) == 2  # the stray file is there, under a name that no reader takes
    assert source.count() == 5
    source.append(DataBatch.from_ipc(more))
    assert source.count() == 10


def test_a_read_only_folder_says_so():
    """As an ordinary user: root may write anywhere."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "rows").mkdir()
        (folder / "rows.arrow").write_bytes(rows(0, 2).to_ipc())
        for path, mode in ((folder / "rows", 0o555), (folder / "rows.arrow", 0o444), (folder, 0o755)):
            path.chmod(mode)
        said = _as_nobody(folder)
        (folder / "rows").chmod(0o755)
    assert "rows cannot be written" in said
    assert "give this user the right" in said


def _as_nobody(folder: Path) -> str:
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from visutility.core.errors import ReadOnly\n"
        "from visutility.data import DataBatch, ParquetSource\n"
        "import pyarrow.parquet, uuid\n"
        "folder = Path(sys.argv[1])\n"
        "if os.geteuid() == 0:\n"
        "    os.setgroups([])\n"
        "    os.setgid(65534)\n"
        "    os.setuid(65534)\n"
        "try:\n"
        "    ParquetSource(folder / 'rows').append(DataBatch.from_ipc(folder / 'rows.arrow'))\n"
        "except ReadOnly as error:\n"
        "    print(error)\n"
    )
    child = subprocess.run([sys.executable, "-c", code, str(folder)], check=True, capture_output=True, text=True)
    return child.stdout


# -- a folder of images ----------------------------------------------------------------------------------------------


def test_real_images_in_class_folders():
    source = FolderSource(SAMPLES / "fashion-mnist/images")
    batch = source.fetch()
    assert source.count() == len(batch) == 20
    assert source.classes[:3] == ("ankle-boot", "bag", "coat")
    assert batch.images().shape == (20, 28, 28)
    for image_id, label in zip(batch.ids, batch.labels, strict=True):
        assert source.classes[label] == image_id.split("/")[0]


@pytest.fixture
def classes(tmp_path):
    for name in ("b/1.png", "a/2.png", "a/.hidden.png", "a/notes.txt", "a/deep/3.png", ".git/4.png", "5.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(np.zeros((2, 2), np.uint8)))
    return tmp_path


def test_only_images_right_inside_a_class_count(classes):
    batch = FolderSource(classes).fetch()
    assert sorted(zip(batch.ids, batch.labels.tolist(), strict=True)) == [("a/2.png", 0), ("b/1.png", 1)]


def test_a_new_class_never_shifts_the_labels(classes):
    source = FolderSource(classes)
    (classes / "aa").mkdir()
    with pytest.raises(InvalidData, match=r"sub-folder 'aa', which is none of \['a', 'b'\]"):
        source.fetch()
    named = FolderSource(classes, classes=["a", "b", "aa"])
    assert sorted(named.fetch().labels.tolist()) == [0, 1]
    with pytest.raises(InvalidData, match="name one twice"):
        FolderSource(classes, classes=["a", "a"])


def test_a_folder_that_is_none_or_has_gone(tmp_path):
    with pytest.raises(InvalidData, match="is no folder"):
        FolderSource(tmp_path / "nowhere")
    gone = tmp_path / "gone"
    gone.mkdir()
    source = FolderSource(gone)
    gone.rmdir()
    with pytest.raises(InvalidData, match="gone cannot be read"):
        source.fetch()


def test_a_corrupt_file_is_found_when_it_is_decoded_and_named(classes):
    (classes / "b/1.png").write_bytes(b"half a f")
    batch = FolderSource(classes).fetch()
    with pytest.raises(InvalidImage, match=r"image 'b/1\.png' is not an image"):
        batch.images()
