"""Files of trees: what they promise to whoever opens them, and what is refused before one is written."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest

from mlconvert.artifact import Artifact
from mlconvert.errors import ConversionFailed, UsageError
from mlconvert.forests import onnx_file, onnx_trees
from mlconvert.forests.evaluation import answers
from mlconvert.forests.model import Forest, Link, TreeModel
from mlconvert.forests.onnx_file import write_trees
from mlconvert.forests.onnx_nodes import tree_nodes
from mlconvert.formats.protobuf_wire import onnx_outline
from mlconvert.onnx_model.files import onnx_signature, read_onnx
from mlconvert.onnx_model.releases import RUNTIMES, TreeOperators, runtime_limits, tree_operators

BINARY = {"task": "binary", "link": Link("sigmoid"), "missing": True}


@pytest.fixture
def binary(random_forests) -> TreeModel:
    return random_forests.random_forest(random_forests.Kind(**BINARY, trees=20), 1)


def attributes(path, operator) -> dict[str, onnx.AttributeProto]:
    (node,) = (node for node in onnx.load(path).graph.node if node.op_type == operator)
    return {attribute.name: attribute for attribute in node.attribute}


# --- the file ---


@pytest.mark.parametrize("options", [{}, {"dtype": "float32"}, {"leaf_indices": True}, {"target_runtime": "1.19"}])
def test_a_file_is_strict_onnx(tmp_path, random_forests, options):
    kind = random_forests.Kind(task="multiclass", outputs=3, texts=True, sets=40, link=Link("softmax"))
    path = tmp_path / "m.onnx"
    write_trees(random_forests.random_forest(kind, 1), path, **options)
    assert onnx_outline(path, named_onnx=True).damage is None
    onnx.checker.check_model(str(path), full_check=True)
    model = read_onnx(path)
    assert model == onnx.load(path)
    assert not model.producer_name
    assert list(tmp_path.iterdir()) == [path]


def test_two_makings_are_the_same_bytes(tmp_path, random_forests):
    kind = random_forests.Kind(sets=50, truncates=True, missing=True, outputs=2, vector=True)
    made = []
    for _ in range(2):
        write_trees(random_forests.random_forest(kind, 1), tmp_path / "m.onnx", leaf_indices=True)
        made.append((tmp_path / "m.onnx").read_bytes())
    assert made[0] == made[1]


def test_the_artifact_tells_what_is_in_the_file(tmp_path, binary):
    artifact = write_trees(binary, tmp_path / "m.onnx", raw_scores=True, leaf_indices=True)
    assert isinstance(artifact, Artifact)
    assert artifact.files == (tmp_path / "m.onnx",)
    assert artifact.signature == onnx_signature(read_onnx(tmp_path / "m.onnx"))
    assert [str(spec) for spec in artifact.signature.inputs] == ["input: float64[batch, 4]"]
    assert [str(spec) for spec in artifact.signature.outputs] == [
        "label: int64[batch]",
        "probabilities: float64[batch, 2]",
        "raw_scores: float64[batch, 1]",
        "leaf_indices: int64[batch, 20]",
    ]
    assert artifact.facts["opsets"] == {"ai.onnx": 18, "ai.onnx.ml": 5}


@pytest.mark.parametrize(
    ("arithmetic", "dtype", "precision"),
    [("float64", "float64", "float64"), ("float64", "float32", "float32"), ("float32", "float64", "float32")],
)
def test_the_precision_is_that_of_the_sums(tmp_path, random_forests, arithmetic, dtype, precision):
    kind = random_forests.Kind(arithmetic=arithmetic, compares="float32", outputs=3)
    artifact = write_trees(random_forests.random_forest(kind, 1), tmp_path / "m.onnx", dtype=dtype)
    assert artifact.facts["precision"] == precision
    assert [str(spec) for spec in artifact.signature.inputs] == [f"input: {dtype}[batch, 4]"]
    assert [str(spec) for spec in artifact.signature.outputs] == [f"variable: {precision}[batch, 3]"]


def test_few_nodes_follow_the_trees(tmp_path, binary):
    """Each costs time for every row."""
    write_trees(binary, tmp_path / "m.onnx")
    operators = [node.op_type for node in onnx.load(tmp_path / "m.onnx").graph.node]
    assert sorted(operators) == ["Cast", "Greater", "Mul", "Reshape", "Sigmoid", "TreeEnsemble"]


def test_missing_values_that_all_go_right_are_not_written(tmp_path, random_forests):
    path = tmp_path / "m.onnx"
    for missing in (True, False):
        write_trees(random_forests.random_forest(random_forests.Kind(missing=missing), 1), path)
        assert ("nodes_missing_value_tracks_true" in attributes(path, "TreeEnsemble")) is missing


@pytest.mark.parametrize("seed", range(30))
def test_no_root_leads_to_a_node_and_a_leaf_of_one_number(tmp_path, random_forests, seed):
    """ONNX Runtime 1.21 to 1.23 take it for a tree of one leaf; found by running their wheels."""
    model = random_forests.random_forest(random_forests.Kind(trees=8, depth=2), seed)
    write_trees(model, tmp_path / "m.onnx")
    found = attributes(tmp_path / "m.onnx", "TreeEnsemble")
    roots = np.array(found["tree_roots"].ints)
    true, false = (np.array(found[f"nodes_{side}nodeids"].ints)[roots] for side in ("true", "false"))
    assert not np.any(true == false)


def test_such_a_root_is_met():
    """The test above would see nothing if no random tree had one."""
    left, right = np.array([1, -1, 3, -4]), np.array([-1, -2, -4, -3])
    roots = np.array([0, 2])
    forest = type("F", (), {"roots": roots, "left": left, "right": right})
    assert onnx_trees._unused_leaves(forest) == 2  # the root 0 forbids 1, and the root 2 forbids 0


def test_a_graph_can_hold_the_nodes_under_names_of_its_own(binary):
    graph = tree_nodes(binary, "matrix", {"label": "a/label", "probabilities": "a/p"}, prefix="step3/")
    nodes, tensors = graph.node_protos(), graph.tensor_protos()
    assert nodes[0].input[0] == "matrix"
    produced = [name for node in nodes for name in node.output] + [tensor.name for tensor in tensors]
    assert len(set(produced)) == len(produced)
    assert {name for name in produced if not name.startswith("step3/")} == {"a/label", "a/p"}


# --- releases ---


def test_every_known_runtime_has_its_tree_operators():
    expected = {"1.19": (3, False), "1.20": (3, False), "1.21": (5, False), "1.22": (5, False)}
    for version in RUNTIMES:
        assert tree_operators(version) == TreeOperators(*expected.get(version, (5, True))), version
        assert tree_operators(f"{version}.1") == tree_operators(version)


def test_the_installed_runtime_has_its_tree_operators(tmp_path, random_forests):
    version = tree_operators(onnxruntime.__version__)
    assert version == TreeOperators()
    assert runtime_limits(onnxruntime.__version__).ml_opset == version.version


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_file_keeps_to_the_limits_of_its_runtime(tmp_path, random_forests, runtime):
    kind = random_forests.Kind(sets=40, missing=True)
    artifact = write_trees(random_forests.random_forest(kind, 1), tmp_path / "m.onnx", target_runtime=runtime)
    limits, operators = runtime_limits(runtime), tree_operators(runtime)
    assert artifact.facts["ir_version"] <= limits.ir
    assert artifact.facts["opsets"] == {"ai.onnx": 18, "ai.onnx.ml": operators.version}
    name = "TreeEnsemble" if operators.version == 5 else "TreeEnsembleRegressor"
    found = attributes(tmp_path / "m.onnx", name)
    assert ("membership_values" in found) is operators.sets


@pytest.mark.parametrize("opset", [14, 15, 17, 21, 22, 24, 26])
def test_every_opset_in_range_gives_the_same_answers(tmp_path, random_forests, opset):
    kind = random_forests.Kind(linear=True, task="multiclass", outputs=3, link=Link("softmax"), sets=9, truncates=True)
    model = random_forests.random_forest(kind, 1)
    rows = random_forests.rows_for(model, 1)
    write_trees(model, tmp_path / "m.onnx", opset=opset)
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    wanted = answers(model, rows)
    for name in ("label", "probabilities"):
        got = session.run([name], {"input": rows})[0]
        np.testing.assert_allclose(got, wanted[name], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"opset": 13}, "mlconvert takes trees in 14 to"),
        ({"opset": 99}, "mlconvert takes trees in 14 to"),
        ({"opset": 22, "target_runtime": "1.19"}, "ONNX Runtime 1.19 takes trees in 14 to 21"),
        ({"target_runtime": "1.18"}, "known: 1.19"),
    ],
)
def test_opsets_and_runtimes_out_of_range_are_wrong_use(tmp_path, binary, options, hint):
    with pytest.raises(UsageError) as caught:
        write_trees(binary, tmp_path / "m.onnx", **options)
    assert hint in caught.value.hint
    assert list(tmp_path.iterdir()) == []


# --- refusals ---


def chain(depth) -> TreeModel:
    node = np.arange(depth, dtype=np.int32)
    return TreeModel(
        Forest(
            features=1,
            compares="float64",
            strict=False,
            roots=np.zeros(1, np.int32),
            feature=np.zeros(depth, np.int32),
            threshold=np.arange(depth, dtype=np.float64),
            left=~node,
            right=np.where(node < depth - 1, node + 1, ~depth).astype(np.int32),
            missing_left=np.zeros(depth, bool),
            category_set=np.full(depth, -1, np.int32),
            set_bounds=np.zeros(1, np.int64),
            set_values=np.zeros(0),
            leaf_values=np.arange(depth + 1.0)[:, None],
            leaf_ids=np.arange(depth + 1, dtype=np.int32),
            tree_output=np.zeros(1, np.int32),
            truncates=np.zeros(1, bool),
            zero_is_missing=np.zeros(1, bool),
        ),
        "value",
        (0.0,),
        Link("identity"),
    )


@pytest.mark.parametrize("runtime", [None, "1.19"])
def test_a_tree_as_deep_as_onnx_runtime_bears(tmp_path, runtime):
    model = chain(onnx_trees.DEEPEST)
    write_trees(model, tmp_path / "m.onnx", target_runtime=runtime)
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    rows = np.array([[-1.0], [17.5], [1e9]])
    assert session.run(None, {"input": rows})[0].tolist() == answers(model, rows)["variable"].tolist()


def test_a_deeper_tree_is_refused(tmp_path):
    with pytest.raises(ConversionFailed, match="more than 5000 levels") as caught:
        write_trees(chain(onnx_trees.DEEPEST + 1), tmp_path / "m.onnx")
    assert "max_depth" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_more_than_a_file_can_hold_is_refused(tmp_path, binary, monkeypatch):
    monkeypatch.setattr(onnx_file, "PROTOBUF_LIMIT", 1000)
    with pytest.raises(ConversionFailed, match="more than 2 GB"):
        write_trees(binary, tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_leaves_beyond_float32_are_refused_in_float32(tmp_path, random_forests):
    model = random_forests.random_forest(random_forests.Kind(), 1)
    model = replace(model, forest=replace(model.forest, leaf_values=model.forest.leaf_values * 1e39))
    write_trees(model, tmp_path / "m.onnx")
    with pytest.raises(ConversionFailed, match="too large for float32"):
        write_trees(model, tmp_path / "m32.onnx", dtype="float32")


def test_a_forest_that_breaks_its_rules_is_not_written(tmp_path, binary):
    left = binary.forest.left.copy()
    left[0] = 0
    with pytest.raises(ValueError, match="do not form trees"):
        write_trees(replace(binary, forest=replace(binary.forest, left=left)), tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []
