"""Lowering: what is already old is left alone, what cannot be old is named."""

import numpy as np
import onnx
import onnx.parser
import pytest

from mlconvert.converters import onnx_lower
from mlconvert.errors import ConversionFailed, UsageError
from mlconvert.onnx_model.files import onnx_artifact, opset_of, read_onnx, write_onnx
from mlconvert.runners import onnx as runner


def artifact(tmp_path, text, domains=()):
    model = onnx.parser.parse_model(text)
    for node in model.graph.node:
        node.name = f"the_{node.op_type}"
    path = tmp_path / "model.onnx"
    return onnx_artifact(path, write_onnx(model, path))


def one(operator, opset, ir=10):
    return f"""<ir_version: {ir}, opset_import: ["" : {opset}]>
        g (float[batch, 4] x) => (float[batch, 4] y)
        <int64[4] n = {{0, 0, 0, 0}}> {{ y = {operator} }}"""


ROW = {"x": np.array([[-2.0, -0.5, 0.25, 3.0]], np.float32)}


@pytest.mark.parametrize(
    "limit", [{"opset": 20}, {"opset": 17}, {"runtime": "1.19.2"}, {"release": "24.10"}, {"ir": 8}]
)
def test_a_model_that_is_old_enough_is_copied_byte_for_byte(tmp_path, limit):
    source = artifact(tmp_path, one("Relu(x)", 17))
    result = onnx_lower.convert(source, tmp_path / "o.onnx", **limit)
    assert result.path.read_bytes() == source.path.read_bytes()


@pytest.mark.parametrize(
    ("text", "opset"),
    [
        (one("Relu(x)", 28, 14), 14),
        (one("Gelu(x)", 20), 17),
        (one('Gelu<approximate="tanh">(x)', 20), 17),
        (one("Mish(x)", 18), 15),
        (one("Identity(x)", 25, 13), 16),
    ],
)
def test_a_lowered_model_answers_as_before(tmp_path, text, opset):
    text = (
        text.replace("y) {", "y) {")
        if "ReduceMean" not in text
        else text.replace("float[batch, 4] y", "float[batch, 1] y")
    )
    source = artifact(tmp_path, text)
    expected = runner.load(source).run(ROW)["y"]
    result = onnx_lower.convert(source, tmp_path / "o.onnx", opset=opset)
    model = read_onnx(result.path)
    assert opset_of(model) == opset
    assert result.facts["opsets"] == {"ai.onnx": opset}
    assert result.facts["was"]["opset"] == opset_of(read_onnx(source.path))
    for node in model.graph.node:
        assert onnx.defs.get_schema(node.op_type, opset).since_version <= opset
    np.testing.assert_allclose(runner.load(result).run(ROW)["y"], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("operator", "opset", "limit", "message"),
    [
        ("Gelu(x)", 20, 8, r"Gelu|Erf"),
        ("BatchNormalization(x, x, x, x, x)", 15, 14, r"the_BatchNormalization \(BatchNormalization\)"),
        ("GridSample(x, x)", 20, 15, r"node the_GridSample \(GridSample\) needs opset 16, and 15 is the limit"),
        ("Pad(x, n)", 21, 17, r"No Adapter .* for Pad \(nodes: the_Pad \(Pad\)\)"),
    ],
)
def test_an_operator_that_cannot_be_lowered_is_named(tmp_path, operator, opset, limit, message):
    source = artifact(tmp_path, one(operator, opset))
    with pytest.raises(ConversionFailed, match=message):
        onnx_lower.convert(source, tmp_path / "o.onnx", opset=limit)


def test_an_operator_in_a_branch_is_found_too(tmp_path):
    source = artifact(
        tmp_path,
        """<ir_version: 9, opset_import: ["" : 20]>
        g (float[n] x, bool c, string[n] s) => (string[n] y) { y = If (c) <
            then_branch = t () => (string[n] a) { a = StringConcat(s, s) },
            else_branch = e () => (string[n] b) { b = Identity(s) }> }""",
    )
    with pytest.raises(ConversionFailed, match=r"StringConcat.* needs opset 20"):
        onnx_lower.convert(source, tmp_path / "o.onnx", opset=19)


FUNCTION = """<ir_version: 10, opset_import: ["" : 21, "own" : 1]>
    g (float[n] x) => (float[n] y) { y = own.f(x) }
    <domain: "own", opset_import: ["" : 21]> f (a) => (b) { b = %s }"""


def test_functions_are_lowered_with_the_model(tmp_path):
    source = artifact(tmp_path, FUNCTION % "Abs(a)")
    result = onnx_lower.convert(source, tmp_path / "o.onnx", opset=14)
    assert runner.load(result).run({"x": ROW["x"][0]})["y"].tolist() == [2.0, 0.5, 0.25, 3.0]
    model = read_onnx(result.path)
    assert {entry.version for f in model.functions for entry in f.opset_import} <= {14}


