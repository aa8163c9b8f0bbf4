"""The pass mixed-float16: what overflows on the samples stays float32, the rest does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

from mlconvert.artifact import Artifact
from mlconvert.converters import onnx_float16, onnx_mixed_float16
from mlconvert.errors import UsageError
from mlconvert.onnx_model.files import onnx_artifact, read_onnx, write_onnx

SQUARES = """g (float[batch, 4] x) => (float[batch, 4] y)
    { a = MatMul(x, w)\n b = Mul(a, big)\n c = Mul(b, b)\n d = Sqrt(c)\n y = Div(d, big) }"""


def source(folder: Path, scale: float, text: str = SQUARES) -> Artifact:
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]>\n{text}')
    weights = {"w": np.eye(4, dtype=np.float32), "big": np.array([scale], np.float32)}
    model.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in weights.items())
    path = folder / "source.onnx"
    return onnx_artifact(path, write_onnx(model, path))


def answer(made: Artifact, batch: dict[str, np.ndarray]) -> np.ndarray:
    """As hardware with float16 computes it: ONNX Runtime's CPU provider has float32 kernels alone, and drops casts."""
    with np.errstate(over="ignore", invalid="ignore"):
        (values,) = ReferenceEvaluator(str(made.path)).run(None, dict(batch))
    return values


ROWS = {"x": np.linspace(-3, 3, 80, dtype=np.float32).reshape(20, 4)}


def test_nodes_that_overflow_stay_in_float32_and_the_others_do_not(tmp_path) -> None:
    model = source(tmp_path, 1000.0)  # c is up to 9e6
    plain = onnx_float16.convert(model, tmp_path / "plain.onnx")
    assert not np.isfinite(answer(plain, ROWS)).all()
    made = onnx_mixed_float16.convert(model, tmp_path / "mixed.onnx", samples=ROWS)
    np.testing.assert_allclose(answer(made, ROWS), np.abs(ROWS["x"]), rtol=2e-3, atol=2e-3)
    operators = {node.name: node.op_type for node in read_onnx(made.path).graph.node}
    assert [operators[name] for name in made.facts["kept_in_float32"]] == ["Mul", "Sqrt"]
    assert made.facts["largest_values"]["c"] == pytest.approx(9e6, rel=1e-3)
    assert not [name for name in operators if name.startswith("c_cast")]  # nothing is rounded between the two
    graph = read_onnx(made.path).graph
    assert next(tensor for tensor in graph.initializer if tensor.name.startswith("w")).data_type == 10  # float16
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["mixed.onnx", "plain.onnx", "source.onnx"]


def test_where_nothing_overflows_it_is_the_pass_float16(tmp_path) -> None:
    model = source(tmp_path, 1.0)
    made = onnx_mixed_float16.convert(model, tmp_path / "mixed.onnx", samples=ROWS)
    assert made.facts["kept_in_float32"] == []
    plain = onnx_float16.convert(model, tmp_path / "plain.onnx")
    kinds = [[node.op_type for node in read_onnx(one.path).graph.node] for one in (made, plain)]
    assert kinds[0] == kinds[1]


def test_infinities_are_no_overflow(tmp_path) -> None:
    text = "g (float[batch, 4] x) => (float[batch, 4] y) { a = Log(x)\n b = Mul(a, big)\n y = MatMul(b, w) }"
    made = onnx_mixed_float16.convert(
        source(tmp_path, 1.0, text), tmp_path / "mixed.onnx", samples={"x": np.zeros((2, 4), np.float32)}
    )
    assert made.facts["kept_in_float32"] == []


def test_without_samples_or_with_a_wrong_margin_it_is_told(tmp_path) -> None:
    model = source(tmp_path, 1.0)
    with pytest.raises(UsageError, match="by running samples, and there are none"):
        onnx_mixed_float16.convert(model, tmp_path / "mixed.onnx", samples={})
    with pytest.raises(UsageError, match=r"margin=0\.5"):
        onnx_mixed_float16.convert(model, tmp_path / "mixed.onnx", samples=ROWS, margin=0.5)
    with pytest.raises(UsageError, match="lack the input 'x'"):
        onnx_mixed_float16.convert(model, tmp_path / "mixed.onnx", samples={"z": ROWS["x"]})


@settings(max_examples=15)
@given(st.floats(-3, 6), st.integers(1, 40))
def test_the_samples_never_overflow_in_the_result(tmp_path_factory, exponent, rows) -> None:
    folder = tmp_path_factory.mktemp("mixed")
    batch = {"x": np.linspace(0.5, 3, rows * 4, dtype=np.float32).reshape(rows, 4)}
    made = onnx_mixed_float16.convert(source(folder, 10.0**exponent), folder / "mixed.onnx", samples=batch)
    answers = answer(made, batch)
    assert np.isfinite(answers).all()
