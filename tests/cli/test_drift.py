"""`visutility drift`: two files, a verdict, a page; no project anywhere."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
from PIL import Image

from visutility.cli import drift, main
from visutility.core.rng import rng
from visutility.monitor import DriftReport


def table(seed, shift=0.0, n=2000):
    g = rng(seed, "cli", "drift")
    return pa.table(
        {
            "exposure": g.normal(size=n) + shift,
            "gain": g.random(n),
            "camera": g.choice(["north", "south"], n, p=[0.5 + 0.2 * (shift > 0), 0.5 - 0.2 * (shift > 0)]),
        }
    )


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # no project here
    pq.write_table(table(0), "old.parquet")
    pq.write_table(table(1), "same.parquet")
    pc.write_csv(table(2, 0.5), "moved.csv")
    pq.write_table(table(3).drop_columns(["gain"]), "broken.parquet")
    return tmp_path


def test_the_verdict_comes_first_then_the_columns_most_suspicious_first(files, capsys):
    assert main(["drift", "old.parquet", "moved.csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("▲ drift: ")
    assert "'exposure'" in lines[0]
    rows = [line.split("\t") for line in lines if "\t" in line]
    assert [row[0] for row in rows[:2]] == ["exposure", "camera"]
    assert {row[0]: row[1] for row in rows}.items() >= {"camera": "▲ drifted", "gain": "● no drift"}.items()
    assert "standardised mean difference" in rows[0][2]
    assert "Compared 2,000 with 2,000" in lines[-1]
    assert main(["drift", "old.parquet", "same.parquet"]) == 0
    assert capsys.readouterr().out.startswith("● no drift: ")


def test_exit_codes_tell_drift_from_broken_data_only_when_asked(files, capsys):
    for name, code in {"same.parquet": 0, "moved.csv": drift.DRIFT, "broken.parquet": drift.BROKEN}.items():
        assert main(["drift", "old.parquet", name]) == 0
        assert main(["drift", "old.parquet", name, "--fail-on-drift"]) == code
    assert "▲ data broken: " in capsys.readouterr().out
    assert main(["drift", "old.parquet", "moved.csv", "--level", "1e-300", "--fail-on-drift"]) == 0


def test_json_is_one_document_that_is_a_report(files, capsys):
    assert main(["drift", "old.parquet", "moved.csv", "--json", "--html", "page.html"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said.pop("reference"), said.pop("current")) == ("old.parquet", "moved.csv")
    assert said.pop("files") == {"html": "page.html"}
    report = DriftReport.from_json(said)
    assert report.drifted
    assert report.columns[0].name == "exposure"


def test_a_page_and_a_picture_are_written_whole(files, capsys):
    assert main(["drift", "old.parquet", "moved.csv", "--html", "page.html", "--png", "page.png"]) == 0
    out = capsys.readouterr().out
    assert "Report: page.html" in out
    assert "Picture: page.png" in out
    page = (files / "page.html").read_text("utf-8")
    assert "moved.csv against old.parquet" in page
    assert "<script" not in page
    with Image.open("page.png") as image:
        assert image.format == "PNG"
    assert sorted(path.name for path in files.iterdir() if path.name.startswith((".", "page"))) == [
        "page.html",
        "page.png",
    ]


def test_embeddings_in_numpy_files_and_the_kind_by_option(files, capsys):
    g = rng(4, "vectors")
    np.save("old.npy", g.normal(size=(300, 8)))
    np.save("new.npy", g.normal(size=(200, 8)) + 0.5)
    assert main(["drift", "old.npy", "new.npy", "--kind", "table", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["kind"] == "table"
    assert len([one for one in said["columns"] if one["kind"] == "numeric" and one["drifted"]]) == 8
    assert main(["drift", "old.npy", "new.npy", "--fail-on-drift", "--html", "page.html"]) == drift.DRIFT
    assert "vectors" in (files / "page.html").read_text("utf-8")
    for name, sharp in (("old.npy", 3.0), ("new.npy", 0.5)):
        logits = sharp * g.normal(size=(300, 5))
        np.save(name, np.exp(logits) / np.exp(logits).sum(1, keepdims=True))
    assert main(["drift", "old.npy", "new.npy", "--kind", "softmax", "--fail-on-drift"]) == drift.DRIFT


def test_folders_of_images_are_compared_and_the_most_shifted_shown(files, capsys):
    g = rng(5, "images")
    for name, gain in (("old", 1.0), ("new", 0.4)):
        (files / name).mkdir()
        for at in range(60):
            pixels = (g.random((12, 12)) * 200 * gain).astype(np.uint8)
            Image.fromarray(pixels).save(files / name / f"{at}.png")
    assert main(["drift", "old", "new", "--html", "page.html", "--png", "page.png", "--fail-on-drift"]) == drift.DRIFT
    page = (files / "page.html").read_text("utf-8")
    assert page.count("<img") == 24
    assert "Most shifted current images" in page
    assert main(["drift", "old", "new", "--size", "6", "--json"]) == 0
    assert '"kind": "images"' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("dtype", "high"), [(np.float32, 255.0), (np.float64, 1.0), (np.int64, 255), (np.uint16, 65535), (np.bool_, 1)]
)
def test_example_images_are_shown_in_the_range_that_was_compared(files, capsys, monkeypatch, dtype, high):
    g = rng(0, "cli", "range")
    light = g.random((60, 16, 16))
    for name, factor in (("was", 1.0), ("now", 0.6)):
        np.save(f"{name}.npy", (np.round(light * factor * high) if high > 1 else light * factor > 0.4).astype(dtype))
    kept = []
    monkeypatch.setattr("visutility.report.drift_page._examples", lambda examples: kept.append(examples) or "")
    assert main(["drift", "was.npy", "now.npy", "--html", "x.html"]) == 0
    (examples,) = kept
    assert 0.3 < examples.reference.mean() < 0.7
    assert 0.1 < examples.current.mean() < 0.5


@pytest.mark.parametrize("option", ["--html", "--png"])
def test_the_data_are_never_written_over(files, capsys, option):
    before = (files / "old.parquet").read_bytes()
    assert main(["drift", "old.parquet", "same.parquet", option, str(files / "old.parquet")]) == 2
    assert "is what is compared" in capsys.readouterr().err
    assert (files / "old.parquet").read_bytes() == before


def test_images_of_many_channels_are_refused(files, capsys):
    light = rng(0, "cli", "channels").random((60, 12, 12, 7))
    np.save("was.npy", light)
    np.save("now.npy", light * 0.5)
    assert main(["drift", "was.npy", "now.npy", "--html", "x.html"]) == 2
    assert "7 channels" in capsys.readouterr().err
    assert not (files / "x.html").exists()


@pytest.mark.parametrize("shape", [(60, 12, 12), (60, 12, 12, 3)])
def test_current_images_of_many_channels_are_broken_data_and_not_shown(files, shape):
    g = rng(0, "cli", "channels")
    np.save("was.npy", g.random(shape))
    np.save("now.npy", g.random((60, 12, 12, 7)))
    words = ["drift", "was.npy", "now.npy", "--html", "x.html", "--png", "x.png", "--fail-on-drift"]
    assert main(words) == drift.BROKEN
    assert "images are (12, 12, 7)" in (files / "x.html").read_text()
    assert (files / "x.png").exists()


def test_what_does_not_fit_ends_with_the_code_of_its_kind_and_says_what_to_do(files, capsys):
    np.save("a.npy", np.zeros((5, 4)))
    for words, code, problem in (
        (["old.parquet", "gone.csv"], 3, "there is no gone.csv"),
        (["old.parquet", "a.npy"], 2, "compare like with like"),
        (["old.parquet", "moved.csv", "--kind", "images"], 2, "holds no images"),
        (["old.parquet", "moved.csv", "--kind", "sound"], 2, "sound"),
        (["old.parquet", "moved.csv", "--level", "0"], 2, "level 0.0"),
        (["old.parquet", "moved.csv", "--html", "no/page.html"], 2, "there is no folder no"),
        (["old.parquet", "moved.csv", "--html", "x", "--png", "x"], 2, "name two files"),
        (["old.parquet"], 2, "CUR"),
    ):
        assert main(["drift", *words]) == code, words
        assert problem in capsys.readouterr().err
    assert not (files / "x").exists()


def test_without_pillow_a_picture_is_refused_before_the_work(files, capsys, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "PIL", None)
    assert main(["drift", "old.parquet", "moved.csv", "--png", "page.png"]) == 6
    assert "visutility[vision]" in capsys.readouterr().err
    assert main(["drift", "old.parquet", "moved.csv", "--html", "page.html"]) == 0
