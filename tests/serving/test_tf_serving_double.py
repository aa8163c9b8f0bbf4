"""The double of tensorflow_model_server, as its clients see it: the real server's rules and words, by its source.

Where there is a real server it is asked instead: what then fails is where the double differs.
"""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlconvert.repositories.tf_serving.warmup import tf_record
from mlconvert.serving.tf_serving.home import find_model_server
from mlconvert.serving.tf_serving.messages import DATA_TYPES, METHODS, message

PROGRAM = [sys.executable, "-m", "mlconvert.serving.tf_serving.double"]
MAKE = """
import sys
from pathlib import Path
import tensorflow as tf

class Kinds(tf.Module):
    @tf.function(
        input_signature=[
            tf.TensorSpec([None], kind, name=name)
            for name, kind in (("s", tf.string), ("i", tf.int32), ("b", tf.bool), ("d", tf.float64))
        ]
    )
    def __call__(self, s, i, b, d):
        return {"upper": tf.strings.upper(s), "raw_bytes": s, "i": i + 1, "not": tf.logical_not(b), "d": d}

class Half(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float16, name="h")])
    def __call__(self, h):
        return {"h": h * 2}

class Scalar(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([], tf.float32, name="x")])
    def __call__(self, x):
        return {"y": x + 1}

class Scaled(tf.Module):
    def __init__(self, scale):
        super().__init__()
        self.scale = tf.Variable([scale] * 4)
    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
    def __call__(self, x):
        return {"y": x * self.scale}

root = Path(sys.argv[1])
modules = {"kinds": Kinds(), "half": Half(), "scalar": Scalar(), "two": Scaled(2.0), "three": Scaled(3.0)}
for name, module in modules.items():
    tf.saved_model.save(module, str(root / name), signatures={"serving_default": module.__call__})
"""


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("saved-models")
    done = subprocess.run([sys.executable, "-c", MAKE, str(root)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return root


class Server:
    """A server's REST and gRPC, as bare as they come."""

    def __init__(self, serving) -> None:
        import grpc

        self.root, self.server = serving.root, serving.server
        self._channel = grpc.insecure_channel(serving.server.grpc)

    def rest(self, method: str, path: str, body=None) -> tuple[int, object]:
        connection = http.client.HTTPConnection(self.server.rest, timeout=30)
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection.request(method, path, content)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        told = json.loads(text) if answer.getheader("Content-Type") == "application/json" else text
        return answer.status, told

    def predict(self, model: str, body) -> tuple[int, object]:
        return self.rest("POST", f"/v1/models/{model}:predict", body)

    def call(self, method: str, request):
        service, _, answer = METHODS[method]
        return self._channel.unary_unary(
            f"/{service}/{method}",
            request_serializer=lambda one: one.SerializeToString(),
            response_deserializer=message(answer).FromString,
        )(request, timeout=30)

    def states(self, model: str) -> dict[int, str]:
        status, told = self.rest("GET", f"/v1/models/{model}")
        if status == 404:
            return {}
        return {int(row["version"]): row["state"] for row in told["model_version_status"]}

    def reload(self, text: str):
        from mlconvert.serving.tf_serving.messages import parse_text

        request = message("ReloadConfigRequest")()
        request.config.CopyFrom(parse_text("ModelServerConfig", text, where="", what="a configuration"))
        return self.call("HandleReloadConfigRequest", request)

    def use(self, *rows: str):
        """Have the server take a configuration, from its file and at once."""
        text = config(*rows)
        staged = self.root / ".models.config"
        staged.write_text(text)
        staged.replace(self.root / "models.config")
        return self.reload(text)

    def until(self, holds, seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, self.server.log_text()[-2000:]
            time.sleep(0.05)


@pytest.fixture(scope="session")
def kinds(tf_servings, made) -> Server:
    """A server of several models, one version each."""
    server = Server(tf_servings("kinds"))
    rows = []
    for name in ("kinds", "half", "scalar", "two"):
        shutil.copytree(made / name, server.root / name / "1")
        rows.append(entry(server.root, name))
    server.use(*rows)
    return server


def entry(root: Path, name: str, more: str = "") -> str:
    return f'config {{ name: "{name}" base_path: "{root / name}" model_platform: "tensorflow" {more} }}'


def config(*rows: str) -> str:
    return f"model_config_list {{ {' '.join(rows)} }}\n"


def place(source: Path, target: Path) -> None:
    """As publishing does: whole, then renamed."""
    staged = target.parent.parent / f".staged-{target.name}"
    shutil.copytree(source, staged)
    target.parent.mkdir(exist_ok=True)
    staged.rename(target)


# --- REST: what goes in and out ---


def test_rows_and_columns(kinds):
    row = {"s": "a", "i": 1, "b": True, "d": 0.1}
    status, told = kinds.predict("kinds", {"instances": [{**row, "s": {"b64": "YQ=="}}]})
    assert (status, told["predictions"][0]["upper"]) == (200, "A")
    status, told = kinds.predict("kinds", {"instances": [row, {**row, "s": "ü"}]})
    assert status == 200
    assert told["predictions"] == [
        {"upper": "A", "raw_bytes": {"b64": "YQ=="}, "i": 2, "not": False, "d": 0.1},
        {"upper": "ü", "raw_bytes": {"b64": "w7w="}, "i": 2, "not": False, "d": 0.1},
    ]
    columns = {"s": ["a"], "i": [2147483646], "b": [False], "d": [1e300]}
    status, told = kinds.predict("kinds", {"inputs": columns, "signature_name": "serving_default"})
    assert status == 200
    assert told["outputs"] == {
        "upper": ["A"],
        "raw_bytes": [{"b64": "YQ=="}],
        "i": [2147483647],
        "not": [True],
        "d": [1e300],
    }


def test_one_output_has_no_name_and_whole_numbers_have_a_point(kinds):
    status, told = kinds.predict("two", b'{"instances": [[1, 0.1, NaN, -Infinity]]}')
    assert status == 200
    assert str(told) == "{'predictions': [[2.0, 0.2, nan, -inf]]}"


def test_a_body_in_chunks(kinds):
    connection = http.client.HTTPConnection(kinds.server.rest, timeout=30)
    body = iter([b'{"inputs": [[1, 2', b", 3, 4]]}"])
    for _ in range(2):
        connection.request("POST", "/v1/models/two:predict", body, encode_chunked=True)
        assert json.loads(connection.getresponse().read()) == {"outputs": [[2.0, 4.0, 6.0, 8.0]]}
        body = iter([b'{"inputs": [[1, 2, 3, 4]]}'])
    connection.close()


def test_scalars_have_columns_and_no_rows(kinds):
    assert kinds.predict("scalar", {"inputs": 1.5}) == (200, {"outputs": 2.5})
    status, _ = kinds.predict("scalar", {"instances": [1.5]})
    assert status in (200, 400)  # [1] is fed to a scalar's placeholder, which TensorFlow takes; y has then a row


def test_no_rows_at_all(kinds):
    empty = {"s": [], "i": [], "b": [], "d": []}
    answer = {"upper": [], "raw_bytes": [], "i": [], "not": [], "d": []}
    assert kinds.predict("kinds", {"inputs": empty}) == (200, {"outputs": answer})
    status, told = kinds.predict("kinds", {"instances": []})
    assert (status, "No values in 'instances' array" in told["error"]) == (400, True)


@pytest.mark.parametrize(
    ("model", "body", "words"),
    [
        ("two", b"", "JSON Parse error: The document is empty"),
        ("two", b"{", "JSON Parse error: "),
        ("two", [1], "JSON Value: [1] Is not object"),
        ("two", {}, "Missing 'inputs' or 'instances' key"),
        ("two", {"inputs": [], "instances": []}, "expecting only one of 'inputs' or 'instances'"),
        ("two", {"instances": 1}, "Excepting 'instances' to be an list/array"),
        ("two", {"signature_name": 1}, "'signature_name' key must be a string value."),
        ("two", {"signature_name": "no", "inputs": 1}, 'Serving signature name: "no" not found in signature def'),
        ("two", {"instances": [["1"] * 4]}, 'JSON Value: "1" Type: String is not of expected type: float'),
        ("two", {"instances": [[True] * 4]}, "Type: True is not of expected type: float"),
        ("two", {"instances": [[16777217] * 4]}, "without loss of precision"),
        ("two", {"instances": [[1e39] * 4]}, "without loss of precision"),
        ("two", {"instances": [[1] * 4, [1] * 3]}, "Expecting tensor size: 4 but got: 3"),
        ("two", {"instances": [{"x": [1] * 4}, [1] * 4]}, "Expecting object but got list at item 1"),
        ("two", {"instances": [{"y": [1] * 4}]}, "JSON object: does not have named input: y"),
        ("two", {"inputs": [[1, 2, 3, 4], [1]]}, "Encountered list at unexpected size: 1 at level: 1 expected size: 4"),
        ("two", {"inputs": [[1, 2, 3, [4]]]}, "Encountered list at unexpected level"),
        ("two", {"inputs": [[1] * 5]}, "Incompatible shapes: "),
        ("kinds", {"instances": [1]}, "expecting list of objects as multiple input tensors required"),
        ("kinds", {"inputs": [1]}, "expecting an object as multiple input tensors required"),
        ("kinds", {"inputs": {"s": ["a"]}}, "Missing named input: b in 'inputs' object."),
        ("kinds", {"instances": [{"s": "a"}]}, "keys must be equal to: b,d,i,s"),
        (
            "kinds",
            {"inputs": {"s": ["a"], "i": [1.0], "b": [True], "d": [1]}},
            "JSON Value: 1.0 Type: Number is not of expected type: int32",
        ),
        (
            "kinds",
            {"inputs": {"s": ["a"], "i": [2**31], "b": [True], "d": [1]}},
            "is not of expected type: int32",
        ),
        ("kinds", {"inputs": {"s": [1], "i": [1], "b": [True], "d": [1]}}, "is not of expected type: string"),
        ("kinds", {"inputs": {"s": [{"b64": "?"}], "i": [1], "b": [True], "d": [1]}}, "Unable to base64 decode"),
        ("kinds", {"inputs": {"s": ["a"], "i": [1], "b": [1], "d": [1]}}, "is not of expected type: bool"),
    ],
)  # fmt: skip
def test_what_rest_refuses(kinds, model, body, words):
    status, told = kinds.predict(model, body)
    assert status == 400, told
    assert words in told["error"]


def test_halves_have_no_json(kinds):
    status, told = kinds.predict("half", {"inputs": [[1, 2]]})
    assert (status, told["error"]) == (501, "Conversion of JSON Value: 1 to type: half")


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/v1/models/none", 404, "Could not find any versions of model none"),
        ("GET", "/v1/models/two/versions/7", 404, "Could not find version 7 of model two"),
        ("GET", "/v1/models", 400, "Missing model name in request."),
        ("GET", "/v1/models/none/metadata", 404, "Servable not found for request: Latest(none)"),
        ("POST", "/v1/models/two/versions/7:predict", 404, "Servable not found for request: Specific(two, 7)"),
        ("POST", "/v1/models/two/labels/no:predict", 400, "Unrecognized servable version label: no"),
        ("POST", "/v1/models/two:regress", 501, "no regress"),
        ("POST", "/v1/models/two", 400, "Malformed request: POST /v1/models/two"),
        ("PUT", "/v1/models/two", 400, "Malformed request: PUT /v1/models/two"),
        ("GET", "/else", 404, "Not Found"),
    ],
)
def test_paths(kinds, method, path, status, words):
    got, told = kinds.rest(method, path, {"inputs": [[1] * 4]} if method == "POST" else None)
    assert got == status
    assert words in str(told)


def test_status_and_metadata(kinds):
    status, told = kinds.rest("GET", "/v1/models/two")
    row = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    assert (status, told) == (200, {"model_version_status": [row]})
    status, told = kinds.rest("GET", "/v1/models/two/versions/1/metadata")
    assert status == 200
    assert told["model_spec"] == {"name": "two", "signature_name": "", "version": "1"}
    tensor = told["metadata"]["signature_def"]["signature_def"]["serving_default"]["inputs"]["x"]
    assert (tensor["dtype"], [one["size"] for one in tensor["tensor_shape"]["dim"]]) == ("DT_FLOAT", ["-1", "4"])


# --- gRPC ---


def asked(model: str, tensors: dict[str, tuple[str, list[int], str, list]], **spec):
    request = message("PredictRequest")()
    request.model_spec.name = model
    for name, (kind, shape, field, values) in tensors.items():
        tensor = request.inputs[name]
        tensor.dtype = DATA_TYPES[kind]
        tensor.tensor_shape.SetInParent()
        for size in shape:
            tensor.tensor_shape.dim.add(size=size)
        getattr(tensor, field).extend(values)
    for key, value in spec.items():
        setattr(request.model_spec, key, value)
    return request


X = ("DT_FLOAT", [1, 4], "float_val", [1, 2, 3, 4])


def test_answers_fill_the_field_of_their_type(kinds):
    answer = kinds.call("Predict", asked("two", {"x": X}))
    assert list(answer.outputs["y"].float_val) == [2, 4, 6, 8]
    assert not answer.outputs["y"].tensor_content
    spec = answer.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("two", 1, "serving_default")
    answer = kinds.call("Predict", asked("half", {"h": ("DT_HALF", [1, 2], "half_val", [0x3C00, 0xC000])}))
    assert list(answer.outputs["h"].half_val) == [0x4000, 0xC400]


@pytest.mark.parametrize(
    ("tensors", "spec", "code", "words"),
    [
        ({"x": X}, {"signature_name": "no"}, "FAILED_PRECONDITION", 'Serving signature key "no" not found.'),
        ({}, {}, "INVALID_ARGUMENT", "Sent extra: {}. Missing but required: {x}."),
        ({"x": X, "z": X}, {}, "INVALID_ARGUMENT", "input size does not match signature: 2!=1"),
        ({"z": X}, {}, "INVALID_ARGUMENT", "Signature input alias: x(feed name: serving_default_x:0) not found"),
        ({"x": ("DT_INT64", [1, 4], "int64_val", [1] * 4)}, {}, "INVALID_ARGUMENT", "expect float"),
        ({"x": ("DT_FLOAT", [1, 4], "float_val", [1] * 5)}, {}, "INVALID_ARGUMENT", "tensor parsing error: x"),
        ({"x": ("DT_FLOAT", [-1, 4], "float_val", [1] * 4)}, {}, "INVALID_ARGUMENT", "tensor parsing error: x"),
        ({"x": X}, {"version_label": "no"}, "INVALID_ARGUMENT", "Unrecognized servable version label: no"),
        ({"x": X}, {"name": ""}, "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        ({"x": X}, {"name": "none"}, "NOT_FOUND", "Servable not found for request: Latest(none)"),
    ],
)
def test_what_grpc_refuses(kinds, tensors, spec, code, words):
    import grpc

    with pytest.raises(grpc.RpcError) as error:
        kinds.call("Predict", asked("two", tensors, **spec))
    assert error.value.code().name == code
    assert words in error.value.details()


def test_output_filter(kinds):
    import grpc

    tensors = {
        "s": ("DT_STRING", [1], "string_val", [b"\xff"]),
        "i": ("DT_INT32", [1], "int_val", [1]),
        "b": ("DT_BOOL", [1], "bool_val", [True]),
        "d": ("DT_DOUBLE", [1], "double_val", [0.1]),
    }
    request = asked("kinds", tensors)
    request.output_filter.append("raw_bytes")
    answer = kinds.call("Predict", request)
    assert {name: list(one.string_val) for name, one in answer.outputs.items()} == {"raw_bytes": [b"\xff"]}
    request.output_filter.append("no")
    with pytest.raises(grpc.RpcError, match=r"output tensor alias not found in signature: no"):
        kinds.call("Predict", request)


def test_metadata_fields(kinds):
    import grpc

    request = message("GetModelMetadataRequest")()
    request.model_spec.name = "two"
    with pytest.raises(grpc.RpcError, match=r"must specify at least one metadata_field"):
        kinds.call("GetModelMetadata", request)
    request.metadata_field.append("signature_def")
    found = message("SignatureDefMap")()
    assert kinds.call("GetModelMetadata", request).metadata["signature_def"].Unpack(found)
    assert found.signature_def["serving_default"].method_name == "tensorflow/serving/predict"


def test_classify_is_refused_by_name(kinds):
    import grpc

    call = kinds._channel.unary_unary("/tensorflow.serving.PredictionService/Classify")
    with pytest.raises(grpc.RpcError, match=r"has no Classify"):
        call(b"", timeout=10)


# --- versions come and go ---


@pytest.fixture
def changing(tf_servings) -> Server:
    """A server without models; `m` is a name that it has not heard of."""
    server = Server(tf_servings("changing"))
    server.use()
    server.m = f"m{len(list(server.root.iterdir()))}"
    return server


def test_the_new_version_is_there_before_the_old_one_goes(changing, made):
    place(made / "two", changing.root / changing.m / "1")
    changing.use(entry(changing.root, changing.m))  # returns when the new model is available
    assert changing.states(changing.m) == {1: "AVAILABLE"}
    place(made / "three", changing.root / changing.m / "2")
    answers = set()

    def swapped() -> bool:
        status, told = changing.predict(changing.m, {"instances": [[1, 1, 1, 1]]})
        assert status == 200, told
        answers.add(told["predictions"][0][0])
        return changing.states(changing.m) == {1: "END", 2: "AVAILABLE"}

    changing.until(swapped)
    assert answers <= {2.0, 3.0}
    (changing.root / changing.m / "2").rename(changing.root / "aside")
    changing.until(lambda: changing.states(changing.m) == {1: "AVAILABLE", 2: "END"})
    shutil.rmtree(changing.root / "aside")


def test_policies_and_labels(changing, made):
    import grpc

    for number in (1, 2, 3):
        place(made / ("two" if number == 1 else "three"), changing.root / f"{changing.m}/{number}")
    row = entry(changing.root, changing.m, "model_version_policy { specific { versions: 1 } }")
    changing.use(row)
    assert changing.states(changing.m) == {1: "AVAILABLE"}
    row = entry(
        changing.root,
        changing.m,
        'model_version_policy { specific { versions: 1 versions: 3 } } version_labels { key: "stable" value: 1 }',
    )
    changing.use(row)
    changing.until(lambda: changing.states(changing.m) == {1: "AVAILABLE", 3: "AVAILABLE"})
    _, told = changing.rest("POST", f"/v1/models/{changing.m}/labels/stable:predict", {"instances": [[1] * 4]})
    assert told == {"predictions": [[2.0] * 4]}
    moved = row.replace("value: 1", "value: 2")
    with pytest.raises(
        grpc.RpcError, match=r"Request to assign label to version 2 of model m\d+, which is not currently"
    ):
        changing.reload(config(moved))
    assert changing.rest("POST", f"/v1/models/{changing.m}/labels/stable:predict", {"instances": [[1] * 4]})[0] == 200


def test_a_version_that_does_not_load(changing, made):
    place(made / "two", changing.root / changing.m / "1")
    changing.use(entry(changing.root, changing.m))
    (changing.root / changing.m / "2").mkdir()
    (changing.root / changing.m / "2/saved_model.pb").write_bytes(b"none")
    changing.until(lambda: changing.states(changing.m).get(2) == "END")
    assert changing.states(changing.m)[1] == "AVAILABLE"
    _, told = changing.rest("GET", f"/v1/models/{changing.m}/versions/2")
    assert told["model_version_status"][0]["status"]["error_code"] != "OK"
    shutil.rmtree(changing.root / changing.m / "2")
    time.sleep(1.5)
    place(made / "three", changing.root / changing.m / "2")
    changing.until(lambda: changing.states(changing.m) == {1: "END", 2: "AVAILABLE"})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"junk that is no record of any kind", "TFRecord"),
        (tf_record([b"\xff\xff"]), "Failed to parse warmup record"),
        (
            tf_record([message("PredictionLog")(predict_log={"request": asked("m", {"z": X})}).SerializeToString()]),
            "Signature input alias: x",
        ),
    ],
    ids=["no records", "no message", "another signature"],
)
def test_warm_up_comes_before_a_version_is_available(changing, made, content, words):
    place(made / "two", changing.root / changing.m / "1")
    changing.use(entry(changing.root, changing.m))
    staged = changing.root / "staged"
    shutil.copytree(made / "three", staged)
    (staged / "assets.extra").mkdir()
    (staged / "assets.extra/tf_serving_warmup_requests").write_bytes(content)
    staged.rename(changing.root / changing.m / "2")
    changing.until(lambda: changing.states(changing.m).get(2) == "END")
    _, told = changing.rest("GET", f"/v1/models/{changing.m}/versions/2")
    assert words in told["model_version_status"][0]["status"]["error_message"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('config { name: "m" base_path: "m" model_platform: "tensorflow" }', "to have an absolute path or URI"),
        ('config { name: "m" base_path: "/m" }', "Illegal setting neither"),
        ('config { name: "m" base_path: "/m" model_platform: "caffe" }', "requests unsupported platform caffe"),
        (
            'config { name: "m" base_path: "/m" model_platform: "tensorflow" } ' * 2,
            "Illegal to list model m multiple times in config list",
        ),
    ],
)
def test_configurations_that_it_does_not_take(changing, text, words):
    import grpc

    with pytest.raises(grpc.RpcError) as error:
        changing.reload(f"model_config_list {{ {text} }}")
    assert words in error.value.details()


