"""The process of a contestant: what it measures, how it fails, and that nothing of it is left."""

from __future__ import annotations

import os
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from mlconvert.artifact import Artifact
from mlconvert.benchmarking import child, contest, contestant
from mlconvert.benchmarking.contest import Entry, Settings
from mlconvert.benchmarking.contestant import Contestant
from mlconvert.errors import ConversionFailed, NotVerified, OutOfResources, ParityFailed
from mlconvert.onnx_model.files import onnx_signature, read_outline
from mlconvert.parity.tolerance import Tolerance, Tolerances
from mlconvert.tensors import write_tensors

QUICK = Settings(threads=1, cpus=(0,), starts=2, rounds=2, batch=8, turn_seconds=0.001, warm_seconds=0.01)


@pytest.fixture
def request_of(small_onnx, tmp_path):
    """A function that gives the request for a way of the small model, whose reference answers are right."""

    def make(way: str = "run", **changes):
        from mlconvert.runners import onnx

        artifact = Artifact("onnx", str(small_onnx), (small_onnx,), onnx_signature(read_outline(small_onnx)))
        samples = {"x": np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)}
        if not (tmp_path / "samples").exists():
            write_tensors(tmp_path / "samples", samples)
            write_tensors(tmp_path / "reference", onnx.load(artifact).run(samples))
        return {
            "artifact": artifact.as_json(),
            "way": way,
            "samples": str(tmp_path / "samples"),
            "rows": 5,
            "reference": str(tmp_path / "reference"),
            "tolerances": Tolerances(Tolerance(1e-5, 1e-6)).as_json(),
            "threads": 1,
            "cpus": [min(os.sched_getaffinity(0))],
            "batch": 12,
            "started_ns": time.monotonic_ns(),
            **changes,
        }

    return make


def served(request, *lines):
    """What the child answers to these lines, in this process; its affinity is put back."""
    own, asked, told = os.sched_getaffinity(0), iter([f"{line}\n" for line in lines]), []
    try:
        child.serve(request, lambda: next(asked, ""), told.append)
    finally:
        os.sched_setaffinity(0, own)
    return told


@pytest.mark.parametrize("way", ["run", "IO binding"])
def test_it_measures_what_was_asked_for(request_of, way):
    ready, check, warm, one, batch, memory = served(
        request_of(way), "check", "warm one_row 0.01", "one_row 7", "batch 3", "memory"
    )
    assert (ready["batches"], ready["in_batch"]) == (True, 12)
    assert ready["cold_seconds"] > 0
    assert check == {"differs": None}
    assert warm["nanoseconds"] > 0
    assert len(one["nanoseconds"]) == 7
    assert len(batch["nanoseconds"]) == 3
    assert min(one["nanoseconds"] + batch["nanoseconds"]) > 0
    assert memory["peak_rss_bytes"] > 1 << 20


def test_calls_that_answer_otherwise_are_told(request_of, tmp_path):
    request = request_of()
    answers = {"y": np.zeros((5, 3), np.float32), "sum": np.zeros(5, np.float32)}
    write_tensors(tmp_path / "wrong", answers)
    assert "y" in served({**request, "reference": str(tmp_path / "wrong")}, "check")[1]["differs"]
    write_tensors(tmp_path / "other", {"z": np.zeros((5, 3), np.float32)})
    told = served({**request, "reference": str(tmp_path / "other")}, "check")[1]["differs"]
    assert told == "it gives none of the source's outputs"


def test_turns_are_counted_and_paired(request_of, tmp_path):
    entries = [Entry("a", request_of("run")), Entry("b", request_of("IO binding"))]
    heard = []
    results, left_out = contest.hold(entries, QUICK, tmp_path / "contest", heard.append)
    assert left_out == {}
    assert set(results) == {"a", "b"}
    for result in results.values():
        assert np.shape(result.rounds["one_row"]) == np.shape(result.rounds["batch"]) == (2, 2)
        assert len(result.calls["one_row"]) >= 2 * 2 * contest.FEWEST_CALLS
        assert len(result.cold_seconds) == len(result.peaks) == 2
        assert result.in_batch == 12
    assert sum("start 1 of 2" in text for text in heard) == 4
    assert children_of(os.getpid()) == []


def children_of(pid: int) -> list[int]:
    """The running children of this process that are contestants."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
            words = (path.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z" and (b"benchmarking" in words or b"fake.py" in words):
            found.append(int(path.parent.name))
    return found


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Put a program in the place of the child's; it has `tell` and `line`."""

    def put(text: str) -> None:
        path = tmp_path / "fake.py"
        head = "import json, os, sys, time, signal\ndef tell(**told): print(json.dumps(told), flush=True)\n"
        ready = "tell(call='f', cold_seconds=0.5, batches=True, in_batch=4)\n"
        path.write_text(head + textwrap.dedent(text).replace("READY", ready))
        monkeypatch.setattr(contestant, "CHILD", (sys.executable, str(path)))

    return put


REQUEST = {"threads": 1}
READY = "READY\n"


