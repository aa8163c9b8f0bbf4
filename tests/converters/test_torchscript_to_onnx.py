"""torchscript -> onnx, and the runner of the same file."""

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from mlconvert.artifact import Artifact
from mlconvert.converters.torchscript_to_onnx import convert
from mlconvert.errors import ConversionFailed, UsageError
from mlconvert.runners import torchscript as runner

pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit.*is deprecated:DeprecationWarning"),  # the test's own saving
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
    pytest.mark.filterwarnings("ignore:`torch.jit.*is not supported:DeprecationWarning"),
]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.lstm = nn.LSTM(4, 8, batch_first=True)
        self.head = nn.Linear(8, 2)

    def forward(self, x, scale):
        states, _ = self.lstm(x)
        return self.head(states) * scale[:, None, None], states[:, -1]


class Branch(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.sum() > 0:
            return x * 2
        return x - 1


class Keyed(nn.Module):
    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"double": x * 2}


def samples(rows, length):
    rng = np.random.default_rng(rows)
    return {
        "x": rng.normal(size=(rows, length, 4)).astype(np.float32),
        "scale": rng.normal(size=rows).astype(np.float32),
    }


def save(module, path):
    torch.jit.save(module, str(path))
    return Artifact("torchscript", str(path), (path,))


@pytest.fixture
def traced(tmp_path):
    given = tuple(torch.from_numpy(values) for values in samples(2, 3).values())
    return save(torch.jit.trace(Net().eval(), given), tmp_path / "net.pt")


def agree(source, made, given):
    reference = runner.load(source).run(given)
    session = onnxruntime.InferenceSession(made.location, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    assert names == [made.renamed.get(name, name) for name in reference]
    found = session.run(names, {made.renamed.get(name, name): values for name, values in given.items()})
    for expected, got in zip(reference.values(), found, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-5)


def test_a_traced_module_with_dynamic_axes(traced, tmp_path):
    made = convert(traced, tmp_path / "m.onnx", samples=samples(2, 3), dynamic={"x": ("batch", "time", "_")})
    assert [str(spec) for spec in (*made.signature.inputs, *made.signature.outputs)] == [
        "x: float32[batch, time, 4]",
        "scale: float32[batch]",
        "output_0: float32[batch, time, 2]",
        "output_1: float32[batch, 8]",
    ]
    for rows, length in ((1, 1), (4, 9)):
        agree(traced, made, samples(rows, length))
    content = (tmp_path / "m.onnx").read_bytes()
    assert not [trace for trace in (b"test_torchscript", b".py", b"site-packages") if trace in content]


def test_new_names_and_an_older_opset(traced, tmp_path):
    made = convert(traced, tmp_path / "m.onnx", samples=samples(2, 3), opset=13, inputs=("a", "b"), outputs=("c", "d"))
    assert made.facts["opsets"] == {"ai.onnx": 13}
    assert made.renamed == {"x": "a", "scale": "b", "output_0": "c", "output_1": "d"}
    agree(traced, made, samples(5, 3))


def test_a_static_graph(traced, tmp_path):
    made = convert(traced, tmp_path / "m.onnx", samples=samples(2, 3), static=True)
    assert made.signature.inputs[0].shape == (1, 3, 4)
    agree(traced, made, samples(1, 3))


def test_a_branch_of_a_script_stays_a_branch(tmp_path):
    source = save(torch.jit.script(Branch()), tmp_path / "branch.pt")
    made = convert(source, tmp_path / "m.onnx", samples={"x": np.ones((2, 3), np.float32)})
    for sign in (1, -1):
        agree(source, made, {"x": sign * np.ones((4, 3), np.float32)})


def test_a_dict_is_refused_because_its_keys_would_be_lost(tmp_path):
    source = save(torch.jit.script(Keyed()), tmp_path / "keyed.pt")
    given = {"x": np.ones((2, 3), np.float32)}
    assert list(runner.load(source).run(given)) == ["double"]
    with pytest.raises(ConversionFailed, match="returns a dict"):
        convert(source, tmp_path / "m.onnx", samples=given)


@pytest.mark.parametrize("opset", [8, 21])
def test_an_opset_that_the_exporter_cannot_give(traced, tmp_path, opset):
    with pytest.raises(ConversionFailed, match=f"opset {opset} was asked for: .* 9 to 20"):
        convert(traced, tmp_path / "m.onnx", samples=samples(2, 3), opset=opset)


def test_samples_are_needed_and_must_fit(traced, tmp_path):
    with pytest.raises(UsageError, match="no samples"):
        convert(traced, tmp_path / "m.onnx", samples={})
    with pytest.raises(UsageError, match="no input 'y'") as caught:
        runner.load(traced).run({"y": np.ones(2)})
    assert caught.value.hint == "the graph takes: x, scale"
    with pytest.raises(UsageError, match="no values for the input 'scale'"):
        runner.load(traced).run({"x": samples(2, 3)["x"]})
    with pytest.raises(ConversionFailed, match=r"failed on the samples \(x: float32\[2, 3, 4\], scale: float32\[3\]\)"):
        runner.load(traced).run(samples(2, 3) | {"scale": np.ones(3, np.float32)})


@pytest.mark.parametrize("kept", [0, 30, 900, -40])
def test_a_file_that_is_cut_off(traced, tmp_path, kept):
    path = tmp_path / "cut.pt"
    path.write_bytes(traced.path.read_bytes()[:kept])
    with pytest.raises(ConversionFailed):
        runner.load(Artifact("torchscript", str(path), (path,)))


def test_weights_are_no_torchscript(tmp_path):
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "weights.pt")
    with pytest.raises(ConversionFailed, match="the file holds weights or a pickle") as caught:
        runner.load(Artifact("torchscript", str(tmp_path / "weights.pt"), (tmp_path / "weights.pt",)))
    assert "module:factory" in caught.value.hint
