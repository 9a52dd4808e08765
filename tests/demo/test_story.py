"""The demo's story follows the world: drift or none, early or late, a sound retraining or a broken one."""

import ast
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import visutility.demo
from visutility.core.errors import AlreadyExists, Conflict, InvalidSetting
from visutility.core.settings import Settings
from visutility.demo import Demo, World, in_words, write_report
from visutility.demo.home import ACTOR, MARKER, own_home
from visutility.loop import Project
from visutility.registry import NewVersion, broken
from visutility.store import audit


class Silent:
    """Hears the story and keeps the lines."""

    def __init__(self):
        self.lines = []

    def chapter(self, title):
        self.lines.append(title)

    def say(self, text):
        self.lines.append(text)

    def trial(self, done, of, best):
        pass

    def served(self, done, of, accuracy):
        pass


def settings(tmp_path):
    return Settings.load(home=tmp_path / "home", environ={"VISUTILITY_ACTOR": "tests", "VISUTILITY_WORKERS": "2"})


def told(tmp_path, seed=0, **variation):
    teller = Silent()
    demo = Demo(seed, settings(tmp_path), teller, **variation)
    return demo.run(), teller.lines


@pytest.mark.slow
def test_the_whole_story(tmp_path):
    record, lines = told(tmp_path)
    data = record.to_json()
    events, accuracy = data["events"], data["accuracy"]
    assert events["drift_start"] < events["alarm"] < events["promotion"]
    assert min(record.alarms) >= events["drift_start"]
    assert accuracy["before"] > 0.93
    assert accuracy["drifted"] < 0.75
    assert accuracy["promoted"] > 0.88
    assert accuracy["recovered"] > 0.85
    assert accuracy["old_promoted"] > accuracy["old_before"] - 0.1
    assert data["versions"]["champion"] == 2
    assert data["control"]["promotions"] == 0
    assert data["trials"] == {"first": 12, "retune": 12}
    assert any("ALARM" in line for line in lines)
    with Project.open(settings=settings(tmp_path)) as project:
        assert broken(project.registry.why("digits@champion")) == []
        with project.store.read() as connection:
            assert audit.verify(connection) == []
        gate, train = (
            set(project.records.rows(project.registry.get("digits:2"), part).ids) for part in ("gate", "train")
        )
        assert not gate & train
    _report_is_sound(record, tmp_path / "report.html")


def _report_is_sound(record, path):
    text = write_report(record, path).read_text()
    assert "<script" not in text
    assert "http:" not in text.replace("http://www.w3.org", "")
    assert text.count("<h1") == 1
    assert f"{record.gated('challenger', 'gate'):.2f}" in text
    assert len(text) < 150_000


@pytest.mark.slow
def test_without_a_drift_there_is_no_alarm_and_no_second_version(tmp_path):
    record, lines = told(tmp_path, drift=False)
    data = record.to_json()
    assert data["events"] == {"drift_start": None, "alarm": None, "promotion": None}
    assert data["versions"]["champion"] == 1
    assert data["accuracy"]["promoted"] is None
    assert not any("ALARM" in line for line in lines)
    assert any("never turned" in line and "no alarm" in line for line in in_words(record))
    write_report(record, tmp_path / "report.html")


@pytest.mark.slow
def test_a_later_drift_is_noticed_later(tmp_path):
    early, _ = told(tmp_path / "early", drift_start=40)
    late, _ = told(tmp_path / "late", drift_start=170)
    assert 40 <= early.alarm < 170 <= late.alarm
    assert early.drift_start == 40
    assert early.promotion is not None


@pytest.mark.slow
def test_a_retraining_that_went_wrong_is_refused_and_the_story_says_so(tmp_path):
    record, lines = told(tmp_path, recipe="visutility.demo.recipe:careless")
    assert record.champion == 1
    assert record.promotion is None
    assert not record.recovered
    assert any("The gate said refuse" in line for line in lines)
    assert any("did not pass it" in line for line in in_words(record))
    assert "not brought back" in write_report(record, tmp_path / "report.html").read_text()


