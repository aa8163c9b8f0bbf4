"""The clients of TensorFlow Serving: what listens, what is waited for, and answers that are none.

Servers of a page each stand for those that a test cannot have otherwise; a whole one answers in
tests/operations/test_verify_tf_served.py.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
from concurrent import futures

import grpc
import numpy as np
import pytest

from mlconvert import packages
from mlconvert.errors import MissingPackage, NotVerified, RepositoryInvalid, UsageError
from mlconvert.runners.tf_serving import session_of
from mlconvert.serving.client import connect as connect_triton
from mlconvert.serving.locations import TF_SERVING, TRITON, is_served, parse_served, split_address
from mlconvert.serving.processes import free_ports
from mlconvert.serving.tf_serving import client as clients
from mlconvert.serving.tf_serving.client import connect, wait_available
from mlconvert.serving.tf_serving.described import describe
from mlconvert.serving.tf_serving.messages import DATA_TYPES, METHODS, message
from mlconvert.serving.tf_serving.signatures import metadata_sha256
from mlconvert.serving.tf_serving.tensor_protos import fill_tensor
from mlconvert.signature import Signature, TensorSpec

UP = {"/v1/models": (400, {"error": "Missing model name in request."})}
X, Y = TensorSpec("x", "float32", (None, 2)), TensorSpec("y", "float32", (None,))
SIGNATURE = Signature((X,), (Y,))


def status(*rows):
    """The answer to a question for status: (version, state, reason)…"""
    told = [
        {"version": str(version), "state": state, "status": {"error_code": "OK", "error_message": reason}}
        for version, state, reason in rows
    ]
    return 200, {"model_version_status": told}


@contextlib.contextmanager
def speaking(methods):
    """A gRPC server of some of the real one's methods: name -> a function from request and context to the answer."""
    handlers = {}
    for name, function in methods.items():
        service, request, answer = METHODS[name]
        handlers.setdefault(service, {})[name] = grpc.unary_unary_rpc_method_handler(
            function,
            request_deserializer=message(request).FromString,
            response_serializer=message(answer).SerializeToString,
        )
    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers(
        tuple(grpc.method_handlers_generic_handler(name, rows) for name, rows in handlers.items())
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()


def not_found(request, context):
    context.abort(grpc.StatusCode.NOT_FOUND, f"Could not find any versions of model {request.model_spec.name}")


# --- addresses ---


@pytest.mark.parametrize(
    ("location", "url", "name", "version"),
    [
        ("tfserving://host:8501/m", "tfserving://host:8501", "m", None),
        ("tfserving://host/m/3", "tfserving://host:8500", "m", "3"),
        ("tfserving+http://host/m/stable/", "tfserving+http://host:8501", "m", "stable"),
        ("tfserving+grpc://[::1]/m%20n", "tfserving+grpc://[::1]:8500", "m n", None),
    ],
)
def test_locations(location, url, name, version):
    place = parse_served(location)
    assert (place.url, place.name, place.version) == (url, name, version)
    assert parse_served(str(place)) == place
    assert place.kind is TF_SERVING
    assert is_served(location)


@pytest.mark.parametrize(
    "location", ["tfserving://host:8500", "tfserving://:1/m", "tfserving://host:x/m", "tfserving://host:1/m/1/2"]
)
def test_locations_that_are_none(location):
    with pytest.raises(UsageError) as caught:
        parse_served(location)
    assert "tfserving://HOST:PORT" in caught.value.hint


def test_an_address_of_the_other_server_is_none():
    with pytest.raises(UsageError, match="no address of a Triton server"):
        connect_triton("tfserving://127.0.0.1:8500")
    with pytest.raises(UsageError, match="no address of a TensorFlow Serving"):
        connect("triton://127.0.0.1:8500")
    assert split_address("triton://h", TRITON) == ("triton", "h", 8000)


# --- what listens ---


def test_a_server_that_is_down():
    (port,) = free_ports(1)
    for scheme in TF_SERVING.ports:
        with pytest.raises(RepositoryInvalid, match=f"no TensorFlow Serving is up at 127.0.0.1:{port}") as caught:
            connect(f"{scheme}://127.0.0.1:{port}")
        assert caught.value.exit_code == 8


def test_what_is_no_tensorflow_serving(listening, monkeypatch):
    monkeypatch.setattr(clients, "PROBE_SECONDS", 1)
    with listening({"/": (200, {}), "/v2/health/live": (200, {})}) as address:
        for scheme, said in (
            ("tfserving", "speaks neither protocol of TensorFlow Serving"),
            ("tfserving+http", "does not speak TensorFlow Serving's REST API"),
            ("tfserving+grpc", "speaks no gRPC of TensorFlow Serving"),
        ):
            with pytest.raises(RepositoryInvalid, match=said) as caught:
                connect(f"{scheme}://{address}")
            assert "8500 by default" in caught.value.hint
    with speaking({}) as address, pytest.raises(RepositoryInvalid, match="speaks neither protocol"):
        connect(f"tfserving://{address}")
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        with pytest.raises(RepositoryInvalid, match="speaks neither protocol"):
            connect(f"tfserving://127.0.0.1:{mute.getsockname()[1]}")


def test_a_triton_server_is_no_tensorflow_serving(triton_server):
    for address in (triton_server.server.http, triton_server.server.grpc):
        with pytest.raises(RepositoryInvalid, match="speaks neither protocol of TensorFlow Serving"):
            connect(f"tfserving://{address}")


def test_which_protocol_is_spoken_is_found_out(listening):
    with listening(UP) as address, contextlib.closing(connect(f"tfserving://{address}")) as client:
        assert (client.protocol, client.address) == ("http", address)
        with pytest.raises(UsageError, match="over REST a TensorFlow Serving cannot be told") as caught:
            client.reload(message("ModelServerConfig")())
        assert "tfserving+grpc://" in caught.value.hint
    with speaking({"GetModelStatus": not_found}) as address:
        with contextlib.closing(connect(f"tfserving://{address}")) as client:
            assert (client.protocol, client.address) == ("grpc", address)
            assert client.status("m") == ()
        with pytest.raises(RepositoryInvalid, match="does not speak TensorFlow Serving's REST API"):
            connect(f"tfserving+http://{address}")


def test_without_grpc_rest_is_spoken(listening, monkeypatch):
    monkeypatch.setattr(packages, "installed", lambda package: package is not packages.GRPC)
    with listening(UP) as address:
        connect(f"tfserving://{address}").close()
        with pytest.raises(MissingPackage, match="speaking gRPC to a TensorFlow Serving needs grpcio") as caught:
            connect(f"tfserving+grpc://{address}")
    assert caught.value.exit_code == 3
    assert caught.value.hint == "pip install 'mlconvert[tf-serving]'"


# --- what is waited for ---


def test_a_version_that_is_loading_is_waited_for(listening):
    answers = {**UP, "/v1/models/m": status((1, "LOADING", ""))}
    with listening(answers) as address, contextlib.closing(connect(f"tfserving://{address}")) as client:
        with pytest.raises(RepositoryInvalid, match=r"does not serve 'm' after 0\.2 seconds: version 1 is LOADING"):
            wait_available(client, "m", seconds=0.2)
        threading.Timer(0.2, lambda: answers.update({"/v1/models/m": status((1, "AVAILABLE", ""))})).start()
        wait_available(client, "m", seconds=20)


def test_what_will_not_be_available_is_told_at_once(listening):
    rows = ((3, "AVAILABLE", ""), (2, "END", "no saved_model.pb"), (1, "UNLOADING", ""))
    answers = {
        **UP,
        "/v1/models/m": status(*rows),
        "/v1/models/other": (404, {"error": "Could not find any versions of model other"}),
    }
    with listening(answers) as address, contextlib.closing(connect(f"tfserving://{address}")) as client:
        assert [row.version for row in client.status("m")] == [1, 2, 3]
        wait_available(client, "m", seconds=60)
        wait_available(client, "m", "3", seconds=60)
        wait_available(client, "m", "stable", seconds=60)  # what it names is asked next
        for version, said in (
            ("2", "does not serve 'm': version 2 is END: no saved_model.pb"),
            ("1", "does not serve 'm': version 1 is UNLOADING"),
            ("9", "does not serve version 9 of 'm'"),
        ):
            with pytest.raises(RepositoryInvalid, match=said):
                wait_available(client, "m", version, seconds=60)
        with pytest.raises(RepositoryInvalid, match="has no model 'other'"):
            wait_available(client, "other", seconds=60)
        threading.Timer(0.2, lambda: answers.update({"/v1/models/other": status((1, "AVAILABLE", ""))})).start()
        wait_available(client, "other", seconds=20, patient=True)


# --- answers ---


def test_a_server_that_hangs_or_dies():
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        host, port = mute.getsockname()
        for client in clients.connect_both(f"{host}:{port}", f"{host}:{port}", seconds=0.3):
            with contextlib.closing(client):
                with pytest.raises(RepositoryInvalid, match=r"does not answer in time|is down"):
                    client.metadata("m")
                assert not client.live()

    with speaking({"GetModelStatus": not_found}) as address:
        client = connect(f"tfserving://{address}")
    with contextlib.closing(client), pytest.raises(RepositoryInvalid, match=f"at {address} is down"):
        client.status("m")


def test_answers_that_are_not_the_protocol(listening):
    page = (200, b"<html>")
    answers = {
        **UP,
        "/v1/models/m": (200, {"models": []}),
        "/v1/models/m/metadata": page,
        "/v1/models/n/metadata": (200, {"metadata": {}}),
        "/v1/models/n:predict": (200, {"predictions": []}),
        "/v1/models/o:predict": (500, b"x"),
        "/v1/models/p:predict": (200, {"outputs": [1.0, "a"]}),
        "/v1/models/q:predict": (400, b"""{ "error": "You can\\'t \\"do\\" that" }"""),
    }
    with listening(answers) as address, contextlib.closing(connect(f"tfserving://{address}")) as client:
        asked = {"x": np.ones((2, 2), np.float32)}
        for ask in (
            lambda: client.status("m"),
            lambda: client.metadata("m"),
            lambda: client.metadata("n"),
            lambda: client.predict("n", asked, signature=SIGNATURE),
        ):
            with pytest.raises(RepositoryInvalid, match="does not speak TensorFlow Serving's REST API"):
                ask()
        with pytest.raises(RepositoryInvalid, match="HTTP status 500"):
            client.predict("o", asked, signature=SIGNATURE)
        with pytest.raises(RepositoryInvalid, match="output 'y' is no tensor of float32"):
            client.predict("p", asked, signature=SIGNATURE)
        with pytest.raises(RepositoryInvalid, match='You can\'t "do" that'):
            client.predict("q", asked, signature=SIGNATURE)
        several = Signature((X,), (Y, TensorSpec("z", "float32", (None,))))
        with pytest.raises(RepositoryInvalid, match="does not speak"):
            client.predict("p", asked, signature=several)


def test_metadata_that_no_samples_can_be_sent_by():
    held = message("SignatureDefMap")()
    plain = held.signature_def["other"]
    plain.inputs["x"].dtype = DATA_TYPES["DT_FLOAT"]

    def metadata(request, context):
        answer = message("GetModelMetadataResponse")()
        answer.model_spec.version.value = 3
        answer.metadata["signature_def"].Pack(held)
        return answer

    def available(request, context):
        if not request.model_spec.name:
            not_found(request, context)
        answer = message("GetModelStatusResponse")()
        answer.model_version_status.add(version=3, state=30)
        return answer

    with (
        speaking({"GetModelStatus": available, "GetModelMetadata": metadata}) as address,
        contextlib.closing(connect(f"tfserving://{address}")) as client,
    ):
        place = parse_served(f"tfserving://{address}/m")
        before = metadata_sha256(client.metadata("m"))
        with pytest.raises(NotVerified, match="version 3 of 'm' has no signature 'serving_default'; it has: other"):
            describe(client, place)
        tensor = held.signature_def["serving_default"].inputs["x"]
        for change, said in (
            ({"dtype": DATA_TYPES["DT_RESOURCE"]}, "input 'x' of the served model is DT_RESOURCE"),
            ({"coo_sparse": {"values_tensor_name": "v"}}, r"no plain tensor \(coo_sparse\)"),
            ({"dtype": DATA_TYPES["DT_FLOAT"], "tensor_shape": {"unknown_rank": True}}, "unknown number of axes"),
        ):
            tensor.CopyFrom(message("TensorInfo")(**change))
            with pytest.raises(NotVerified, match=said):
                describe(client, place)
        tensor.CopyFrom(message("TensorInfo")(dtype=DATA_TYPES["DT_FLOAT"]))
        assert describe(client, place).signature.inputs == (TensorSpec("x", "float32", ()),)
        assert describe(client, place).version == 3
        assert metadata_sha256(client.metadata("m")) != before


def test_what_the_server_refuses_is_told_in_its_words():
    def refuse(request, context):
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "Could not find\nassets")

    def reload(request, context):
        if request.config.model_config_list.config[0].name == "good":
            return message("ReloadConfigResponse")()
        return message("ReloadConfigResponse")(status={"error_code": 3, "error_message": "no such label"})

    def config(name):
        made = message("ModelServerConfig")()
        made.model_config_list.config.add(name=name)
        return made

    methods = {"GetModelStatus": not_found, "Predict": refuse, "HandleReloadConfigRequest": reload}
    with speaking(methods) as address, contextlib.closing(connect(f"tfserving+grpc://{address}")) as client:
        with pytest.raises(RepositoryInvalid, match="Could not find; assets"):
            client.predict("m", {})
        with pytest.raises(RepositoryInvalid, match="no such label"):
            client.reload(config("bad"))
        client.reload(config("good"))
        with pytest.raises(RepositoryInvalid, match="is no TensorFlow Serving"):
            client.metadata("m")
        with pytest.raises(UsageError, match="too large for the number of a version"):
            client.predict("m", {}, version=str(1 << 63))


