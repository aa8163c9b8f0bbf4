"""`lint --serve`: what the real server says of a repository, level by level, and that the user's copy is left alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper

from mlconvert import records
from mlconvert.artifact import file_sha256
from mlconvert.errors import MissingPackage, NotVerified, UsageError
from mlconvert.onnx_model.files import onnx_artifact
from mlconvert.operations.serve import serve_findings
from mlconvert.operations.wire import names_between, parity_over_wire, served_names
from mlconvert.repositories.triton import publish
from mlconvert.signature import Signature, TensorSpec
from mlconvert.tensors.rows import encode_rows


def made(folder: Path, *, add=1.0, wrong=False, rows=5, opset=17, kept=True, default: str = "n") -> Path:
    """The folder of a model `y = x + add` and `sign` of x, with its record."""
    folder.mkdir(parents=True)
    nodes = [helper.make_node("Add", ["x", "a"], ["y"]), helper.make_node("Sign", ["x"], ["sign"])]
    inputs = [helper.make_tensor_value_info("x", T.FLOAT, [default, 3])]
    outputs = [helper.make_tensor_value_info(name, T.FLOAT, [default, 3]) for name in ("y", "sign")]
    graph = helper.make_graph(nodes, "g", inputs, outputs, [helper.make_tensor("a", T.FLOAT, [1], [add])])
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)
    artifact = onnx_artifact(path, (path,))
    x = np.linspace(-2, 2, rows * 3, dtype=np.float32).reshape(rows, 3)
    y = x + np.float32(add + wrong)
    described = records.described_files(artifact, {path.name: file_sha256(path)})
    record = {
        "schema": records.SCHEMA,
        "format": "onnx",
        "path": path.name,
        "files": described,
        "sha256": records.total_sha256(described),
        "source": {"path": "model.txt", "format": "lightgbm", "sha256": "0" * 64},
        "signature": artifact.signature.as_json(),
        "renamed": {"answer": "y"},
        "precision": "float32",
        "tolerances": {"rtol": 1e-5, "atol": 1e-6, "outputs": {"sign": {"rtol": 0, "atol": 0}}},
        "parity": {"ok": True, "samples": rows},
        "rows": encode_rows({"x": x}, {"answer": y, "sign": np.sign(x)}, count=rows, limit=1 << 20) if kept else None,
    }
    records.write_json(folder / records.IN_FOLDER, record)
    return folder


def published(tmp_path: Path, name: str, *, warmup="no", options=None, **kwargs) -> Path:
    folder = made(tmp_path / "made" / name, **kwargs)
    record, path = records.find(folder / "model.onnx")
    artifact = records.artifact_of(record, path.parent)
    publish(artifact, tmp_path / "repository", name, options={"warmup": warmup, **(options or {})}, record=record)
    return tmp_path / "repository"


def edit(repository: Path, name: str, old: str, new: str) -> None:
    config = repository / name / "config.pbtxt"
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))


def told(findings) -> dict[str, tuple[str, str]]:
    return {finding.model: (finding.level, finding.code) for finding in findings}


def state(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(folder)): (path.read_bytes() if path.is_file() else b"", path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
    }


def test_every_level(tmp_path):
    for name in ("good", "silent", "gpu", "typo", "unfit", "halved"):
        published(tmp_path, name)
    published(tmp_path, "unkept", kept=False)
    repository = published(tmp_path, "wrong", wrong=True)
    (repository / "silent/1/record.json").unlink()
    edit(repository, "gpu", "instance_group {", "instance_group { kind: KIND_GPU")
    edit(repository, "typo", '"onnxruntime"', '"onnxruntim"')
    edit(repository, "unfit", "TYPE_FP32", "TYPE_FP64")
    shutil.copytree(repository / "good", repository / "plan")
    edit(repository, "plan", 'backend: "onnxruntime"', 'backend: "tensorrt"')
    edit(repository, "plan", 'name: "good"', 'name: "plan"')
    file = repository / "halved/1/model.onnx"
    file.write_bytes(file.read_bytes()[:60])
    before = state(repository)

    findings, entries = serve_findings(repository)
    assert told(findings) == {
        "gpu": ("unchecked", "no-gpu"),
        "halved": ("error", "load-failed"),
        "plan": ("unchecked", "no-backend"),
        "silent": ("unchecked", "no-record"),
        "typo": ("error", "load-failed"),
        "unfit": ("error", "load-failed"),
        "unkept": ("unchecked", "no-rows"),
        "wrong": ("error", "wrong-answer"),
    }
    assert all(finding.fix and finding.file.startswith(finding.model) for finding in findings)
    by_model = {finding.model: finding.message for finding in findings}
    assert "configuration expects datatype TYPE_FP64 for input 'x', model provides TYPE_FP32" in by_model["unfit"]
    assert "this server has no backend 'tensorrt'" in by_model["plan"]
    wrong = [finding.message for finding in findings if finding.model == "wrong"]
    assert [text.partition(": ")[0] for text in wrong] == ["version 1 over HTTP", "version 1 over gRPC"]
    assert "15 of 15 values of output 'answer' are further off" in wrong[0]

    answered = {entry["name"]: entry for entry in entries}
    assert sorted(answered) == ["good", "silent", "unkept", "wrong"]
    good = answered["good"]
    assert (good["version"], good["http"]["ok"], good["grpc"]["ok"], good["http"]["samples"]) == (1, True, True, 5)
    assert {row["name"] for row in good["grpc"]["outputs"]} == {"answer", "sign"}
    assert answered["silent"]["http"] is None
    json.dumps(entries)
    assert state(repository) == before  # not a byte, not a time of the user's


def test_batches_versions_and_part_of_the_outputs(tmp_path):
    repository = published(tmp_path, "m", rows=7, options={"max_batch_size": 2})
    shutil.rmtree(tmp_path / "made")
    published(tmp_path, "m", add=5.0, options={"max_batch_size": 2, "version_policy": "all"})
    shutil.rmtree(tmp_path / "made")
    published(tmp_path, "fixed", default=1)
    findings, entries = serve_findings(repository)
    assert findings == ()
    assert [(entry["name"], entry["version"], entry["http"]["samples"]) for entry in entries] == [
        ("fixed", 1, 5), ("m", 1, 7), ("m", 2, 5),
    ]  # fmt: skip
    text = (repository / "m/config.pbtxt").read_text()
    place = text.index('output {\n  name: "sign"')
    (repository / "m/config.pbtxt").write_text(text[:place] + text[text.index("}\n", place) + 2 :])
    findings, entries = serve_findings(repository, names=["m"])
    assert findings == ()
    assert {row["name"] for entry in entries for row in entry["grpc"]["outputs"]} == {"answer"}


def test_a_release_bounds_what_loads(tmp_path):
    repository = published(tmp_path, "m", opset=22)
    assert serve_findings(repository)[0] == ()
    (finding,), _ = serve_findings(repository, release="24.10")
    assert (finding.level, finding.code) == ("error", "load-failed")
    assert "official support for domain ai.onnx is till opset 21" in finding.message
    with pytest.raises(UsageError, match=r"no limits are known of Triton '19\.01'"):
        serve_findings(repository, release="19.01")


CRASH = """
import os, signal
class TritonPythonModel:
    def initialize(self, args):
        os.kill(os.getppid(), signal.SIGKILL)
    def execute(self, requests):
        return []
