"""`mlconvert verify MODEL tfserving://…`: a model that a TensorFlow Serving serves, over REST and over gRPC."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from jsonschema.validators import Draft202012Validator
from onnx import TensorProto, helper

from mlconvert import records
from mlconvert.artifact import file_sha256
from mlconvert.cli import main
from mlconvert.errors import NotVerified, UsageError
from mlconvert.formats import recognise, source_artifact, source_sha256
from mlconvert.report import SCHEMA
from mlconvert.runners.saved_model import signature
from mlconvert.serving.locations import parse_served
from mlconvert.serving.processes import free_ports
from mlconvert.serving.tf_serving.client import connect
from mlconvert.serving.tf_serving.home import find_model_server
from mlconvert.serving.tf_serving.server import started
from mlconvert.tensors.rows import encode_rows

CONFIG = """
config {{
  name: "small" base_path: "{root}/small" model_platform: "tensorflow"
  model_version_policy {{ all {{}} }} version_labels {{ key: "prod" value: 1 }}
}}
config {{ name: "half" base_path: "{root}/half" model_platform: "tensorflow" }}
config {{ name: "kinds" base_path: "{root}/kinds" model_platform: "tensorflow" }}
config {{ name: "single" base_path: "{root}/single" model_platform: "tensorflow" }}
"""


def written(path, nodes, inputs, outputs):
    """An ONNX model whose tensors all have a batch axis: name -> type, or (type, columns)."""

    def infos(tensors):
        rows = {name: kind if isinstance(kind, tuple) else (kind,) for name, kind in tensors.items()}
        return [helper.make_tensor_value_info(name, kind, ["batch", *more]) for name, (kind, *more) in rows.items()]

    graph = helper.make_graph(nodes, path.stem, infos(inputs), infos(outputs))
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory, small_onnx):
    """ONNX models, by name."""
    folder = tmp_path_factory.mktemp("onnx")
    kinds = {
        "word": (TensorProto.STRING, 2), "count": TensorProto.INT64, "flag": TensorProto.BOOL,
        "ratio:0": TensorProto.DOUBLE, "small": TensorProto.INT8, "big": TensorProto.UINT64,
    }  # fmt: skip
    answers = {
        "text": (TensorProto.STRING, 2), "text_bytes": (TensorProto.STRING, 2), "counted": TensorProto.INT64,
        "flagged": TensorProto.BOOL, "doubled": TensorProto.DOUBLE, "smaller": TensorProto.INT8,
        "bigger": TensorProto.UINT64,
    }  # fmt: skip
    nodes = [
        helper.make_node("Identity", ["word"], ["text"]),
        helper.make_node("Identity", ["word"], ["text_bytes"]),
        helper.make_node("Add", ["count", "count"], ["counted"]),
        helper.make_node("Not", ["flag"], ["flagged"]),
        helper.make_node("Add", ["ratio:0", "ratio:0"], ["doubled"]),
        helper.make_node("Identity", ["small"], ["smaller"]),
        helper.make_node("Identity", ["big"], ["bigger"]),
    ]
    half = {"x": (TensorProto.FLOAT16, 2)}
    return {
        "small": small_onnx,
        "kinds": written(folder / "kinds.onnx", nodes, kinds, answers),
        "half": written(
            folder / "half.onnx",
            [helper.make_node("Add", ["x", "x"], ["y"])],
            half,
            {"y": (TensorProto.FLOAT16, 2)},
        ),
        "single": written(
            folder / "single.onnx",
            [helper.make_node("Identity", ["b64"], ["y"])],
            {"b64": TensorProto.STRING},
            {"y": TensorProto.STRING},
        ),
    }


@pytest.fixture(scope="module")
def served(models, tmp_path_factory):
    """All of them served, the small one in two versions, with a label: how to name one over each protocol."""
    from mlconvert.converters.onnx_to_saved_model import convert

    root = tmp_path_factory.mktemp("served")
    for name, path in models.items():
        (root / name / "1").mkdir(parents=True)
        convert(source_artifact(str(path)), root / name / "1" / "saved_model.pb")
    shutil.copytree(root / "small/1", root / "small/2")
    (root / "models.config").write_text(f"model_config_list {{ {CONFIG.format(root=root)} }}")
    flags = [f"--model_config_file={root}/models.config", "--allow_version_labels_for_unavailable_models=true"]
    with started(find_model_server(), flags) as server:
        yield SimpleNamespace(
            rest=lambda path: f"tfserving://{server.rest}/{path}",
            grpc=lambda path: f"tfserving+grpc://{server.grpc}/{path}",
            root=root,
        )


def verify(capsys, *arguments):
    code = main(["verify", *(str(argument) for argument in arguments), "--json"])
    told = capsys.readouterr()
    report = json.loads(told.out)
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(report)
    return code, report, told.err


def why(report):
    error = report["targets"][0]["error"]
    return error["message"]


def test_a_served_model_is_verified_over_both_protocols(served, models, tmp_path, capsys):
    np.savez(tmp_path / "rows.npz", x=np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32))
    digests = set()
    for location in (served.rest("small"), served.grpc("small/2"), served.rest("small/prod")):
        code, report, said = verify(capsys, models["small"], location, "--samples", tmp_path / "rows.npz")
        assert code == 0, said
        (target,) = report["targets"]
        assert (target["path"], target["format"], target["bytes"]) == (location, "tf-serving", None)
        digests.add(target["sha256"])
        parity = target["steps"][0]["parity"]
        assert (parity["ok"], parity["samples"]) == (True, 10)
        assert [row["shape"] for row in parity["outputs"]] == [[10, 3], [10]]
        assert not target["steps"][0]["cached"]
    assert len(digests) == 2, "of the newest version, however it is asked for, and of another one"
    # And the other way round, with samples that are made.
    code, report, _ = verify(capsys, served.grpc("small"), models["small"])
    assert (code, report["source"]["format"], report["source"]["path"]) == (0, "tf-serving", served.grpc("small"))


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_every_kind_of_value_comes_through(served, models, tmp_path, capsys, protocol):
    rows = {
        "word": np.array([["a", ""], ["ä\n", '"'], ["\\", "日本"], ["x", "\u2028"]]),
        "count": np.array([1, -(2**61), 2**61 + 1, 0]),
        "flag": np.array([True, False, True, False]),
        "ratio:0": np.array([0.1, np.nan, np.inf, -np.inf]),
        "small": np.array([-128, 127, 0, 1], np.int8),
        "big": np.array([2**64 - 1, 0, 2**63, 1], np.uint64),
    }
    np.savez(tmp_path / "rows.npz", **rows)
    location = getattr(served, protocol)("kinds")
    code, report, said = verify(capsys, models["kinds"], location, "--samples", tmp_path / "rows.npz")
    assert code == 0, said
    assert len(report["targets"][0]["steps"][0]["parity"]["outputs"]) == 7


def rows_of_kinds(count, ratios=None):
    return {
        "word": np.full((count, 2), "a"), "count": np.arange(count), "flag": np.zeros(count, bool),
        "ratio_0": np.zeros(count) if ratios is None else ratios, "small": np.zeros(count, np.int8),
        "big": np.zeros(count, np.uint64),
    }  # fmt: skip


def test_every_double_arrives_as_it_is(served):
    """Over REST, too, where the server reads one in eight wrongly as Python writes them."""
    ratios = np.random.default_rng(0).normal(size=400)
    ratios[:2] = np.nextafter(0.1, 1), -np.finfo(np.float64).max / 4
    for location in (served.rest("kinds"), served.grpc("kinds")):
        with contextlib.closing(connect(parse_served(location).url)) as client:
            answers = client.predict("kinds", rows_of_kinds(400, ratios), version="1")
            assert answers["doubled"].tolist() == (2 * ratios).tolist()


def test_batches_without_rows(served):
    with contextlib.closing(connect(parse_served(served.grpc("kinds")).url)) as client:
        answers = client.predict("kinds", rows_of_kinds(0))
        assert {name: array.shape for name, array in answers.items()} == {
            "text": (0, 2), "text_bytes": (0, 2), "counted": (0,), "flagged": (0,), "doubled": (0,), "smaller": (0,),
            "bigger": (0,),
        }  # fmt: skip
    with contextlib.closing(connect(parse_served(served.rest("single")).url)) as client:
        assert client.predict("single", {"b64": np.array([], np.str_)})["y"].shape == (0,)
    with (
        contextlib.closing(connect(parse_served(served.rest("kinds")).url)) as client,
        pytest.raises(NotVerified, match=r"'word' of shape \[0, 2\] cannot be sent over REST"),
    ):
        client.predict("kinds", rows_of_kinds(0))


def test_what_only_grpc_carries(served, models, tmp_path, capsys):
    code, report, _ = verify(capsys, models["half"], served.rest("half"))
    assert code == 6
    assert "is float16, which TensorFlow Serving's REST API cannot carry" in why(report)
    assert "tfserving+grpc://" in report["targets"][0]["error"]["hint"]
    assert verify(capsys, models["half"], served.grpc("half"))[0] == 0


def test_a_name_that_rest_gives_a_meaning(served, models, tmp_path, capsys):
    np.savez(tmp_path / "rows.npz", b64=np.array(["w6Q=", "b"]))
    code, _, said = verify(capsys, models["single"], served.rest("single"), "--samples", tmp_path / "rows.npz")
    assert code == 0, said


def test_the_rows_of_a_record(served, models, tmp_path, capsys):
    import onnxruntime

    shutil.copytree(served.root / "small/1", tmp_path / "saved")
    artifact = source_artifact(str(tmp_path / "saved"))
    x = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    y, total = onnxruntime.InferenceSession(models["small"]).run(["y", "sum"], {"x": x})
    sums = {path.relative_to(artifact.folder).as_posix(): file_sha256(path) for path in artifact.files}
    described = records.described_files(artifact, sums)
    told = {
        "schema": records.SCHEMA, "format": "saved-model", "path": "saved_model.pb", "files": described,
        "sha256": records.total_sha256(described), "signature": signature(artifact).as_json(), "renamed": {},
        "precision": "float32", "tolerances": {"rtol": 1e-4, "atol": 1e-5, "outputs": {}},
        "source": {"format": "onnx", "path": "small.onnx", "sha256": "0" * 64},
        "rows": encode_rows({"x": x}, {"y": y, "sum": total}, count=6, limit=1 << 20),
    }  # fmt: skip
    records.write_json(tmp_path / "saved" / records.IN_FOLDER, told)
    for location in (served.rest("small"), served.grpc("small/prod")):
        code, report, said = verify(capsys, tmp_path / "saved", location)
        assert code == 0, said
        assert report["source"]["format"] == "onnx", "what the record's rows are the answers of"
        assert report["targets"][0]["steps"][0]["parity"]["samples"] == 6


def test_another_model_than_the_reference(served, models, tmp_path, capsys):
    model = onnx.load(models["small"])
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == "b")
    weight.CopyFrom(onnx.numpy_helper.from_array(np.zeros(3, np.float32), "b"))
    onnx.save(model, tmp_path / "other.onnx")
    code, report, _ = verify(capsys, tmp_path / "other.onnx", served.grpc("small"))
    assert (code, report["ok"]) == (5, False)
    assert "values of output 'y'" in why(report)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("nope", "has no model 'nope'"),
        ("small/9", "does not serve version 9 of 'small'"),
        ("small/stage", "'stage' is neither a version nor a label of the model 'small'"),
    ],
)
def test_what_is_not_served(served, models, capsys, path, said):
    for location in (served.rest(path), served.grpc(path)):
        code, report, _ = verify(capsys, models["small"], location)
        assert (code, report["ok"]) == (8, False)
        assert said in why(report)


def test_wrong_ports(served, models, capsys):
    (port,) = free_ports(1)
    crossed = served.rest("small").replace("tfserving://", "tfserving+grpc://")
    for location, said in (
        (f"tfserving://127.0.0.1:{port}/m", "no TensorFlow Serving is up"),
        (crossed, "speaks no gRPC of TensorFlow Serving"),
        (served.grpc("small").replace("+grpc", "+http"), "does not speak TensorFlow Serving's REST API"),
        (served.rest("small").replace("tfserving", "triton"), "speaks neither protocol of a Triton server"),
    ):
        code, report, _ = verify(capsys, models["small"], location)
        assert code == 8
        assert said in why(report)
    assert main(["verify", str(models["small"]), "tfserving://127.0.0.1:8500"]) == 2
    assert "does not name a model of a server" in capsys.readouterr().err


DYING = """
import os, sys, grpc
from concurrent import futures
from mlconvert.serving.tf_serving.messages import METHODS, message

def status(request, context):
    if not request.model_spec.name:
        context.abort(grpc.StatusCode.NOT_FOUND, "no name")
    answer = message("GetModelStatusResponse")()
    answer.model_version_status.add(version=1, state=30)
    return answer

def metadata(request, context):
    answer, held = message("GetModelMetadataResponse")(), message("SignatureDefMap")()
    tensor = {"dtype": 1, "tensor_shape": {"dim": [{"size": -1}, {"size": 4}]}}
    held.signature_def["serving_default"].inputs["x"].CopyFrom(message("TensorInfo")(**tensor))
    held.signature_def["serving_default"].outputs["y"].CopyFrom(message("TensorInfo")(**tensor))
    answer.metadata["signature_def"].Pack(held)
    return answer

server = grpc.server(futures.ThreadPoolExecutor(2))
for name, function in {
    "GetModelStatus": status, "GetModelMetadata": metadata, "Predict": lambda request, context: os._exit(1),
}.items():
    service, request, answer = METHODS[name]
    rows = {name: grpc.unary_unary_rpc_method_handler(
        function, message(request).FromString, message(answer).SerializeToString)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, rows),))
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
server.wait_for_termination()
"""


def test_a_server_that_dies_while_it_is_asked(models, capsys):
    with subprocess.Popen([sys.executable, "-c", DYING], stdout=subprocess.PIPE, text=True) as process:
        try:
            port = int(process.stdout.readline())
            code, report, _ = verify(capsys, models["small"], f"tfserving://127.0.0.1:{port}/small")
        finally:
            process.kill()
    assert code == 8
    assert f"the TensorFlow Serving at 127.0.0.1:{port} is down" in why(report)


def test_a_location_is_an_artifact_without_files(served):
    location = served.rest("small")
    assert recognise(location) == "tf-serving"
    artifact = source_artifact(location)
    assert (artifact.format, artifact.location, artifact.files) == ("tf-serving", location, ())
    assert source_sha256(artifact) == source_sha256(source_artifact(served.grpc("small/2")))
    with pytest.raises(UsageError, match="is a server's model"):
        recognise(location, format="triton")
    with pytest.raises(UsageError, match="--weights is for a factory"):
        source_artifact(location, weights="w.safetensors")


def test_a_served_model_is_inspected_and_converted_into_nothing(served, capsys):
    for location in (served.rest("small"), served.grpc("small/prod")):
        assert main(["inspect", location]) == 0
        told = capsys.readouterr().out
        assert "x: float32[?, 4]" in told
        assert "sum: float32[?]" in told
    assert main(["convert", served.grpc("small"), "--to", "onnx"]) == 2
    assert "a model that TensorFlow Serving serves" in capsys.readouterr().err
