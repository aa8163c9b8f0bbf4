"""Whole networks, from ONNX to a SavedModel: saved here, loaded by TensorFlow alone, and as right as ONNX Runtime.

A second process, which imports TensorFlow and numpy and nothing of this project, loads every SavedModel and answers for
batches and sequences of several lengths. An answer's error is relative to the largest value of its output:
max |a - b| / max |a|, where a is ONNX Runtime's answer.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from mlconvert.converters import onnx_to_saved_model
from mlconvert.formats import source_artifact

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"


def _exports():
    spec = importlib.util.spec_from_file_location("fixtures_exports_of_tests", FIXTURES / "exports.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


EXPORTS = _exports()
NETWORKS = {row.name: row for row in EXPORTS.table()}
LENGTHS = (
    {"batch": 1, "sequence": 1, "height": 32, "width": 64, "time": 20, "frames": 1},
    {"batch": 3, "sequence": 5, "height": 64, "width": 48, "time": 64, "frames": 23},
    {"batch": 2, "sequence": 33, "height": 36, "width": 32, "time": 30, "frames": 7},
)
EXACT = 1e-5
# Half precision keeps three digits, and each framework rounds in other places (ONNX Runtime computes much of it in
# float32). A value next to the edge between two steps of a quantised network may fall on either side.
LOOSER = {"half": 5e-3, "int8_dynamic": 2e-2, "int8_static": 2e-2}

FRESH = """
import collections, json, sys
import numpy as np
import tensorflow as tf
answered = {}
for name, (folder, batches) in json.loads(sys.argv[1]).items():
    model = tf.saved_model.load(folder)
    call = model.signatures["serving_default"]
    for number, batch in enumerate(batches):
        with np.load(batch) as arrays:
            found = call(**{key: tf.constant(arrays[key]) for key in arrays})
        np.savez(f"{folder}/answer{number}.npz", **{key: value.numpy() for key, value in found.items()})
    graph = call.graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    inputs = call.structured_input_signature[1]
    answered[name] = {
        "inputs": {key: [spec.dtype.name, spec.shape.as_list()] for key, spec in inputs.items()},
        "outputs": {key: [spec.dtype.name, spec.shape.as_list()] for key, spec in call.structured_outputs.items()},
        "operations": collections.Counter(node.op for node in nodes),
    }
foreign = {"mlconvert", "onnx", "onnxruntime", "torch"} & set(sys.modules)
assert not foreign, foreign
json.dump(answered, sys.stdout)
"""


@pytest.fixture(scope="module")
def served(trained, tmp_path_factory):
    """A folder, and what the fresh process says of each network; its answers lie beside the models."""
    root = tmp_path_factory.mktemp("networks")
    asked = {}
    for name, row in NETWORKS.items():
        folder = root / name
        folder.mkdir()
        made = onnx_to_saved_model.convert(source_artifact(str(trained(f"{name}.onnx"))), folder / "saved_model.pb")
        assert made.path.stat().st_size < 1 << 20, "weights belong into variables/, not into the graph"
        batches = []
        for number, lengths in enumerate(LENGTHS):
            batches.append(str(root / f"{name}{number}.npz"))
            np.savez(batches[-1], **EXPORTS.samples(row, lengths, seed=number))
        asked[name] = (str(folder), batches)
    done = subprocess.run(
        [sys.executable, "-c", FRESH, json.dumps(asked)],
        capture_output=True, text=True, cwd=root, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return root, json.loads(done.stdout)


@pytest.mark.parametrize("name", NETWORKS)
def test_answers_are_those_of_onnx_runtime(served, trained, name):
    root, _ = served
    session = onnxruntime.InferenceSession(str(trained(f"{name}.onnx")), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    for number in range(len(LENGTHS)):
        with np.load(root / f"{name}{number}.npz") as batch:
            wanted = dict(zip(names, session.run(names, dict(batch)), strict=True))
        with np.load(root / name / f"answer{number}.npz") as answer:
            assert set(answer) == set(names)
            for output, array in wanted.items():
                mine = answer[output]
                assert (mine.shape, mine.dtype) == (array.shape, array.dtype)
                if array.dtype.kind == "i":
                    np.testing.assert_array_equal(mine, array)
                    continue
                wide = array.astype(np.float64)
                assert np.isfinite(mine).all()
                error = np.abs(mine - wide).max() / np.abs(wide).max()
                assert error <= LOOSER.get(name, EXACT), (output, LENGTHS[number], error)


@pytest.mark.parametrize("name", NETWORKS)
def test_names_types_and_dynamic_axes_are_kept(served, trained, name):
    _, told = served
    graph = onnx.load(str(trained(f"{name}.onnx"))).graph
    for side, values in (("inputs", graph.input), ("outputs", graph.output)):
        wanted = {
            value.name: [
                onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name,
                [dim.dim_value if dim.HasField("dim_value") else None for dim in value.type.tensor_type.shape.dim],
            ]
            for value in values
        }
        assert told[name][side] == wanted
    assert any(None in shape for _, shape in told[name]["inputs"].values())


@pytest.mark.parametrize(
    ("name", "most"), [("resnet18", 2), ("u_net", 2), ("mobilenet", 2), ("half", 2), ("detector", 2)]
)
def test_images_are_transposed_on_the_way_in_and_out_alone(served, name, most):
    _, told = served
    assert told[name]["operations"].get("Transpose", 0) <= most


@pytest.mark.parametrize("name", NETWORKS)
def test_a_node_becomes_a_few_operations(served, trained, name):
    """Constants and reads of weights are counted too; a recurrent layer is a loop, which counts as ten nodes."""
    _, told = served
    graph = onnx.load(str(trained(f"{name}.onnx"))).graph
    nodes = sum(10 if node.op_type in ("LSTM", "GRU") else 1 for node in graph.node)
    assert sum(told[name]["operations"].values()) <= 14 * nodes + 100
