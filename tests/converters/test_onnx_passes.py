"""What holds of every pass from ONNX to ONNX, on a convolutional net, an MLP and an attention block."""

import os
import sys

import numpy as np
import onnx
import onnx.parser
import pytest

from mlconvert.artifact import Artifact
from mlconvert.converters import (
    onnx_bfloat16,
    onnx_float16,
    onnx_int8_dynamic,
    onnx_int8_static,
    onnx_lower,
    onnx_optimize,
    onnx_simplify,
)
from mlconvert.errors import ConversionFailed, NotVerified, UsageError
from mlconvert.onnx_model import files as onnx_files
from mlconvert.onnx_model.files import onnx_artifact, read_onnx, write_onnx
from mlconvert.onnx_model.passes import contained, interface_of, keep_interface, write_pass
from mlconvert.runners import onnx as runner

GRAPHS = {
    # An input that nothing uses is part of the contract with whoever calls the model.
    "conv": """<ir_version: 8, opset_import: ["" : 18]>
        g (float[batch, 3, height, width] x, float[batch] unused) => (float[batch, 5] y) {
            c = Conv <pads = [1, 1, 1, 1]> (x, w_8_3_3_3)
            n = BatchNormalization (c, s_8, b_8, m_8, positive_8)
            r = Relu (n)  p = GlobalAveragePool (r)  f = Flatten (p)  y = Gemm (f, v_8_5) }""",
    "mlp": """<ir_version: 9, opset_import: ["" : 20]>
        g (float[batch, 16] x) => (float[batch, 4] y, float[batch, 32] hidden) {
            a = MatMul (x, w_16_32)  b = Add (a, b_32)  hidden = Gelu (b)
            c = MatMul (hidden, v_32_4)  y = Softmax <axis = -1> (c) }""",
    "attention": """<ir_version: 8, opset_import: ["" : 17]>
        g (float[batch, seq, 16] x) => (float[batch, seq, 16] y) {
            q = MatMul (x, q_16_16)  k = MatMul (x, k_16_16)  v = MatMul (x, v_16_16)
            t = Transpose <perm = [0, 2, 1]> (k)  s = MatMul (q, t)  p = Softmax <axis = -1> (s)
            o = MatMul (p, v)  r = Add (o, x)  y = LayerNormalization (r, g_16, b_16) }""",
}
SAMPLES = {
    "conv": {"x": (7, 3, 8, 8), "unused": (7,)},
    "mlp": {"x": (20, 16)},
    "attention": {"x": (5, 6, 16)},
}


def build(name: str) -> onnx.ModelProto:
    model = onnx.parser.parse_model(GRAPHS[name])
    rng = np.random.default_rng(3)
    for node in model.graph.node:
        node.name = f"{node.op_type}_{node.output[0]}"
        for value in node.input:
            letter, *shape = value.split("_")
            if shape and value not in {tensor.name for tensor in model.graph.initializer}:
                array = rng.normal(size=[int(axis) for axis in shape]).astype(np.float32) * 0.3
                array = np.abs(array) + 0.5 if letter == "positive" else array
                model.graph.initializer.append(onnx.numpy_helper.from_array(array, value))
    return model


def samples_of(name: str) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(4)
    return {key: rng.normal(size=shape).astype(np.float32) for key, shape in SAMPLES[name].items()}


@pytest.fixture(params=list(GRAPHS))
def name(request) -> str:
    return request.param


@pytest.fixture
def source(tmp_path, name) -> Artifact:
    path = tmp_path / "source" / "model.onnx"
    path.parent.mkdir()
    return onnx_artifact(path, write_onnx(build(name), path))


@pytest.fixture
def target(tmp_path):
    (tmp_path / "target").mkdir()
    return tmp_path / "target" / "model.onnx"


PASSES = {
    "optimize": (onnx_optimize, {}, 1e-6),
    "optimize without fusion": (onnx_optimize, {"skip": ("graph_fusion",)}, 1e-6),
    "optimize with onnxscript": (onnx_optimize, {"engine": "onnxscript"}, 1e-6),
    "simplify": (onnx_simplify, {}, 1e-6),
    "float16": (onnx_float16, {}, 5e-3),
    "bfloat16 weights": (onnx_bfloat16, {"weights_only": True}, 4e-2),
    "int8-dynamic": (onnx_int8_dynamic, {}, 8e-2),
    "int8-dynamic by column": (onnx_int8_dynamic, {"per_channel": True}, 8e-2),
    "int8-static": (onnx_int8_static, {"samples": True}, 1e-1),
    "int8-static, entropy": (onnx_int8_static, {"samples": True, "method": "entropy", "per_channel": True}, 1e-1),
    "int8-static, percentile": (onnx_int8_static, {"samples": True, "method": "percentile"}, 3e-1),
    "int8-static, symmetric": (onnx_int8_static, {"samples": True, "symmetric": True}, 2e-1),
    "lower": (onnx_lower, {"release": "24.10", "opset": 17}, 1e-6),
}


