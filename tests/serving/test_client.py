"""Addresses, what listens there, and waiting: a server that is down, up and not ready, or not a server at all."""

from __future__ import annotations

import contextlib
import json
import socket
import threading

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mlconvert.errors import RepositoryInvalid, UsageError
from mlconvert.serving import client as clients
from mlconvert.serving.client import connect, wait_ready
from mlconvert.serving.described import Reshape, Served, served_model
from mlconvert.serving.locations import is_served, parse_served
from mlconvert.serving.processes import free_ports
from mlconvert.serving.reasons import load_failure
from mlconvert.serving.wire import NAMES, decode, encode, wire_dtype
from mlconvert.signature import Signature, TensorSpec

# --- addresses ---


@pytest.mark.parametrize(
    ("location", "url", "name", "version"),
    [
        ("triton://host:8000/m", "triton://host:8000", "m", None),
        ("triton://host/m/3", "triton://host:8000", "m", "3"),
        ("triton+grpc://host/a+b=c@d.e/prod/", "triton+grpc://host:8001", "a+b=c@d.e", "prod"),
        ("triton+http://[::1]:9/m%20n", "triton+http://[::1]:9", "m n", None),
    ],
)
def test_locations(location, url, name, version):
    place = parse_served(location)
    assert (place.url, place.name, place.version) == (url, name, version)
    assert parse_served(str(place)) == place
    assert is_served(location)


@pytest.mark.parametrize(
    "location",
    [
        "triton://host:8000", "triton://host:8000/", "triton://:8000/m", "triton://host:x/m", "triton://host:99999/m",
        "triton://host:1/m/1/2", "triton://host:1/m?x=1", "triton://user@host:1/m", "triton://host:1//1",
    ],
)  # fmt: skip
def test_locations_that_are_none(location):
    with pytest.raises(UsageError) as caught:
        parse_served(location)
    assert "triton://HOST:PORT" in caught.value.hint


def test_files_are_no_servers():
    assert not any(is_served(name) for name in ("model.onnx", "http://host/m", "pack.age:factory", "triton:/m"))


# --- what listens ---


LIVE = {"/v2/health/live": (200, {})}


def test_a_server_that_is_down():
    (port,) = free_ports(1)
    for scheme in ("triton", "triton+http", "triton+grpc"):
        with pytest.raises(RepositoryInvalid, match=f"no Triton server is up at 127.0.0.1:{port}") as caught:
            connect(f"{scheme}://127.0.0.1:{port}")
        assert caught.value.exit_code == 8


def test_what_speaks_neither_protocol(monkeypatch, listening):
    monkeypatch.setattr(clients, "PROBE_SECONDS", 1)
    with listening({"/": (200, {})}) as address, pytest.raises(RepositoryInvalid, match="speaks neither protocol"):
        connect(f"triton://{address}")
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        with pytest.raises(RepositoryInvalid, match="speaks neither protocol"):
            connect(f"triton://127.0.0.1:{mute.getsockname()[1]}")


def test_a_server_that_is_up_and_not_ready(listening):
    with (
        listening({**LIVE, "/v2/health/ready": (400, {})}) as address,
        contextlib.closing(connect(f"triton://{address}")) as client,
    ):
        for model in (None, "m"):
            with pytest.raises(RepositoryInvalid, match=r"is up, and not ready after 0\.3 seconds"):
                wait_ready(client, model, seconds=0.3)


def test_a_model_that_is_loading_is_waited_for(listening):
    rows = [{"name": "m", "version": "1", "state": "LOADING"}]
    answers = {**LIVE, "/v2/health/ready": (400, {}), "/v2/repository/index": (200, rows)}
    with listening(answers) as address, contextlib.closing(connect(f"triton://{address}")) as client:
        with pytest.raises(RepositoryInvalid, match=r"does not serve 'm': version 1 is LOADING"):
            wait_ready(client, "m", seconds=0.3)
        threading.Timer(0.2, lambda: answers.update({"/v2/models/m/ready": (200, {})})).start()
        wait_ready(client, "m", seconds=20)


def test_what_will_not_be_ready_is_told_at_once(listening):
    rows = [
        {"name": "m", "version": "1", "state": "UNAVAILABLE", "reason": "Internal: broken\n\nAt:\n  model.py(1): f\n"}
    ]
    answers = {**LIVE, "/v2/health/ready": (400, {}), "/v2/repository/index": (200, rows)}
    with listening(answers) as address, contextlib.closing(connect(f"triton://{address}")) as client:
        with pytest.raises(RepositoryInvalid, match=r"does not serve 'm': version 1 is UNAVAILABLE: Internal: broken$"):
            wait_ready(client, "m", seconds=60)
        with pytest.raises(RepositoryInvalid, match="has no model 'other'"):
            wait_ready(client, "other", seconds=60)
        with pytest.raises(RepositoryInvalid, match="does not serve version 4 of 'm'"):
            wait_ready(client, "m", "4", seconds=60)


