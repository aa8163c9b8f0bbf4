"""How far a job has come: what is written, what is read, and what a run shows of it."""

from __future__ import annotations

import io
import json
import math
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlconvert import progress
from mlconvert.artifact import Artifact
from mlconvert.cli import progress as shown
from mlconvert.execution.cached_jobs import Event
from mlconvert.execution.jobs import Cancelled, Children
from mlconvert.progress import NOTE, Progress
from mlconvert.recipe import LimitsSpec

PLUGIN = Path(__file__).parent / "plugin"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / progress.FILENAME
    progress.write_to(path)
    yield path
    progress.write_to(None)


# --- the file ---


def test_nobody_listens_and_nothing_happens(tmp_path) -> None:
    progress.report(0.5, "half")
    assert list(tmp_path.iterdir()) == []


def test_what_is_reported_is_read(file) -> None:
    assert progress.read(file) is None
    progress.report(0.5, "half of\tit\x1b[31m\n")
    assert progress.read(file) == Progress(0.5, "half of it [31m")


def test_it_is_written_now_and_then_alone(file, monkeypatch) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    for step in range(1000):
        progress.report(step / 1000)
        now[0] += 0.001
    assert progress.read(file) == Progress(0.75)
    assert not file.with_name(f"{file.name}.part").exists()


def test_a_folder_that_is_gone_is_nobody_s_failure(tmp_path) -> None:
    progress.write_to(tmp_path / "gone" / progress.FILENAME)
    progress.report(0.5)
    progress.write_to(None)


@given(st.floats() | st.none(), st.text())
def test_whatever_is_reported_is_a_line_and_a_share(tmp_path_factory, fraction, note) -> None:
    path = tmp_path_factory.mktemp("job") / progress.FILENAME
    progress.write_to(path)
    progress.report(fraction, note)
    progress.write_to(None)
    told = progress.read(path)
    assert told is not None
    assert told.fraction is None or 0 <= told.fraction <= 1
    assert (told.fraction is None) == (fraction is None or not math.isfinite(fraction))
    assert len(told.note) <= NOTE
    assert told.note.isprintable()


@given(st.binary(max_size=40) | st.sampled_from([b"{}", b"[]", b'{"fraction": "x", "note": ""}', b'{"fraction": NaN}']))
def test_a_file_that_is_no_report_is_none(tmp_path_factory, content) -> None:
    path = tmp_path_factory.mktemp("job") / progress.FILENAME
    path.write_bytes(content)
    assert progress.read(path) is None


def test_a_reader_tells_of_what_is_new(file, monkeypatch) -> None:
    now, told = [0.0], []
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    reader = progress.Reader(file, told.append)
    for content in (None, Progress(0.1, "a"), Progress(0.1, "a"), Progress(0.2, "a")):
        now[0] += 1
        if content is not None:
            file.write_text(json.dumps({"fraction": content.fraction, "note": content.note}))
        reader.look()
        reader.look()  # at once: not even read
    assert told == [Progress(0.1, "a"), Progress(0.2, "a")]


# --- a job ---


@pytest.fixture
def toy(tmp_path, monkeypatch):
    monkeypatch.setenv("MLCONVERT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(PLUGIN))
    path = tmp_path / "model.toy"
    path.write_text("TOY 1\n1 2 3\n")
    return {
        "job": "convert",
        "converter": "toy:tells",
        "options": {},
        "source": Artifact("toy", str(path), (path,)).as_json(),
        "samples": None,
        "filename": "made.toy",
    }


def test_whoever_waits_for_a_job_is_told(toy, tmp_path) -> None:
    told: list[Progress] = []
    Children(LimitsSpec()).run("tells", toy, tmp_path / "job", told.append)
    assert [each.fraction for each in told] == [0.25, 0.75]
    assert told[0].note == "half of the first half [31m"


def test_a_watcher_that_fails_ends_the_job(toy, tmp_path) -> None:
    def watch(_: Progress) -> None:
        raise KeyboardInterrupt

    children = Children(LimitsSpec())
    with pytest.raises(KeyboardInterrupt):
        children.run("tells", {**toy, "options": {"delay": 30}}, tmp_path / "job", watch)
    assert children._running == {}


def test_a_run_that_is_stopped_tells_no_more(toy, tmp_path) -> None:
    children, seen = Children(LimitsSpec()), threading.Event()
    stopper = threading.Thread(target=lambda: (seen.wait(60), children.stop()))
    stopper.start()
    with pytest.raises(Cancelled):
        children.run("tells", {**toy, "options": {"delay": 30}}, tmp_path / "job", lambda _: seen.set())
    stopper.join()


# --- what is shown ---


def lines(monkeypatch, events: list[tuple[float, Event]], names: tuple[str, ...] = ("a",)) -> list[str]:
    now, stderr = [0.0], io.StringIO()
    monkeypatch.setattr(shown.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(shown.sys, "stderr", stderr)
    with shown.progress(list(names)) as observer:
        for at, event in events:
            now[0] = at
            observer(event)
    return stderr.getvalue().splitlines()


def test_lines_that_stay_are_few(monkeypatch) -> None:
    told = [(at / 10, Event("progress", "a", "tensorrt", note="Building", fraction=at / 600)) for at in range(600)]
    found = lines(monkeypatch, [(0, Event("start", "a", "tensorrt")), *told, (60, Event("done", "a", "tensorrt", 60))])
    assert len(found) == 7
    assert found[1].split() == ["tensorrt", "17", "%", "Building"]
    assert found[-1].startswith("✓")


def test_each_step_has_its_own_lines(monkeypatch) -> None:
    events = [(0, Event("start", name, "tensorrt")) for name in ("a", "b")]
    events += [(11, Event("progress", name, "tensorrt", note="Building")) for name in ("a", "b")]
    found = lines(monkeypatch, events, ("a", "b"))
    assert [line.split() for line in found[2:]] == [["a", "tensorrt", "Building"], ["b", "tensorrt", "Building"]]


def test_the_live_table_shows_it_beside_the_time() -> None:
    from rich.console import Console

    running = shown._Running(0)
    running.tell(Event("start", "a", "tensorrt"))
    running.tell(Event("progress", "a", "tensorrt", note="Building Engine: " + "x" * 90, fraction=0.375))
    console = Console(file=io.StringIO(), width=60, color_system=None)
    console.print(running)
    (line,) = console.file.getvalue().splitlines()
    assert "38 % Building Engine: x" in line
    assert line.rstrip().endswith("…")
    running.tell(Event("done", "a", "tensorrt", 1.0))
    assert running._told == running._started == {}


def test_reporting_costs_next_to_nothing(file) -> None:
    started = time.process_time()
    for step in range(100_000):
        progress.report(step / 100_000, "row")
    assert time.process_time() - started < 1.0