@pytest.mark.parametrize("case", list(PASSES))
def test_a_pass_keeps_the_interface_and_nearly_the_answers(source, target, name, case):
    module, options, tolerance = PASSES[case]
    options = {**options, "samples": samples_of(name)} if "samples" in options else options
    expected = runner.load(source).run(samples_of(name))
    result = module.convert(source, target, **options)
    assert result.signature == source.signature
    assert runner.signature(result) == source.signature
    found = runner.load(result).run(samples_of(name))
    for output, values in expected.items():
        np.testing.assert_allclose(found[output], values, atol=tolerance, rtol=0)
    assert sorted(target.parent.iterdir()) == sorted(result.files)  # no scratch folder is left
    assert b"/tmp" not in target.read_bytes()


@pytest.mark.parametrize("case", list(PASSES))
def test_a_pass_takes_and_gives_external_data(source, target, name, case, monkeypatch):
    monkeypatch.setattr(onnx_files, "EXTERNAL_ABOVE", 100)
    source = onnx_artifact(source.path, write_onnx(build(name), source.path))
    assert len(source.files) == 2
    module, options, tolerance = PASSES[case]
    options = {**options, "samples": samples_of(name)} if "samples" in options else options
    expected = runner.load(source).run(samples_of(name))
    result = module.convert(source, target, **options)
    assert [path.name for path in result.files] == ["model.onnx", "model.onnx.data"]
    for path in source.files:
        path.unlink()
    found = runner.load(result).run(samples_of(name))
    for output, values in expected.items():
        np.testing.assert_allclose(found[output], values, atol=tolerance, rtol=0)


def test_passes_do_what_they_are_for(source, target, name):
    before = onnx_files.weight_bytes(read_onnx(source.path))
    for module in (onnx_float16, onnx_bfloat16):
        assert onnx_files.weight_bytes(read_onnx(module.convert(source, target).path)) <= before * 0.51
    facts = onnx_optimize.convert(source, target).facts
    assert (facts["nodes_after"] < facts["nodes_before"]) == (name == "conv")  # the batch normalisation
    facts = onnx_int8_static.convert(source, target, samples=samples_of(name)).facts
    assert facts["quantised_weights"] == {"conv": 2, "mlp": 2, "attention": 3}[name]
    assert facts["calibration_rows"] == len(samples_of(name)["x"])
    facts = onnx_int8_dynamic.convert(source, target).facts
    assert facts["quantised_weights"] == {"conv": 1, "mlp": 2, "attention": 3}[name]


def test_the_large_engine_is_taken_for_large_models(source, target, monkeypatch):
    assert onnx_optimize.convert(source, target).facts["engine"] == "onnxslim"
    monkeypatch.setattr(onnx_optimize, "LARGE", 100)
    assert onnx_optimize.convert(source, target).facts["engine"] == "onnxscript"


# --- the interface ---


def test_a_dropped_input_comes_back_in_its_place():
    model = build("conv")
    before = interface_of(model)
    model.graph.input.pop()
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "unk__0"
    keep_interface(model, before, "the tool")
    assert interface_of(model).signature == before.signature


@pytest.mark.parametrize("damage", ["output lost", "output added", "input renamed", "type", "length", "rank"])
def test_what_cannot_be_put_back_is_an_error(tmp_path, damage):
    model = build("mlp")
    before = interface_of(model)
    if damage == "output lost":
        model.graph.output.pop()
    elif damage == "output added":
        model.graph.output.add().CopyFrom(onnx.helper.make_tensor_value_info("c", 1, ["batch", 4]))
    elif damage == "input renamed":
        model.graph.input[0].name = model.graph.node[0].input[0] = "other"
    elif damage == "length":
        model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 5
    elif damage == "type":
        model.graph.node.append(onnx.helper.make_node("Cast", ["y"], ["y16"], to=10))
        model.graph.output[0].name = "y16"
        model.graph.output[0].type.tensor_type.elem_type = 10
    else:
        model.graph.output[0].type.tensor_type.shape.dim.pop()
    with pytest.raises(ConversionFailed):
        write_pass(model, tmp_path / "m.onnx", before, "the tool")


def test_a_float_input_that_became_float16_is_an_error_unless_it_may():
    model = build("mlp")
    before = interface_of(model)
    model.graph.input[0].type.tensor_type.elem_type = 10
    with pytest.raises(ConversionFailed, match="changed the type of 'x'"):
        keep_interface(model, before, "the tool")
    keep_interface(model, before, "the tool", dtypes=False)


def test_noise_is_contained(tmp_path, capfd):
    with contained(tmp_path / "m.onnx") as folder:
        print("from Python")
        os.write(1, b"from native code\n")
        assert folder.parent == tmp_path
    print("after")
    sys.stdout.flush()
    out, err = capfd.readouterr()
    assert out == "after\n"
    assert "from native code" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("module", [onnx_optimize, onnx_simplify, onnx_float16, onnx_int8_dynamic])
def test_stdout_stays_clean(tmp_path, capfd, module):
    path = tmp_path / "model.onnx"
    module.convert(onnx_artifact(path, write_onnx(build("mlp"), path)), tmp_path / "out.onnx")
    assert capfd.readouterr().out == ""


# --- simplify ---


def mlp_artifact(tmp_path):
    path = tmp_path / "model.onnx"
    return onnx_artifact(path, write_onnx(build("mlp"), path))


def test_onnxsim_checks_what_it_can_and_says_so(tmp_path):
    assert onnx_simplify.convert(mlp_artifact(tmp_path), tmp_path / "o.onnx").facts["onnxsim_checks"] == 3
    path = tmp_path / "conv.onnx"
    conv = onnx_artifact(path, write_onnx(build("conv"), path))
    assert onnx_simplify.convert(conv, tmp_path / "o.onnx").facts["onnxsim_checks"] == 0
    shapes = {"x": (2, 3, 8, 8)}
    assert onnx_simplify.convert(conv, tmp_path / "o.onnx", shapes=shapes).facts["onnxsim_checks"] == 3
    for wrong in ({"xx": (1,)}, {"x": (1, 3)}):
        with pytest.raises(UsageError, match="shapes"):
            onnx_simplify.convert(conv, tmp_path / "o.onnx", shapes=wrong)


def test_a_failed_check_of_onnxsim_is_an_error(tmp_path, monkeypatch):
    import onnxsim

    monkeypatch.setattr(onnxsim, "simplify", lambda model, **_: (model, False))
    with pytest.raises(ConversionFailed, match="does not answer as the original"):
        onnx_simplify.convert(mlp_artifact(tmp_path), tmp_path / "o.onnx")


# --- float16 and bfloat16 ---


@pytest.mark.parametrize("module", [onnx_float16, onnx_bfloat16])
def test_inputs_and_outputs_change_their_type_only_when_told(tmp_path, module):
    source = mlp_artifact(tmp_path)
    kind = "float16" if module is onnx_float16 else "bfloat16"
    result = module.convert(source, tmp_path / "o.onnx", keep_io_types=False)
    specs = (*result.signature.inputs, *result.signature.outputs)
    assert {spec.dtype for spec in specs} == {kind}
    kept = module.convert(source, tmp_path / "o.onnx")
    assert kept.signature == source.signature


@pytest.mark.parametrize("module", [onnx_float16, onnx_bfloat16])
def test_nodes_that_are_kept_stay_float32(tmp_path, module):
    source = mlp_artifact(tmp_path)
    for keep in ("Softmax", "Softmax_y"):
        result = module.convert(source, tmp_path / "o.onnx", keep_nodes=(keep,))
        model = onnx.shape_inference.infer_shapes(read_onnx(result.path), strict_mode=True)
        types = {v.name: v.type.tensor_type.elem_type for v in (*model.graph.value_info, *model.graph.output)}
        softmax, matmul = (next(n for n in model.graph.node if n.op_type == op) for op in ("Softmax", "MatMul"))
        assert types[softmax.input[0]] == onnx.TensorProto.FLOAT
        assert types[matmul.output[0]] == (10 if module is onnx_float16 else 16)
    with pytest.raises(UsageError, match=r"no operator and no node 'SoftMax'. Did you mean 'Softmax"):
        module.convert(source, tmp_path / "o.onnx", keep_nodes=("SoftMax",))


def test_values_beyond_float16_are_an_error_or_clamped_when_told(tmp_path):
    model = build("mlp")
    weights = onnx.numpy_helper.to_array(model.graph.initializer[1]).copy()
    weights[0], weights[1] = 7e4, -np.inf
    model.graph.initializer[1].CopyFrom(onnx.numpy_helper.from_array(weights, "b_32"))
    path = tmp_path / "model.onnx"
    source = onnx_artifact(path, write_onnx(model, path))
    with pytest.raises(ConversionFailed, match=r"beyond float16's range \(65504\) in 'b_32'"):
        onnx_float16.convert(source, tmp_path / "o.onnx")
    kept = onnx_float16.convert(source, tmp_path / "o.onnx", keep_nodes=("Add",))
    assert "clamped" not in kept.facts
    clamped = onnx_float16.convert(source, tmp_path / "o.onnx", clamp=True)
    assert clamped.facts["clamped"] == ["b_32"]
    found = {t.name: onnx.numpy_helper.to_array(t) for t in read_onnx(clamped.path).graph.initializer}
    assert (found["b_32"][0], found["b_32"][1]) == (65504, -np.inf)


def test_a_constant_beyond_float16_is_found_too(tmp_path):
    model = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["" : 17]>
        g (float[n] x) => (float[n] y) { big = Constant <value = float[1] {-3.4e38}> ()  y = Add (x, big) }""")
    path = tmp_path / "model.onnx"
    source = onnx_artifact(path, write_onnx(model, path))
    with pytest.raises(ConversionFailed, match=r"in 'big \(Constant\)'"):
        onnx_float16.convert(source, tmp_path / "o.onnx")
    half = onnx_float16.convert(source, tmp_path / "o.onnx", clamp=True)
    assert runner.load(half).run({"x": np.zeros(2, np.float32)})["y"].tolist() == [-65504, -65504]


def trees() -> onnx.ModelProto:
    node = onnx.helper.make_node(
        "TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", n_targets=1, nodes_treeids=[0], nodes_nodeids=[0],
        nodes_featureids=[0], nodes_modes=["LEAF"], nodes_values=[0.0], nodes_truenodeids=[0], nodes_falsenodeids=[0],
        target_treeids=[0], target_nodeids=[0], target_ids=[0], target_weights=[1.5],
    )  # fmt: skip
    inputs = [onnx.helper.make_tensor_value_info("x", 1, ["batch", 2])]
    outputs = [onnx.helper.make_tensor_value_info("y", 1, ["batch", 1])]
    imports = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("ai.onnx.ml", 3)]
    return onnx.helper.make_model(onnx.helper.make_graph([node], "g", inputs, outputs), opset_imports=imports)


@pytest.mark.parametrize(
    ("module", "options"),
    [
        (onnx_float16, {}),
        (onnx_bfloat16, {}),
        (onnx_bfloat16, {"weights_only": True}),
        (onnx_int8_dynamic, {}),
        (onnx_int8_static, {"samples": {"x": np.zeros((2, 2), np.float32)}}),
    ],
)
def test_trees_are_refused_where_nothing_would_change(tmp_path, module, options):
    path = tmp_path / "model.onnx"
    source = onnx_artifact(path, write_onnx(trees(), path))
    with pytest.raises(ConversionFailed, match="TreeEnsembleRegressor"):
        module.convert(source, tmp_path / "o.onnx", **options)


def test_bfloat16_arithmetic_is_consistent_and_verification_says_what_it_lacks(source, target, name):
    result = onnx_bfloat16.convert(source, target)
    assert result.signature == source.signature
    assert result.facts["arithmetic"] == "bfloat16"
    model = read_onnx(result.path)
    assert {t.data_type for t in model.graph.initializer if len(t.dims) > 1} == {onnx.TensorProto.BFLOAT16}
    with pytest.raises(NotVerified, match="CPU provider cannot run"):
        runner.load(result)


def test_bfloat16_arithmetic_answers_in_onnx_reference(source, target, name):
    """ONNX Runtime's CPU provider has no kernels; ONNX's own (slow) reference implementation has."""
    from onnx.reference import ReferenceEvaluator

    expected = runner.load(source).run(samples_of(name))
    result = onnx_bfloat16.convert(source, target)
    found = ReferenceEvaluator(read_onnx(result.path)).run(None, samples_of(name))
    for values, other in zip(expected.values(), found, strict=True):
        np.testing.assert_allclose(np.asarray(other, np.float32), values, atol=0.1, rtol=0)


def test_bfloat16_clamps_to_finite_and_keeps_the_extremes(tmp_path):
    model = build("mlp")
    weights = onnx.numpy_helper.to_array(model.graph.initializer[0]).copy()
    weights[0, :3] = np.finfo(np.float32).max, -np.inf, np.nan
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weights, "w_16_32"))
    path = tmp_path / "model.onnx"
    result = onnx_bfloat16.convert(onnx_artifact(path, write_onnx(model, path)), tmp_path / "o.onnx", weights_only=True)
    stored = next(t for t in read_onnx(result.path).graph.initializer if t.data_type == 16 and t.dims[0] == 16)
    values = onnx.numpy_helper.to_array(stored).astype(np.float32)[0, :3]
    assert np.isfinite(values[0])
    assert values[0] > 3.3e38
    assert values[1] == -np.inf
    assert np.isnan(values[2])


def test_bfloat16_refuses_inner_graphs_and_contradictions(tmp_path):
    model = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["" : 17]>
        g (float[n] x, bool c) => (float[n] y) { y = If (c) <
            then_branch = t () => (float[n] a) { a = Neg(x) }, else_branch = e () => (float[n] b) { b = Abs(x) }> }""")
    path = tmp_path / "model.onnx"
    source = onnx_artifact(path, write_onnx(model, path))
    with pytest.raises(ConversionFailed, match="inner graphs"):
        onnx_bfloat16.convert(source, tmp_path / "o.onnx")
    with pytest.raises(UsageError, match="weights_only"):
        onnx_bfloat16.convert(source, tmp_path / "o.onnx", weights_only=True, keep_io_types=False)