def test_requests_are_cut_to_what_a_batching_server_takes():
    sizes = []

    def predict(request, context):
        rows = request.inputs["x"].tensor_shape.dim[0].size
        sizes.append(rows)
        if rows > 3:
            context.abort(
                grpc.StatusCode.INVALID_ARGUMENT, f"Task size {rows} is larger than maximum input batch size 3"
            )
        answer = message("PredictResponse")()
        values = np.frombuffer(request.inputs["x"].tensor_content, np.float32).reshape(rows, 2)
        fill_tensor(answer.outputs["y"], values.sum(axis=1))
        return answer

    with (
        speaking({"GetModelStatus": not_found, "Predict": predict}) as address,
        contextlib.closing(connect(f"tfserving://{address}")) as client,
    ):
        rows = np.arange(16, dtype=np.float32).reshape(8, 2)
        answers = session_of(client, "m", None, SIGNATURE).run({"x": rows})
        np.testing.assert_array_equal(answers["y"], rows.sum(axis=1))
        assert sizes == [8, 3, 3, 2]
        more = Signature((X,), (Y, TensorSpec("z", "float32", (None,))))
        with pytest.raises(RepositoryInvalid, match="lacks what its signature has: z"):
            session_of(client, "m", None, more).run({"x": rows[:1]})


def test_the_client_needs_no_tensorflow():
    def predict(request, context):
        answer = message("PredictResponse")()
        answer.outputs["y"].CopyFrom(request.inputs["x"])
        return answer

    program = """
import sys
import numpy as np
from mlconvert.serving.tf_serving.client import connect
client = connect(sys.argv[1])
assert client.predict("m", {"x": np.ones((2, 1), np.float16)}, version="stable")["y"].tolist() == [[1.0], [1.0]]
client.close()
assert not {name.partition(".")[0] for name in sys.modules} & {"tensorflow", "tensorflow_serving", "onnx"}
"""
    with speaking({"GetModelStatus": not_found, "Predict": predict}) as address:
        words = [sys.executable, "-c", program, f"tfserving+grpc://{address}"]
        done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
