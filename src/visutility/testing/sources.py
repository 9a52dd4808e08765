"""What every source of rows must do. Run each of `SOURCE_CHECKS` with a function that fills your source.

    @pytest.mark.parametrize("check", SOURCE_CHECKS)
    def test_my_source(check):
        check(lambda batch: MySource(batch))

The rows handed over have ids like `<class>/<name>.png`, labels that count the classes in the order of their names,
PNG bytes and distinct times, so that a source made of files can hold them too. None must fail to fill with no rows:
the function is then called with None.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np

from visutility.core.errors import EmptyWindow
from visutility.core.rng import rng
from visutility.data.batch import DataBatch
from visutility.data.sources import Source
from visutility.report.images import png
from visutility.testing._expect import expect

MakeSource = Callable[[DataBatch | None], Source]
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def sample_rows(count: int = 12) -> DataBatch:
    """Return `count` labelled 8 x 8 images of three classes, a minute apart, in an order that is not of time."""
    draw = rng(0, "source conformance")
    images = draw.integers(0, 256, (count, 8, 8), np.uint8)
    minutes = draw.permutation(count)
    labels = [at % 3 for at in range(count)]
    return DataBatch.from_encoded(
        ids=[f"{'abc'[label]}/{at:04d}.png" for at, label in enumerate(labels)],
        images=[png(image) for image in images],
        labels=labels,
        times=[START + timedelta(minutes=int(minute)) for minute in minutes],
    )


def check_everything_comes_oldest_first(make: MakeSource) -> None:
    """A fetch of all returns each row once, in the order of time, unchanged."""
    rows = sample_rows()
    source = make(rows)
    found = source.fetch()
    expect(np.all(found.times[1:] > found.times[:-1]), "rows are not in the order of time")
    expect(found.fingerprint() == rows.fingerprint(), "rows are not those that were put in")
    expect(source.count() == len(rows), "count differs from fetch")


def check_since_is_exclusive(make: MakeSource) -> None:
    """Only rows later than `since` come; a row at that very time does not."""
    rows = sample_rows()
    source = make(rows)
    for minute in (-1, 0, 5, 10):
        since = START + timedelta(minutes=minute)
        wanted = {i for i, t in zip(rows.ids, rows.times, strict=True) if t > np.datetime64(since.replace(tzinfo=None))}
        expect(set(source.fetch(since=since).ids) == wanted, f"wrong rows since minute {minute}")
        expect(source.count(since=since) == len(wanted), f"wrong count since minute {minute}")


def check_limit_takes_the_oldest(make: MakeSource) -> None:
    """`limit` keeps the oldest rows; reading on from the last row's time reads everything once."""
    rows = sample_rows()
    source = make(rows)
    everything = source.fetch().ids
    expect(source.fetch(limit=5).ids == everything[:5], "limit does not keep the oldest")
    expect(source.fetch(limit=1000).ids == everything, "a large limit changes the rows")
    read: list[str] = []
    since: datetime | None = None
    while len(read) < len(everything) and source.count(since=since):
        page = source.fetch(since=since, limit=5)
        read += page.ids
        since = page.times[-1].item().replace(tzinfo=UTC)
    expect(read == everything, "pages do not add up to the whole")


def check_asking_changes_nothing(make: MakeSource) -> None:
    """The same question has the same answer, and one answer does not touch another."""
    source = make(sample_rows())
    first = source.fetch(limit=4).fingerprint()
    source.fetch()
    expect(source.fetch(limit=4).fingerprint() == first, "a second fetch differs")


def check_an_empty_window_says_so(make: MakeSource) -> None:
    """No rows: `fetch` raises `EmptyWindow` naming the time, `count` is 0."""
    late = START + timedelta(days=400)
    for source, since in ((make(sample_rows()), late), (make(None), None)):
        expect(source.count(since=since) == 0, "count of nothing is not 0")
        try:
            source.fetch(since=since)
        except EmptyWindow as error:
            expect(since is None or "2027-04-05" in str(error), f"the time is not in {error}")
        else:
            raise AssertionError("fetch of nothing did not raise EmptyWindow")


def check_images_can_be_read(make: MakeSource) -> None:
    """Images and labels come back as they went in."""
    rows = sample_rows()
    found = make(rows).fetch()
    order = [rows.ids.index(image_id) for image_id in found.ids]
    expect(np.array_equal(found.images(), rows.images()[order]), "images differ")
    expect(np.array_equal(found.labels, rows.labels[order]), "labels differ")


SOURCE_CHECKS: tuple[Callable[[MakeSource], None], ...] = (
    check_everything_comes_oldest_first,
    check_since_is_exclusive,
    check_limit_takes_the_oldest,
    check_asking_changes_nothing,
    check_an_empty_window_says_so,
    check_images_can_be_read,
)