"""


def test_a_model_that_takes_the_server_down_does_not_hide_the_others(tmp_path):
    repository = published(tmp_path, "after")
    (repository / "a_crash/1").mkdir(parents=True)
    (repository / "a_crash/1/model.py").write_text(CRASH)
    shutil.copy(repository / "after/config.pbtxt", repository / "a_crash")
    edit(repository, "a_crash", 'name: "after"', 'name: "a_crash"')
    edit(repository, "a_crash", '"onnxruntime"', '"python"')
    findings, entries = serve_findings(repository)
    assert told(findings) == {"a_crash": ("error", "server-died")}
    assert [entry["name"] for entry in entries] == ["after"]


def test_a_name_that_is_no_model_and_no_server(tmp_path, monkeypatch):
    repository = published(tmp_path, "model")
    with pytest.raises(UsageError, match=r"no model 'modle'.*Did you mean 'model'"):
        serve_findings(repository, names=["modle"])
    with pytest.raises(MissingPackage, match="holds no tritonserver"):
        serve_findings(repository, server=tmp_path / "nothing")


# --- names ---


def specs(*names: str) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(name, "float32", ("batch", 1)) for name in names)


def test_names_of_the_backend_are_paired_in_the_artifacts_order():
    record = {
        "renamed": {"p": "probabilities"},
        "signature": Signature(specs("b", "a"), specs("probabilities")).as_json(),
        "rows": {"inputs": {"a": 0, "b": 0}, "outputs": {"p": 0}},
    }
    served = Signature(specs("INPUT__0", "INPUT__1"), specs("OUTPUT__0"))
    assert served_names(record, served) == {"b": "INPUT__0", "a": "INPUT__1", "p": "OUTPUT__0"}
    assert served_names(record, Signature(specs("a", "b"), specs("probabilities"))) == {"p": "probabilities"}
    assert names_between(record["signature"], served)["b"] == "INPUT__0"
    # What TensorFlow forbids in a name is told apart from what has another name.
    forbidden = {"inputs": [{"name": "z:0"}, {"name": "/a.b"}, {"name": "1"}], "outputs": []}
    assert names_between(forbidden, Signature(specs("a_b", "arg_1", "z_0"), ())) == {
        "z:0": "z_0", "/a.b": "a_b", "1": "arg_1",
    }  # fmt: skip
    # Where the numbers differ nothing is guessed: parity says what is missing.
    assert served_names(record, Signature(specs("INPUT__0"), specs("OUTPUT__0"))) == {"p": "OUTPUT__0"}


def test_a_record_without_rows_is_told_before_anything_is_asked():
    with pytest.raises(NotVerified, match="keeps no rows"):
        parity_over_wire(None, "m", 1, {"rows": None})
