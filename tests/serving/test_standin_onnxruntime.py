"""The stand-in for onnxruntime refuses what the real backend refuses, in its words, and answers as the model does."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper

from mlconvert.errors import RepositoryInvalid
from mlconvert.serving.home import find_server
from mlconvert.serving.loading import load_model
from mlconvert.serving.server import started

ONE = "instance_group { count: 1 kind: KIND_CPU }\n"


def tensor(name, kind, shape):
    return helper.make_tensor_value_info(name, kind, shape)


def write(root, name, config, inputs, outputs, *, nodes=None, opset=18, ir=8, domains=()):
    version = root / name / "1"
    version.mkdir(parents=True)
    if nodes is None:
        nodes = [helper.make_node("Identity", [i.name], [o.name]) for i, o in zip(inputs, outputs, strict=True)]
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(*domain) for domain in domains)]
    model = helper.make_model(helper.make_graph(nodes, "g", inputs, outputs), opset_imports=opsets, ir_version=ir)
    onnx.save(model, version / "model.onnx")
    (root / name / "config.pbtxt").write_text(f'name: "{name}" backend: "onnxruntime"\n{ONE}{config}')


def x(dims, kind="TYPE_FP32", more="", name="x"):
    return f'input {{ name: "{name}" data_type: {kind} dims: {dims} {more} }}\n'


def y(dims, kind="TYPE_FP32", more="", name="y"):
    return f'output {{ name: "{name}" data_type: {kind} dims: {dims} {more} }}\n'


ROWS = ([tensor("x", T.FLOAT, ["n", 4])], [tensor("y", T.FLOAT, ["n", 4])])
FIXED = ([tensor("x", T.FLOAT, [1, 4])], [tensor("y", T.FLOAT, [1, 4])])
SCALAR = ([tensor("x", T.FLOAT, [])], [tensor("y", T.FLOAT, [])])
FLAT = ([tensor("x", T.FLOAT, ["n"])], [tensor("y", T.FLOAT, ["n"])])

# What the configuration says of which graph -> the reason that the server gives.
REFUSED = {
    "another dtype of an input": (
        ROWS, "max_batch_size: 8\n" + x([4], "TYPE_FP64") + y([4]),
        "unable to load model 'm', configuration expects datatype TYPE_FP64 for input 'x', model provides TYPE_FP32",
    ),
    "another dtype of an output": (
        ROWS, "max_batch_size: 8\n" + x([4]) + y([4], "TYPE_INT64"),
        "unable to load model 'm', configuration expects datatype TYPE_INT64 for output 'y', model provides TYPE_FP32",
    ),
    "bfloat16": (
        ([tensor("x", T.BFLOAT16, ["n", 4])], [tensor("y", T.BFLOAT16, ["n", 4])]),
        "max_batch_size: 8\n" + x([4], "TYPE_BF16") + y([4], "TYPE_BF16"),
        "unsupported datatype TYPE_BF16 for input 'x' for model 'm'",
    ),
    "an input of another name": (
        ROWS, "max_batch_size: 8\n" + x([4], name="xx") + y([4]),
        "unexpected inference input 'xx', allowed inputs are: x",
    ),
    "an output of another name": (
        ROWS, "max_batch_size: 8\n" + x([4]) + y([4], name="yy"),
        "unexpected inference output 'yy', allowed outputs are: y",
    ),
    "an input too many": (
        ROWS, "max_batch_size: 8\n" + x([4]) + x([4], name="x2") + y([4]),
        "unable to load model 'm', configuration expects 2 inputs, model provides 1",
    ),
    "an axis too many": (
        ROWS, "max_batch_size: 8\n" + x([-1, 4]) + y([4]),
        ("model 'm', tensor 'x': the model expects 2 dimensions (shape [-1,4]) but the model configuration specifies 3 "
        "dimensions (an initial batch dimension because max_batch_size > 0 followed by the explicit tensor shape, "
        "making complete shape [-1,-1,4])"),
    ),
    "an axis too few without batching": (
        ROWS, x([4]) + y([-1, 4]),
        ("model 'm', tensor 'x': the model expects 2 dimensions (shape [-1,4]) but the model configuration specifies 1 "
        "dimensions (shape [4])"),
    ),
    "batching with a fixed first axis": (
        FIXED, "max_batch_size: 8\n" + x([4]) + y([4]),
        ("model 'm', tensor 'x': for the model to support batching the shape should have at least 1 dimension and the "
        "first dimension must be -1; but shape expected by the model is [1,4]"),
    ),
    "an input wider than the graph's": (
        ROWS, "max_batch_size: 8\n" + x([-1]) + y([4]),
        ("model 'm', tensor 'x': the model expects 2 dimensions (shape [-1,4]) but the model configuration specifies 2 "
        "dimensions (an initial batch dimension because max_batch_size > 0 followed by the explicit tensor shape, "
        "making complete shape [-1,-1])"),
    ),
    "an output narrower than the graph's": (
        ROWS, x([2, 4]) + y([2, 4]),
        ("model 'm', tensor 'y': the model expects 2 dimensions (shape [-1,4]) but the model configuration specifies 2 "
        "dimensions (shape [2,4])"),
    ),
    "a reshape that does not fit": (
        FLAT, "max_batch_size: 8\n" + x([1]) + y([1], more="reshape { shape: [ ] }"),
        ("model 'm', tensor 'x': the model expects 1 dimensions (shape [-1]) but the model configuration specifies 2 "
        "dimensions (an initial batch dimension because max_batch_size > 0 followed by the explicit tensor shape, "
        "making complete shape [-1,1])"),
    ),
    "a scalar with a length": (
        SCALAR, x([2]) + y([1]),
        ("unable to load model 'm', scalar tensor 'x', should only provide 1 in the model configuration when the model "
        "doesn't support batching. Model configuration provided: [2]."),
    ),
    "an optional input of a batch": (
        ROWS, "max_batch_size: 8\n" + x([4]) + x([4], name="o", more="optional: true") + y([4]),
        "unable to load model 'm', optional input 'o' is not supported for models that support batching",
    ),
    "a mode that is none": (
        ROWS, "max_batch_size: 8\n" + x([4]) + y([4])
        + 'parameters { key: "execution_mode" value { string_value: "2" } }',
        "Invalid configuration value provided. Expected values for execution_mode are 0 or 1 but got 2 .",
    ),
    "an accelerator that is none": (
        ROWS, "max_batch_size: 8\n" + x([4]) + y([4])
        + 'optimization { execution_accelerators { cpu_execution_accelerator: [ { name: "magic" } ] } }',
        "unknown Execution Accelerator 'magic' is requested",
    ),
    "what it does not stand in for": (
        ROWS, "max_batch_size: 8\n" + x([4], more="allow_ragged_batch: true") + y([4]),
        "mlconvert's stand-in for onnxruntime cannot do this: allow_ragged_batch",
    ),
}  # fmt: skip


@pytest.fixture
def server(triton_server):
    yield triton_server
    triton_server.drop(*(path.name for path in triton_server.root.iterdir()))


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_real_backend_refuses(server, case):
    (inputs, outputs), config, reason = REFUSED[case]
    name = f"m{list(REFUSED).index(case)}"  # its own: the last one of that name is on its way out for a second
    write(server.root, name, config, inputs, outputs)
    with pytest.raises(RepositoryInvalid) as caught:
        load_model(server.server, server.clients[0], name)
    assert " ".join(caught.value.message.split()) == reason.replace("'m'", f"'{name}'")


def test_a_zipmap_output_is_refused(server):
    zipmap = helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2, 3])
    sequence = helper.make_sequence_type_proto(
        helper.make_map_type_proto(T.INT64, helper.make_tensor_type_proto(T.FLOAT, []))
    )
    outputs = [helper.make_value_info("y", sequence)]
    config = "max_batch_size: 8\n" + x([4]) + y([4])
    write(server.root, "m", config, ROWS[0], outputs, nodes=[zipmap], domains=[("ai.onnx.ml", 1)])
    with pytest.raises(RepositoryInvalid, match=r"^Unsupported ONNX Type 'ONNX_TYPE_SEQUENCE' for I/O 'y'"):
        load_model(server.server, server.clients[0], "m")


def test_a_missing_and_a_damaged_file(server):
    write(server.root, "m", "max_batch_size: 8\n" + x([4]) + y([4]), *ROWS)
    file = server.root / "m/1/model.onnx"
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(RepositoryInvalid, match=r"^onnx runtime error: .*Protobuf parsing failed"):
        load_model(server.server, server.clients[0], "m")
    file.unlink()
    with pytest.raises(RepositoryInvalid, match=r"^unable to find '.*/m/1/model.onnx' for model instance 'm'"):
        load_model(server.server, server.clients[0], "m")


def test_limits_of_an_older_release(tmp_path):
    limits = {"runtime": "1.19", "opset": 21, "ml_opset": 5, "ir": 10, "trees": 3}
    config = "max_batch_size: 8\n" + x([4]) + y([4])
    write(tmp_path, "opset", config, *ROWS, opset=22)
    write(tmp_path, "ir", config, *ROWS, ir=11)
    write(tmp_path, "good", config, *ROWS, opset=21, ir=10)
    with started(find_server(), tmp_path, limits={"onnxruntime": limits}) as server:
        from mlconvert.serving.client import connect

        http = connect(f"triton://{server.http}")
        load_model(server, http, "good")
        with pytest.raises(RepositoryInvalid, match=r"Current official support for domain ai.onnx is till opset 21\."):
            load_model(server, http, "opset")
        with pytest.raises(RepositoryInvalid, match="Unsupported model IR version: 11, max supported IR version: 10"):
            load_model(server, http, "ir")
        http.close()


# --- answers ---

EVERY = {
    "TYPE_BOOL": (T.BOOL, np.array([[True, False]] * 3)),
    "TYPE_UINT8": (T.UINT8, np.array([[0, 255]] * 3, np.uint8)),
    "TYPE_INT64": (T.INT64, np.array([[-(2**63), 2**63 - 1]] * 3)),
    "TYPE_FP16": (T.FLOAT16, np.array([[-0.0, 65504.0]] * 3, np.float16)),
    "TYPE_FP32": (T.FLOAT, np.array([[np.nan, -np.inf]] * 3, np.float32)),
    "TYPE_FP64": (T.DOUBLE, np.array([[1e-310, 1e308]] * 3)),
    "TYPE_STRING": (T.STRING, np.array([["", "añ"], ["日本語", "\x00\n"], ["a" * 4000, "é"]])),
}


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("rows", [0, 8])
def test_every_dtype_comes_back_as_it_went(server, kind, rows):
    proto, values = EVERY[kind]
    inputs, outputs = [tensor("x", proto, ["n", 2])], [tensor("y", proto, ["n", 2])]
    dims = [2] if rows else [-1, 2]
    name = f"{kind.lower()}_{rows}"
    write(server.root, name, f"max_batch_size: {rows}\n" + x(dims, kind) + y(dims, kind), inputs, outputs)
    load_model(server.server, server.clients[0], name)
    for client in server.clients:
        (told,) = client.infer(name, {"x": values}).values()
        assert told.dtype == values.dtype or kind == "TYPE_STRING"
        np.testing.assert_array_equal(told, values)


def test_reshapes_scalars_and_some_of_the_outputs(server):
    reshape = "reshape { shape: [ ] }"
    write(server.root, "flat", "max_batch_size: 8\n" + x([1], more=reshape) + y([1], more=reshape), *FLAT)
    write(server.root, "scalar", x([1]) + y([1]), *SCALAR)
    two = [tensor("x", T.FLOAT, ["n", 4])], [tensor("a", T.FLOAT, ["n", 4]), tensor("b", T.FLOAT, ["n", 4])]
    nodes = [helper.make_node("Neg", ["x"], ["a"]), helper.make_node("Abs", ["x"], ["b"])]
    write(server.root, "some", "max_batch_size: 8\n" + x([4]) + y([4], name="b"), *two, nodes=nodes)
    rows = np.array([[1.5], [-2.0]], np.float32)
    wide = np.arange(8, dtype=np.float32).reshape(2, 4) - 4
    for name in ("flat", "scalar", "some"):
        load_model(server.server, server.clients[0], name)
    for client in server.clients:
        np.testing.assert_array_equal(client.infer("flat", {"x": rows})["y"], rows)
        np.testing.assert_array_equal(client.infer("scalar", {"x": rows[0]})["y"], rows[0])
        told = client.infer("some", {"x": wide})
        assert list(told) == ["b"]
        np.testing.assert_array_equal(told["b"], np.abs(wide))


def test_a_model_in_a_folder_and_under_another_name(server):
    config = "max_batch_size: 8\n" + x([4]) + y([4])
    write(server.root, "folder", config, *ROWS)
    model = server.root / "folder/1/model.onnx"
    graph = model.read_bytes()
    model.unlink()
    model.mkdir()
    (model / "model.onnx").write_bytes(graph)
    write(server.root, "named", config + 'default_model_filename: "net.onnx"', *ROWS)
    (server.root / "named/1/model.onnx").rename(server.root / "named/1/net.onnx")
    rows = np.ones((3, 4), np.float32)
    for name in ("folder", "named"):
        load_model(server.server, server.clients[0], name)
        np.testing.assert_array_equal(server.clients[1].infer(name, {"x": rows})["y"], rows)


def test_a_request_that_fails_does_not_take_others_with_it(server):
    """Two requests of a batch are answered apart: here the second has a number that the graph refuses."""
    nodes = [helper.make_node("Gather", ["table", "x"], ["y"])]
    table = helper.make_tensor("table", T.FLOAT, [3], [10.0, 20.0, 30.0])
    graph = helper.make_graph(nodes, "g", [tensor("x", T.INT64, ["n", 1])], [tensor("y", T.FLOAT, ["n", 1])], [table])
    version = server.root / "m" / "1"
    version.mkdir(parents=True)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), version / "model.onnx"
    )
    batching = "max_batch_size: 8\ndynamic_batching { max_queue_delay_microseconds: 50000 }\n"
    (server.root / "m/config.pbtxt").write_text(
        f'name: "m" backend: "onnxruntime"\n{ONE}{batching}{x([1], "TYPE_INT64")}{y([1])}'
    )
    load_model(server.server, server.clients[0], "m")
    from concurrent.futures import ThreadPoolExecutor

    def ask(client, number):
        try:
            return float(client.infer("m", {"x": np.array([[number]])})["y"][0, 0])
        except RepositoryInvalid as error:
            return error.message

    with ThreadPoolExecutor(2) as pool:
        good, bad = pool.map(ask, server.clients, (1, 99))
    assert good == 20.0
    assert "onnx runtime error" in bad
    assert "99" in bad