# --- int8 ---


def test_static_quantisation_needs_fitting_samples(tmp_path):
    source = mlp_artifact(tmp_path)
    for samples, message in (
        ({}, "there are none"),
        ({"z": np.zeros((2, 16), np.float32)}, "no 'x'"),
        ({"x": np.zeros((0, 16), np.float32)}, "needs 1 rows"),
    ):
        with pytest.raises(UsageError, match=message):
            onnx_int8_static.convert(source, tmp_path / "o.onnx", samples=samples)
    with pytest.raises(ConversionFailed, match="quantize_static failed"):
        onnx_int8_static.convert(source, tmp_path / "o.onnx", samples={"x": np.zeros((2, 15), np.float32)})
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_calibration_uses_the_rows_that_are_asked_for(tmp_path):
    source = mlp_artifact(tmp_path)
    rows = samples_of("mlp")
    assert onnx_int8_static.convert(source, tmp_path / "o.onnx", samples=rows, rows=7).facts["calibration_rows"] == 7


def test_a_fixed_batch_is_calibrated_in_its_own_size(tmp_path):
    model = build("mlp")
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 3
    path = tmp_path / "model.onnx"
    source = onnx_artifact(path, write_onnx(model, path))
    result = onnx_int8_static.convert(source, tmp_path / "o.onnx", samples=samples_of("mlp"))
    assert result.facts["calibration_rows"] == 18  # of 20, in threes
    with pytest.raises(UsageError, match="needs 3 rows of samples, and there are 2"):
        onnx_int8_static.convert(source, tmp_path / "o.onnx", samples=samples_of("mlp"), rows=2)


@pytest.mark.parametrize("module", [onnx_int8_dynamic, onnx_int8_static])
def test_kept_nodes_are_not_quantised_and_must_exist(tmp_path, module):
    source = mlp_artifact(tmp_path)
    samples = {"samples": samples_of("mlp")} if module is onnx_int8_static else {}
    result = module.convert(source, tmp_path / "o.onnx", keep_nodes=("MatMul_a",), **samples)
    assert result.facts["quantised_weights"] == 1
    with pytest.raises(UsageError, match=r"no node 'MatMul_b'. Did you mean 'MatMul_"):
        module.convert(source, tmp_path / "o.onnx", keep_nodes=("MatMul_b",), **samples)


def test_an_operator_that_cannot_be_quantised_dynamically(tmp_path):
    with pytest.raises(UsageError, match=r"'Matmul'.*Did you mean 'MatMul'"):
        onnx_int8_dynamic.convert(mlp_artifact(tmp_path), tmp_path / "o.onnx", operators=("Matmul",))


@pytest.mark.parametrize("count", [128, 130])
@pytest.mark.parametrize("name", ["mlp"], indirect=True)
def test_int8_static_sees_every_row(source, target, name, count):
    """The one row with large values is the first: forgetting earlier batches would clip it."""
    first = next(iter(samples_of(name).values()))
    rows = np.random.default_rng(0).normal(size=(count, *first.shape[1:])).astype(np.float32)
    rows[0] *= 50
    (x,) = samples_of(name)
    made = onnx_int8_static.convert(source, target, samples={x: rows})
    before, after = (runner.load(artifact).run({x: rows[:1]}) for artifact in (source, made))
    for output, values in before.items():
        assert np.abs(after[output] - values).max() < 0.1 * np.abs(values).max()
