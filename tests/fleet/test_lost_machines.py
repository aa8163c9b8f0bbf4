"""Machines that are lost, and what Ray says of it, as the run's side sees them: with a cluster that is made up."""

from __future__ import annotations

import json
from concurrent.futures import Future
from pathlib import Path

import pytest

from mlconvert.artifact import Artifact
from mlconvert.errors import ConversionFailed, HardwareMismatch, MissingPackage, OutOfResources
from mlconvert.execution.jobs import Cancelled, Terms
from mlconvert.fleet import cluster as clusters
from mlconvert.fleet import node, workers
from mlconvert.fleet.cluster import Lost, Machine, Sent
from mlconvert.fleet.requirements import type_of
from mlconvert.fleet.store import open_store
from mlconvert.fleet.workers import RETRIES, Fleet
from mlconvert.recipe import LimitsSpec

H100 = Machine("id-of-h100", "gpu-1", ("H100",), 8.0)
A100 = Machine("id-of-a100", "gpu-2", ("A100",), 8.0)


class MadeUp:
    """A cluster whose machines do the work here, when `plan` does not say otherwise of the next job."""

    def __init__(self, *plan):
        self.plan = list(plan)
        self.up = [H100, A100]
        self.asked = []

    def machines(self):
        return list(self.up)

    def told(self):
        return []

    def work(self, order, kind, on):
        self.asked.append((kind, on))
        then = self.plan.pop(0) if self.plan else None
        answer: Future[str] = Future()
        if isinstance(then, Exception):
            answer.set_exception(then)
        elif then is None:
            answer.set_result(node.work(order, (H100 if kind == "H100" else A100).id, lambda told: None))
        else:
            then(self)  # and no answer
        return Told("reference", answer)


class Told(Sent):
    def wait(self, seconds):
        try:
            return self.answer.result(seconds)
        except TimeoutError:
            return None

    def cancel(self, *, force):
        if not self.answer.done():
            self.answer.set_exception(Cancelled())


@pytest.fixture
def made_up(tmp_path, monkeypatch):
    monkeypatch.setenv("MLCONVERT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(workers, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(node, "_machine", lambda visible: "digest-of-h100")
    fleets = []

    def make(*plan):
        cluster = MadeUp(*plan)
        store = open_store(tmp_path / "store", make=True)
        digests = {H100.id: "digest-of-h100", A100.id: "digest-of-a100"}
        fleets.append(Fleet(cluster, store, LimitsSpec(), 2, 1, {"H100": "H100", "a100": "A100"}, digests))
        return cluster, fleets[-1]

    yield make
    for fleet in fleets:
        fleet.stop()


def request(model):
    source = Artifact("onnx", str(model), (model,)).as_json()
    return {"job": "convert", "converter": "onnx:optimize", "options": {}, "source": source, "samples": None,
            "filename": "made.onnx"}  # fmt: skip


BOUND = Terms({"it": 1}, bound=True, hardware="H100")


def test_what_is_lost_is_sent_again_and_said(made_up, small_onnx, tmp_path):
    cluster, fleet = made_up(Lost("gone"), Lost("gone"))
    told = []
    done = fleet.run("optimize", request(small_onnx), tmp_path / "job", told.append, BOUND)
    assert (done.out / "made.onnx").is_file()
    assert done.machine == "digest-of-h100"
    assert done.result["ran"]["node"] == "gpu-1 (H100, id-of-h1)"
    assert cluster.asked == [("H100", None)] * 3
    assert [one.note for one in told] == [f"its machine was lost; sent again ({n} of {RETRIES})" for n in (1, 2)]


def test_it_is_not_sent_for_ever(made_up, small_onnx, tmp_path):
    cluster, fleet = made_up(*[Lost("node gpu-1 died")] * (RETRIES + 1))
    with pytest.raises(OutOfResources, match="node gpu-1 died") as caught:
        fleet.run("optimize", request(small_onnx), tmp_path / "job", terms=BOUND)
    assert len(cluster.asked) == RETRIES + 1
    assert caught.value.where.startswith("step 'optimize'")


def test_one_that_was_done_before_its_machine_was_lost_is_not_done_again(made_up, small_onnx, tmp_path, monkeypatch):
    cluster, fleet = made_up()
    fleet.run("optimize", request(small_onnx), tmp_path / "first", terms=BOUND)
    monkeypatch.setattr(node, "Children", lambda limits: pytest.fail("it was done"))
    again = fleet.run("optimize", request(small_onnx), tmp_path / "again", terms=BOUND)
    assert again.cached
    assert len(cluster.asked) == 1


def test_the_last_machine_of_a_type_is_not_waited_for(made_up, small_onnx, tmp_path):
    _, fleet = made_up(lambda cluster: cluster.up.remove(H100))
    with pytest.raises(HardwareMismatch, match="no machine with an accelerator of the type H100 any more"):
        fleet.run("optimize", request(small_onnx), tmp_path / "job", terms=BOUND)


def test_what_is_about_an_artifact_goes_where_that_was_made(made_up, small_onnx, tmp_path):
    cluster, fleet = made_up()
    terms = Terms({"it": 2}, hardware="H100", like="digest-of-h100")
    fleet.run("verify", request(small_onnx), tmp_path / "job", terms=terms)
    assert cluster.asked == [("H100", H100.id)]


def test_a_stopped_run_sends_nothing_more(made_up, small_onnx, tmp_path):
    cluster, fleet = made_up()
    fleet.stop()
    with pytest.raises(Cancelled):
        fleet.run("optimize", request(small_onnx), tmp_path / "job", terms=BOUND)
    assert cluster.asked == []


def test_what_a_machine_cannot_do_is_told_with_its_name_and_kept_here(made_up, tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"\x08\x09broken")
    _, fleet = made_up()
    with pytest.raises(ConversionFailed) as caught:
        fleet.run("optimize", request(broken), tmp_path / "job", terms=BOUND)
    first, log, _ = caught.value.where.splitlines()
    assert first.startswith("step 'optimize' on gpu-1 (H100, id-of-h1)")
    assert "Traceback" in Path(log.removeprefix("log: ")).read_text()


def test_types_are_found_however_they_are_written():
    assert type_of("h100", [H100, A100]) == "H100"
    with pytest.raises(HardwareMismatch, match="its machines have A100, H100"):
        type_of("L4", [H100, A100])
    with pytest.raises(HardwareMismatch, match="none of its machines has a GPU"):
        type_of("L4", [])


def test_what_ray_says_is_understood():
    from ray import exceptions

    cases = [
        (exceptions.TaskCancelledError(), Cancelled),
        (exceptions.OutOfMemoryError("killed"), OutOfResources),
        (exceptions.WorkerCrashedError(), Lost),
        (exceptions.NodeDiedError("10.0.0.7"), Lost),
        (ConnectionError("gone"), Lost),
        (
            exceptions.RayTaskError("f", "ModuleNotFoundError: No module named 'mlconvert'", ImportError()),
            MissingPackage,
        ),
        (exceptions.RayTaskError("f", "ZeroDivisionError: it", ZeroDivisionError()), ConversionFailed),
    ]
    assert [type(clusters._told(error)) for error, _ in cases] == [kind for _, kind in cases]
    assert json.dumps(clusters._told(cases[5][0]).as_json()).count("pip install 'mlconvert[ray]==")
