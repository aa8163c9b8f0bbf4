"""What a machine of a cluster does with what it is sent: refuses first, works once, tells what happened. No Ray."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from mlconvert import packages
from mlconvert.artifact import Artifact, file_sha256
from mlconvert.execution.jobs import Terms
from mlconvert.execution.versions import Versions, versions_for
from mlconvert.fleet import node
from mlconvert.fleet.shipments import pack, rows_of
from mlconvert.fleet.store import open_store
from mlconvert.recipe import LimitsSpec


@pytest.fixture
def fleet(tmp_path, monkeypatch):
    monkeypatch.setenv("MLCONVERT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    return Fleet(tmp_path)


class Fleet:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = open_store(folder / "store", make=True)
        self.told: list[dict] = []
        (folder / "rows.csv").write_text("x\n1\n2\n")

    def put(self, path: Path) -> str:
        self.store.put(path, digest := file_sha256(path))
        return digest

    def order(self, small_onnx, **changes):
        source = Artifact("onnx", str(small_onnx), (small_onnx,)).as_json()
        request = {
            "job": "convert",
            "converter": "onnx:optimize",
            "options": {},
            "source": source,
            "samples": None,
            "filename": "made.onnx",
        }
        return {
            "name": "one",
            "step": "optimize",
            "store": str(self.folder / "store"),
            "versions": versions_for(rows_of(request)).as_json(),
            "shipment": pack(request, self.put).as_json(),
            "terms": asdict(Terms({"it": 1})),
            "machines": [None],
            "limits": asdict(LimitsSpec()),
            **changes,
        }

    def work(self, order):
        return json.loads(node.work(json.dumps(order), "node-1", self.told.append))


def refused(answer):
    return answer["failed"]["error"], answer["failed"]["message"], answer["failed"]["hint"]


def test_a_job_is_done_and_what_it_made_is_in_the_store(fleet, small_onnx):
    answer = fleet.work(fleet.order(small_onnx))
    note = fleet.store.note(answer["key"])
    assert list(note["files"]) == ["made.onnx"]
    assert note["node"] == "node-1"
    assert note["result"]["artifact"]["location"] == "made.onnx"
    assert "sha256" not in note["result"]
    assert note["environment"]["packages"]["onnx"]
    fleet.store.fetch(note["files"]["made.onnx"], fleet.folder / "made.onnx")
    assert list((fleet.folder / "scratch").iterdir()) == []


def test_a_job_that_was_done_is_not_done_again(fleet, small_onnx, monkeypatch):
    order = fleet.order(small_onnx)
    first = fleet.work(order)
    monkeypatch.setattr(node, "Children", lambda limits: pytest.fail("it was done before"))
    assert fleet.work(order)["key"] == first["key"]


def test_bound_results_are_those_of_this_machine_or_of_one_that_counts(fleet, small_onnx, monkeypatch):
    terms = asdict(Terms({"it": 1}, bound=True, hardware="H100"))
    monkeypatch.setattr(node, "_machine", lambda visible: "digest-here")
    first = fleet.work(fleet.order(small_onnx, terms=terms, machines=["digest-there"]))
    assert first["key"] == Terms({"it": 1}, bound=True).key("digest-here")
    assert fleet.store.note(first["key"])["machine"] == "digest-here"
    monkeypatch.setattr(node, "_machine", lambda visible: "digest-of-a-third")
    again = fleet.work(fleet.order(small_onnx, terms=terms, machines=["digest-there", "digest-here"]))
    assert again["key"] == first["key"]


def test_what_a_users_own_module_answered_is_told_apart_by_that_module():
    keys = {
        node.note_key(Terms({"it": 1}), {"depends": depends}, None)
        for depends in ({}, {"/a/net.py": "1"}, {"/a/net.py": "2"})
    }
    assert len(keys) == 3


def other_versions(order, **changes):
    return {**order, "versions": replace(Versions.from_json(order["versions"]), **changes).as_json()}


@pytest.mark.parametrize(
    ("changes", "told", "mends"),
    [
        ({"mlconvert": "9.9"}, "was made by mlconvert 9.9; here it is", "pip install mlconvert==9.9"),
        ({"code": "0" * 64}, "here it has other code", "the same commit"),
        ({"python": "2.7"}, "Python 2.7; here it is", "Python 2.7"),
        ({"packages": {"onnx": "0.1"}}, "onnx 0.1, here", "pip install onnx==0.1"),
    ],
)
def test_other_versions_are_refused_before_the_work(fleet, small_onnx, monkeypatch, changes, told, mends):
    monkeypatch.setattr(node, "unpack", lambda *_: pytest.fail("it works with the wrong versions"))
    error, message, hint = refused(fleet.work(other_versions(fleet.order(small_onnx), **changes)))
    assert error == "MissingPackage"
    assert told in message
    assert mends in hint


def test_an_order_of_an_unknown_form_is_refused_by_its_versions_first():
    order = {"versions": {"mlconvert": "9.9", "code": "x", "python": "3.99", "packages": {}}, "news": True}
    answers = (node.look(json.dumps(order)), node.work(json.dumps(order), "node-1", lambda told: None))
    assert [refused(json.loads(text))[0] for text in answers] == ["MissingPackage"] * 2


def test_a_package_that_is_missing_there_is_told_with_its_install_line(fleet, small_onnx, monkeypatch):
    order = fleet.order(small_onnx)
    monkeypatch.setattr(packages, "installed", lambda package: package.module != "onnxruntime")
    order["shipment"]["request"]["converter"] = "onnx:onnxruntime"
    error, message, hint = refused(fleet.work(order))
    assert (error, hint) == ("MissingPackage", "pip install onnxruntime")
    assert "needs onnxruntime" in message


def test_a_store_that_is_not_seen_is_refused(fleet, small_onnx):
    elsewhere = str(fleet.folder / "elsewhere")
    error, message, hint = refused(fleet.work(fleet.order(small_onnx, store=elsewhere)))
    assert error == "UsageError"
    assert f"{elsewhere} is not seen from this machine" in message
    assert "--store" in hint
    look = {"versions": versions_for(()).as_json(), "store": str(fleet.folder / "store"), "probe": "0" * 64}
    error, message, _ = refused(json.loads(node.look(json.dumps({**look, "machine": False}))))
    assert error == "UsageError"
    assert "another folder is there" in message


def test_a_machine_that_may_take_part_says_so(fleet):
    (fleet.folder / "probe").write_bytes(b"random")
    look = {"versions": versions_for(()).as_json(), "store": str(fleet.folder / "store")}
    look["probe"] = fleet.put(fleet.folder / "probe")
    assert json.loads(node.look(json.dumps({**look, "machine": False})))["machine"] is None
    assert len(json.loads(node.look(json.dumps({**look, "machine": True})))["machine"]) == 64


def test_a_step_that_fails_is_told_with_its_log_and_leaves_nothing(fleet, small_onnx):
    small = fleet.folder / "broken.onnx"
    small.write_bytes(small_onnx.read_bytes()[:-9])
    answer = fleet.work(fleet.order(small))
    assert answer["failed"]["error"] == "ConversionFailed"
    assert answer["node"] == "node-1"
    assert "Traceback" in answer["log"]
    assert list((fleet.folder / "scratch").iterdir()) == []
    assert not list((fleet.folder / "store" / "done").rglob("*.json"))
    assert not (fleet.folder / "cache" / "failed").exists()  # the run keeps it, where its user looks


def test_a_file_that_was_tampered_with_is_refused_by_name(fleet, small_onnx):
    order = fleet.order(small_onnx)
    (digest,) = order["shipment"]["files"].values()
    (fleet.folder / "store" / "blobs" / digest[:2] / digest).write_bytes(b"another model")
    error, message, _ = refused(fleet.work(order))
    assert error == "RepositoryInvalid"
    assert "not what its name says" in message


def test_a_bug_is_an_answer_too(fleet, small_onnx, monkeypatch):
    monkeypatch.setattr(node, "unpack", lambda *_: 1 / 0)
    error, message, _ = refused(fleet.work(fleet.order(small_onnx)))
    assert (error, message) == ("MlconvertError", "ZeroDivisionError: division by zero")