def test_a_server_that_hangs():
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        client = connect(f"triton+http://127.0.0.1:{mute.getsockname()[1]}", seconds=0.3)
        with contextlib.closing(client), pytest.raises(RepositoryInvalid, match="does not answer in time"):
            client.server()


def test_answers_that_are_not_the_protocol(listening):
    body = json.dumps({"outputs": [{"name": "y", "datatype": "FP32", "shape": [2], "data": [1, 2]}]}).encode()
    answers = {**LIVE, "/v2": (200, b"<html>"), "/v2/models/m/infer": (200, body), "/v2/models/n/infer": (500, b"x")}
    with listening(answers) as address, contextlib.closing(connect(f"triton://{address}")) as client:
        with pytest.raises(RepositoryInvalid, match="does not speak Triton's protocol"):
            client.server()
        with pytest.raises(RepositoryInvalid, match="'y' as text, not as bytes"):
            client.infer("m", {"x": np.ones(2)})
        with pytest.raises(RepositoryInvalid, match="HTTP status 500"):
            client.infer("n", {"x": np.ones(2)})


def test_both_ports_of_a_real_server_are_told_apart(triton_server):
    for address, protocol in ((triton_server.server.http, "http"), (triton_server.server.grpc, "grpc")):
        with contextlib.closing(connect(f"triton://{address}")) as client:
            assert client.protocol == protocol
            assert client.live()
            assert client.server()["version"] == "2.51.0"
            with pytest.raises(RepositoryInvalid, match="unknown model: 'nope'"):
                client.metadata("nope")


# --- tensors ---

SHAPES = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
NUMBERS = st.sampled_from(["bool", "uint8", "int16", "int32", "int64", "uint64", "float16", "float32", "float64"])


@given(st.data())
def test_arrays_come_back_as_they_went(data):
    values = data.draw(NUMBERS.flatmap(lambda name: arrays.arrays(name, SHAPES)))
    told = decode(wire_dtype(values), values.shape, encode(values), name="y")
    assert (told.dtype, told.shape) == (values.dtype, values.shape)
    assert told.tobytes() == values.tobytes()


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=6))
def test_strings_come_back_as_they_went(texts):
    values = np.array([text.rstrip("\0") for text in texts], dtype=np.str_)
    np.testing.assert_array_equal(decode("BYTES", values.shape, encode(values), name="y"), values)


def test_bfloat16_and_rows_of_a_transposed_array():
    values = np.arange(6, dtype=np.float32).astype(ml_dtypes.bfloat16).reshape(2, 3).T
    assert wire_dtype(values) == "BF16"
    told = decode("BF16", values.shape, encode(values), name="y")
    assert told.dtype == values.dtype
    assert (told == values).all()
    assert set(NAMES) >= {"BF16", "BYTES", "FP16"}


@given(st.sampled_from(["FP32", "BYTES", "INT8"]), st.binary(max_size=20))
def test_bytes_that_are_no_tensor_are_refused_or_fit(datatype, raw):
    with contextlib.suppress(RepositoryInvalid):
        assert decode(datatype, (2,), raw, name="y").shape == (2,)


# --- what is served ---


def test_reshapes_and_batch_axes_are_put_back():
    metadata = {
        "name": "m",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, -1, 2]}],
        "outputs": [{"name": "y", "datatype": "BYTES", "shape": [-1, 1]}],
    }
    config = {
        "max_batch_size": 4,
        "input": [{"name": "x", "dims": [-1, 2], "reshape": {"shape": [-1, 1, 2]}}],
        "output": [{"name": "y", "dims": [1], "reshape": {}}],
    }
    served = served_model(metadata, config)
    assert served.signature == Signature(
        (TensorSpec("x", "float32", ("batch", None, 1, 2)),), (TensorSpec("y", "string", ("batch",)),)
    )
    assert served.to_client("x", np.zeros((3, 5, 1, 2))).shape == (3, 5, 2)
    assert served.to_model("y", np.zeros((3, 1))).shape == (3,)
    assert served.to_client("other", np.zeros((3, 1))).shape == (3, 1)
    plain = Served("m", Signature((), ()), 0, {"x": Reshape((1,), ())}, {}, False)
    assert plain.to_client("x", np.zeros(())).shape == (1,)


def test_reasons_in_one_line():
    told = (
        "load failed for model 'm': version 1 is at UNAVAILABLE state: Internal: TritonModelException: too wide\n\n"
        "At:\n  /tmp/x/model.py(152): _check\n  /tmp/x/model.py(59): initialize\n;\n"
    )
    assert load_failure(told) == "too wide"
    assert load_failure("load failed for model 'm': version 1 is at UNAVAILABLE state: Invalid argument: no;\n") == "no"
