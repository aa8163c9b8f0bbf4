"""The table of releases agrees with the ONNX Runtime that is installed, and is closed at its ends."""

import itertools

import onnx
import onnxruntime
import pytest

from mlconvert.errors import UsageError
from mlconvert.onnx_model.releases import RUNTIMES, TRITON, runtime_limits, triton_runtime


def loads(opset, ir, ml=None):
    domain = "ai.onnx.ml" if ml else ""
    attributes = {"offset": [0.0], "scale": [1.0]} if ml else {}
    node = onnx.helper.make_node("Scaler" if ml else "Identity", ["x"], ["y"], domain=domain, **attributes)
    tensors = [onnx.helper.make_tensor_value_info(name, 1, [2]) for name in ("x", "y")]
    imports = [onnx.helper.make_opsetid("", opset)] + ([onnx.helper.make_opsetid(domain, ml)] if ml else [])
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", tensors[:1], tensors[1:]), opset_imports=imports)
    model.ir_version = ir
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception:
        return False
    return True


def test_the_installed_runtime_has_the_limits_of_the_table():
    limits = runtime_limits(onnxruntime.__version__)
    assert loads(limits.opset, 8)
    assert not loads(limits.opset + 1, 8)
    assert loads(13, limits.ir)
    assert not loads(13, limits.ir + 1)
    assert loads(13, 8, limits.ml_opset)
    assert not loads(13, 8, limits.ml_opset + 1)


def test_no_runtime_can_less_than_the_one_before_it():
    rows = [(row.opset, row.ml_opset, row.ir) for row in RUNTIMES.values()]
    assert all(a <= b for one, other in itertools.pairwise(rows) for a, b in zip(one, other, strict=True))
    assert list(RUNTIMES) == sorted(RUNTIMES, key=lambda v: int(v.split(".")[1]))
    assert set(TRITON.values()) <= set(RUNTIMES)


@pytest.mark.parametrize(
    ("release", "runtime"),
    [("24.10", "1.19"), ("25.01", "1.19"), ("25.09", "1.20"), ("26.07", "1.27")],
)
def test_a_release_between_known_ones_has_at_least_the_older_runtime(release, runtime):
    assert triton_runtime(release) == runtime


@pytest.mark.parametrize("release", ["24.09", "26.08", "25.13", "25.00", "2.51", "latest", "", "24.10.1"])
def test_unknown_releases_are_refused_with_the_known_ones(release):
    with pytest.raises(UsageError) as caught:
        triton_runtime(release)
    assert "24.10 to 26.07" in caught.value.hint


@pytest.mark.parametrize("version", ["1.18", "2.0", "1", "1.19rc1", "1.19.x", ""])
def test_unknown_runtimes_are_refused_with_the_known_ones(version):
    with pytest.raises(UsageError) as caught:
        runtime_limits(version)
    assert "1.19, 1.20" in caught.value.hint