def test_the_world_uses_each_scan_once():
    world = World(3)
    first, reference = world.first_rows(), world.reference_rows()
    labels = world.label(0, 90, first_time()), world.label(0, 1000, first_time())
    stream = [world.stream(at, 10).batch for at in range(0, world.length, 10)]
    ids = [row for batch in (first, reference, *labels, *stream) for row in batch.ids]
    assert len(ids) == len(set(ids)) == 1797
    assert world.label(0, 10, first_time()) is None


def first_time():
    from visutility.core.clock import SimulatedClock

    return SimulatedClock().now()


def test_the_camera_turns_as_told_and_only_then():
    world = World(3, drift_start=100)
    assert [world.severity(at) for at in (0, 99, 100, 130, 160, 400)] == [0, 0, 0, 1.5, 3.0, 3.0]
    clean = World(3, drift=False)
    before = world.stream(90, 10).batch.images()
    assert np.array_equal(before, clean.stream(90, 10).batch.images())
    after = world.stream(200, 10).batch.images()
    assert not np.array_equal(after, clean.stream(200, 10).batch.images())


def test_the_drift_start_is_drawn_from_the_seed_and_checked():
    assert len({World(seed).drift_start for seed in range(20)}) > 5
    with pytest.raises(InvalidSetting, match="drift_start is 5000"):
        World(0, drift_start=5000)


@pytest.mark.parametrize("name", ["thesis.txt", "demo.txt", MARKER])
def test_a_folder_that_is_not_a_demos_is_left_alone(tmp_path, name):
    home = tmp_path / "home"
    home.mkdir()
    (home / name).write_text("three years of work")
    with pytest.raises(AlreadyExists, match="not a demo's"):
        Demo(0, settings(tmp_path), Silent()).run()
    assert (home / name).read_text() == "three years of work"


def test_a_file_put_beside_a_demo_keeps_the_folder(tmp_path):
    with own_home(settings(tmp_path)):
        pass
    (tmp_path / "home" / "notes.md").write_text("mine")
    with pytest.raises(AlreadyExists, match=r"notes\.md"), own_home(settings(tmp_path)):
        pass
    assert (tmp_path / "home" / "notes.md").read_text() == "mine"


def test_a_demos_project_is_replaced_until_somebody_worked_in_it(tmp_path):
    own = replace(settings(tmp_path), actor=ACTOR)
    for _ in range(2):
        with own_home(own), Project.create(settings=own) as project:
            assert project.registry.models() == []
            project.registry.create_model("digits", "classification", by=ACTOR)
    with Project.open(settings=own) as project:
        new = NewVersion(
            model="digits",
            artifact_sha256=project.blobs.put(b"mine"),
            artifact_format="npz",
            artifact_bytes=4,
            recipe="tiny:recipe",
        )
        project.registry.register(new, by="anna", why="by hand")
    with pytest.raises(AlreadyExists, match="anna"), own_home(own):
        pass
    with Project.open(settings=own) as project:
        assert project.registry.get("digits:1").created_by == "anna"


def test_two_demos_do_not_share_a_folder(tmp_path):
    with own_home(settings(tmp_path)), pytest.raises(Conflict, match="another demo"), own_home(settings(tmp_path)):
        pass


def test_the_demo_calls_public_functions_alone():
    folder = Path(visutility.demo.__file__).parent
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
                owner = node.value
                assert getattr(owner, "id", "") == "self", f"{path.name}:{node.lineno} {node.attr}"
            if isinstance(node, ast.ImportFrom):
                names = [*(alias.name for alias in node.names), *(node.module or "").split(".")]
                assert not [name for name in names if name.startswith("_")], f"{path.name}:{node.lineno}"


def test_what_was_measured_is_plain_json(tmp_path):
    record = visutility.demo.Told(0, 100)
    record.correct = [True] * 100 + [False] * 10
    data = json.loads(json.dumps(record.to_json()))
    assert data["accuracy"]["before"] == 1.0
    assert data["accuracy"]["drifted"] is None
    assert replace(record, drift_start=None).to_json()["accuracy"]["before"] == pytest.approx(100 / 110)