@pytest.mark.parametrize(
    ("program", "error", "says"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", ConversionFailed, "crashed (SIGSEGV)"),
        ("os.kill(os.getpid(), signal.SIGKILL)", OutOfResources, "killed (SIGKILL)"),
        ("print('no kernel', file=sys.stderr); sys.exit(3)", ConversionFailed, "status 3: no kernel"),
        ("tell(error='NotVerified', message='it cannot', where=None, hint='mend')", NotVerified, "it cannot"),
        ("print('half a li', end='', flush=True)", ConversionFailed, "ended with status 0"),
        ("time.sleep(60)", OutOfResources, "did not answer within 0.5 s"),
    ],
)
def test_one_that_fails_to_start_is_told_by_name_and_leaves_nothing(fake, tmp_path, monkeypatch, program, error, says):
    fake(program)
    if "sleep" in program:
        monkeypatch.setattr(contestant, "ANSWER_SECONDS", 0.5)
    with pytest.raises(error) as raised:
        Contestant("model.x, way", REQUEST, tmp_path / "c")
    assert says in raised.value.message
    assert raised.value.where.startswith("model.x, way")
    assert children_of(os.getpid()) == []


@pytest.mark.parametrize("line", ["check", "warm one_row", "memory", "warm batch"])
def test_one_that_dies_later_ends_all(fake, tmp_path, line):
    fake(f"""
        READY
        for line in sys.stdin:
            if line.startswith({line!r}):
                os.kill(os.getpid(), signal.SIGBUS)
            tell(differs=None, nanoseconds=[1000] * 3 if line[0] in "ob" else 1e9, peak_rss_bytes=None)
    """)
    entries = [Entry("a", REQUEST), Entry("b", REQUEST)]
    with pytest.raises(ConversionFailed, match="SIGBUS") as raised:
        contest.hold(entries, QUICK, tmp_path / "contest", lambda text: None)
    assert raised.value.where in ("a", "b")
    assert children_of(os.getpid()) == []


@pytest.mark.parametrize("at", ["a", "one row", "batches"])
def test_nothing_is_left_of_a_contest_that_is_stopped(fake, tmp_path, at):
    fake("""
        READY
        for line in sys.stdin:
            tell(differs=None, nanoseconds=[1000] * 3 if line[0] in "ob" else 1e9, peak_rss_bytes=None)
    """)

    def stop(text: str) -> None:
        if text.endswith(at):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        contest.hold([Entry("b", REQUEST), Entry("a", REQUEST)], QUICK, tmp_path / "contest", stop)
    assert children_of(os.getpid()) == []


def test_one_that_would_be_timed_and_answers_otherwise_ends_it(fake, tmp_path):
    fake("""
        READY
        for line in sys.stdin:
            tell(differs="output 'y' differs")
    """)
    with pytest.raises(ParityFailed, match="what would be timed answers otherwise: output 'y' differs"):
        contest.hold([Entry("a", REQUEST)], QUICK, tmp_path / "contest", lambda text: None)


def test_a_way_that_cannot_be_called_is_left_out_with_its_reason(fake, tmp_path):
    fake("""
        request = json.loads(open(sys.argv[1]).read())
        if request["way"] == "no":
            tell(error="NotVerified", message="it holds strings", where=None, hint=None)
            sys.exit(6)
        READY
        for line in sys.stdin:
            tell(differs=None, nanoseconds=[1000] * 3 if line[0] in "ob" else 1e9, peak_rss_bytes=5)
    """)
    entries = [Entry("a", {**REQUEST, "way": "yes"}), Entry("b", {**REQUEST, "way": "no"})]
    results, left_out = contest.hold(entries, QUICK, tmp_path / "contest", lambda text: None)
    assert set(results) == {"a"}
    assert left_out["b"].message == "it holds strings"
    assert results["a"].cold_seconds == [0.5, 0.5]


def test_what_a_library_prints_is_no_answer(request_of, tmp_path, monkeypatch):
    program = tmp_path / "fake.py"
    program.write_text(
        "import sys\nfrom mlconvert.benchmarking import child\nserve = child.serve\n"
        "def noisy(*words):\n    print('Finished loading model', flush=True)\n    serve(*words)\n"
        "child.serve = noisy\nsys.exit(child.main(sys.argv[1:]))\n"
    )
    monkeypatch.setattr(contestant, "CHILD", (sys.executable, str(program)))
    one = Contestant("a", request_of(), tmp_path / "c")
    assert len(one.turn("one_row", 3)) == 3
    one.end()
    assert "Finished loading model" in (tmp_path / "c" / "log.txt").read_text()


@pytest.mark.parametrize(
    ("nanoseconds", "calls"), [(5e9, 1), (1e8, 3), (1e6, 50), (1e3, contest.MOST_CALLS), (0, 2000)]
)
def test_a_turn_is_as_many_calls_as_fit(nanoseconds, calls):
    assert contest.calls_of(nanoseconds, 0.05) == calls


def test_it_is_warm_when_it_gets_no_faster():
    made = []

    def turn(calls):  # the first 500 calls take twice as long
        made.extend(range(calls))
        return [2_000_000 if len(made) <= 500 else 1_000_000] * calls

    assert child._warm(turn, 0.05, 600) == 1_000_000
    assert len(made) >= 600
    begun = time.monotonic()
    child._warm(
        lambda calls: [time.sleep(0.001) or 1_000_000] * calls, 0.02, 10**9
    )  # as long as it may take, no longer
    assert time.monotonic() - begun < 10