def test_a_function_with_a_new_operator_is_lowered_or_refused(tmp_path):
    source = artifact(tmp_path, FUNCTION % "Gelu(a)")
    result = onnx_lower.convert(source, tmp_path / "o.onnx", opset=17)
    np.testing.assert_allclose(
        runner.load(result).run({"x": ROW["x"][0]})["y"], runner.load(source).run({"x": ROW["x"][0]})["y"], atol=1e-6
    )
    source = artifact(tmp_path, FUNCTION.replace("float[n]", "string[n]") % "StringConcat(a, a)")
    with pytest.raises(ConversionFailed, match="StringConcat"):
        onnx_lower.convert(source, tmp_path / "o.onnx", opset=17)


def test_ml_operators_are_lowered_when_they_are_the_same_and_else_named(tmp_path, monkeypatch):
    text = """<ir_version: 10, opset_import: ["" : 18, "ai.onnx.ml" : 5]>
        g (float[batch, 4] x) => (float[batch, 4] y) { y = ai.onnx.ml.%s }"""
    from mlconvert.onnx_model.releases import RUNTIMES, Limits

    monkeypatch.setitem(RUNTIMES, "1.22", Limits(21, 3, 10))
    source = artifact(tmp_path, text % "Binarizer<threshold = 0.5>(x)")
    result = onnx_lower.convert(source, tmp_path / "o.onnx", runtime="1.22")
    assert result.facts["opsets"] == {"ai.onnx": 18, "ai.onnx.ml": 3}
    assert runner.load(result).run(ROW)["y"].tolist() == [[0.0, 0.0, 0.0, 1.0]]
    tree = """TreeEnsemble <tree_roots = [0], nodes_splits = float[1] {0.5}, nodes_featureids = [0],
        nodes_modes = uint8[1] {0}, nodes_truenodeids = [0], nodes_falsenodeids = [1], nodes_trueleafs = [1],
        nodes_falseleafs = [1], leaf_targetids = [0, 0], leaf_weights = float[2] {1.0, 2.0}> (x)"""
    source = artifact(tmp_path, (text % tree).replace("float[batch, 4] y", "float[batch, 1] y"))
    message = r"the_TreeEnsemble \(ai.onnx.ml.TreeEnsemble\) needs ai.onnx.ml 5, and 3 is the limit"
    with pytest.raises(ConversionFailed, match=message):
        onnx_lower.convert(source, tmp_path / "o.onnx", runtime="1.22")


def test_the_ir_version_is_lowered_unless_a_type_needs_it(tmp_path):
    source = artifact(tmp_path, one("Relu(x)", 21))
    result = onnx_lower.convert(source, tmp_path / "o.onnx", ir=8)
    assert (result.facts["ir_version"], result.facts["opsets"]) == (8, {"ai.onnx": 21})
    assert runner.load(result).run(ROW)["y"].tolist() == [[0.0, 0.0, 0.25, 3.0]]
    model = read_onnx(source.path)
    model.graph.initializer.append(onnx.helper.make_tensor("q", onnx.TensorProto.INT4, [2], [1, 2]))
    source = onnx_artifact(source.path, write_onnx(model, source.path))
    with pytest.raises(ConversionFailed, match="INT4 needs IR version 10, and 8 is the limit"):
        onnx_lower.convert(source, tmp_path / "o.onnx", ir=8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs a limit"),
        ({"release": "23.01"}, "no limits are known of Triton '23.01'"),
        ({"runtime": "0.9"}, "no limits are known of ONNX Runtime '0.9'"),
        ({"opset": 6}, "older than any"),
        ({"ir": 3}, "older than"),
    ],
)
def test_limits_that_are_none(tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        onnx_lower.convert(artifact(tmp_path, one("Relu(x)", 17)), tmp_path / "o.onnx", **options)


@pytest.fixture
def forest(trained, tmp_path):
    from mlconvert.forests.lightgbm import read_lightgbm
    from mlconvert.forests.onnx_file import write_trees

    path = trained("breast_cancer.txt")
    return write_trees(read_lightgbm(path.read_bytes(), str(path)), tmp_path / "forest.onnx")


@pytest.mark.parametrize("limit", [{"runtime": "1.19"}, {"runtime": "1.20.2"}, {"release": "24.10"}])
def test_trees_that_an_old_runtime_has_no_kernel_for_are_refused_with_the_option_that_helps(forest, tmp_path, limit):
    with pytest.raises(ConversionFailed, match=r"ONNX Runtime 1\.(19|20\.2) does not run TreeEnsemble") as caught:
        onnx_lower.convert(forest, tmp_path / "o.onnx", **limit)
    assert (caught.value.hint or "").startswith("make the model for it: --set onnx.target_runtime=1.")
    assert not (tmp_path / "o.onnx").exists()
    made = onnx_lower.convert(forest, tmp_path / "o.onnx", runtime="1.21")
    assert made.path.read_bytes() == forest.path.read_bytes()


def test_sets_of_categories_need_a_later_runtime(forest, tmp_path):
    model = onnx.load(forest.path)
    (modes,) = [a.t for node in model.graph.node for a in node.attribute if a.name == "nodes_modes"]
    modes.raw_data = b"\x06" + modes.raw_data[1:]  # BRANCH_MEMBER
    onnx.save(model, forest.path)
    with pytest.raises(ConversionFailed, match=r"1\.21 does not run sets of categories"):
        onnx_lower.convert(forest, tmp_path / "o.onnx", runtime="1.21")
    onnx_lower.convert(forest, tmp_path / "o.onnx", runtime="1.24")
