"""torch -> torchscript, and torchscript's own pass: what a server needs to know is on record, nothing of here is."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from mlconvert.artifact import Artifact
from mlconvert.converters import torch_to_torchscript, torchscript_freeze
from mlconvert.errors import ConversionFailed, UsageError
from mlconvert.formats import source_artifact
from mlconvert.runners import torchscript as runner
from mlconvert.signature import Signature, TensorSpec

FACTORY = '''
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 3)

    def forward(self, x, scale):
        y = self.layer(x) * scale
        return y, y.sum(dim=1)

class Fixed(torch.nn.Module):
    def forward(self, x):
        return torch.zeros(int(x.shape[0]), 2) + x.sum()

class Named(torch.nn.Module):
    def forward(self, x):
        return {"y": x * 2}

def net():
    torch.manual_seed(0)
    return Net()

def fixed():
    return Fixed()

def named():
    return Named()
'''  # fmt: skip
SAMPLES = {
    "x": np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32),
    "scale": np.ones((8, 1), np.float32),
}


@pytest.fixture
def factory(tmp_path: Path) -> Path:
    path = tmp_path / "factory.py"
    path.write_text(FACTORY)
    return path


def source(path: Path, name: str) -> Artifact:
    return source_artifact(f"{path}:{name}")


@pytest.mark.parametrize("method", ["trace", "script"])
def test_a_module_keeps_its_names_and_axes(factory, tmp_path, method: str) -> None:
    made = torch_to_torchscript.convert(source(factory, "net"), tmp_path / "model.pt", samples=SAMPLES, method=method)
    assert made.signature == Signature(
        (TensorSpec("x", "float32", ("batch", 4)), TensorSpec("scale", "float32", ("batch", 1))),
        (TensorSpec("output_0", "float32", ("batch", 3)), TensorSpec("output_1", "float32", ("batch",))),
    )
    assert made.facts == {"arguments": ["x", "scale"], "returns": "Tuple"}
    answers = runner.load(made).run(SAMPLES)
    torch.manual_seed(0)
    layer = torch.nn.Linear(4, 3)
    wanted = layer(torch.from_numpy(SAMPLES["x"])).detach().numpy()
    np.testing.assert_allclose(answers["output_0"], wanted, rtol=1e-5, atol=1e-6)


def test_the_file_is_the_same_each_time_and_tells_nothing_of_this_machine(factory, tmp_path) -> None:
    made = torch_to_torchscript.convert(source(factory, "net"), tmp_path / "made.pt", samples=SAMPLES)
    for name in ("one", "two"):
        torchscript_freeze.convert(made, tmp_path / f"{name}.pt", samples=SAMPLES)
    assert (tmp_path / "one.pt").read_bytes() == (tmp_path / "two.pt").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.pt") as archive:
        assert not [name for name in archive.namelist() if name.endswith(".debug_pkl")]
        text = b"".join(archive.read(name) for name in archive.namelist())
    assert str(tmp_path).encode() not in text
    assert source_artifact(str(tmp_path / "one.pt")).format == "torchscript"


def test_a_trace_that_fixes_a_dynamic_axis_is_refused(factory, tmp_path) -> None:
    with pytest.raises(ConversionFailed, match=r"the output 'output' is \[2, 2\] in TorchScript and \[batch, 2\]"):
        torch_to_torchscript.convert(source(factory, "fixed"), tmp_path / "m.pt", samples={"x": SAMPLES["x"]})


def test_a_dict_of_answers_is_on_record(factory, tmp_path) -> None:
    made = torch_to_torchscript.convert(source(factory, "named"), tmp_path / "m.pt", samples={"x": SAMPLES["x"]})
    assert made.facts["returns"] == "Dict"
    assert [spec.name for spec in made.signature.outputs] == ["y"]


@pytest.mark.parametrize("freeze", [True, False])
def test_a_file_gets_its_signature_on_record(trained, tmp_path, freeze: bool) -> None:
    path = trained("digits_script.pt")
    samples = dict(np.load(path.with_suffix(".npz")))
    before = source_artifact(str(path))
    made = torchscript_freeze.convert(before, tmp_path / "model.pt", samples=samples, freeze=freeze)
    assert made.signature.inputs == (TensorSpec("image", "float32", ("batch", 1, 8, 8)),)
    assert made.facts == {"arguments": ["image"], "returns": "Tensor"}
    wanted = runner.load(before).run(samples)
    for name, values in runner.load(made).run(samples).items():
        np.testing.assert_allclose(values, wanted[name], rtol=1e-4, atol=1e-5)


def test_samples_are_needed(trained, tmp_path) -> None:
    with pytest.raises(UsageError, match="there are no samples"):
        torchscript_freeze.convert(source_artifact(str(trained("digits_script.pt"))), tmp_path / "m.pt", samples={})