# --- the command line ---


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--nope=1"], "unknown argument: --nope=1"),
        (["model"], "unknown argument: model"),
        (["--port=x"], "Couldn't interpret value x for flag port."),
        (["--enable_batching=maybe"], "Couldn't interpret value maybe for flag enable_batching."),
        (["--ssl_config_file=x"], "has no --ssl_config_file"),
        ([], "Both server_options.model_base_path and server_options.model_config_file are empty!"),
        (["--port=0", "--model_base_path=/m"], "server_options.grpc_port is not set."),
        (["--model_config_file=/no/such"], "Failed to start server. Error: NOT_FOUND"),
        (["--model_base_path=/m", "--batching_parameters_file=/b"], "without setting server_options.enable_batching"),
    ],
)
def test_flags_that_it_refuses(flags, words):
    done = subprocess.run([*PROGRAM, *flags], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 255
    assert words in done.stderr


def test_batching_monitoring_and_health(tf_servings, made, tmp_path):
    import grpc

    (tmp_path / "batching.config").write_text("max_batch_size { value: 2 }\n")
    (tmp_path / "monitoring.config").write_text('prometheus_config { enable: true path: "/metrics" }\n')
    serving = tf_servings(
        "batching",
        "--enable_batching",
        f"--batching_parameters_file={tmp_path / 'batching.config'}",
        f"--monitoring_config_file={tmp_path / 'monitoring.config'}",
        "--enable_grpc_healthcheck_service=true",
    )
    server = Server(serving)
    for name in ("two", "scalar"):
        shutil.copytree(made / name, server.root / name / "1")
    server.use(entry(server.root, "two"), entry(server.root, "scalar"))
    assert server.predict("two", {"instances": [[1] * 4] * 2})[0] == 200
    status, told = server.predict("two", {"instances": [[1] * 4] * 3})
    assert (status, told["error"]) == (400, "Task size 3 is larger than maximum input batch size 2")
    _, told = server.predict("scalar", {"inputs": 1})
    assert told == {"error": "Batching Run() input tensors must have at least one dimension"}
    status, text = server.rest("GET", "/metrics")
    assert status == 200
    assert ':tensorflow:serving:request_count{model_name="two",status="OK"} 1' in text
    with grpc.insecure_channel(serving.server.grpc) as channel:
        assert channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=10) == b"\x08\x01"


def test_the_double_stands_in_where_there_is_no_server(monkeypatch):
    monkeypatch.delenv("MLCONVERT_TENSORFLOW_MODEL_SERVER", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    assert find_model_server().is_double
