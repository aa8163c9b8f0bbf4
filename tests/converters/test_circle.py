"""PyTorch -> ONNX -> SavedModel -> ONNX: PyTorch's answers at each hop, with its names and dynamic axes to the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mlconvert.artifact import Artifact
from mlconvert.converters import exported_program_to_onnx, onnx_to_saved_model, saved_model_to_onnx
from mlconvert.runners import exported_program as torch_runner
from mlconvert.runners import onnx as onnx_runner
from mlconvert.runners import saved_model as saved_model_runner

RANDOM = np.random.default_rng(20261123)


class Tokens(torch.nn.Module):
    """Batch and sequence are dynamic."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(20, 8)
        self.layer = torch.nn.TransformerEncoderLayer(8, 2, 16, activation="gelu", batch_first=True)
        self.head = torch.nn.Linear(8, 3)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.layer(self.embedding(ids)).mean(dim=1))


class Picture(torch.nn.Module):
    """Down and up again, with what was before beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Sequential(torch.nn.Conv2d(3, 6, 3, padding=1), torch.nn.BatchNorm2d(6), torch.nn.SiLU())
        self.down = torch.nn.Conv2d(6, 12, 3, stride=2, padding=1, groups=3)
        self.up = torch.nn.ConvTranspose2d(12, 6, 2, stride=2)
        self.last = torch.nn.Conv2d(12, 2, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        before = self.first(image)
        return self.last(torch.cat([before, self.up(torch.relu(self.down(before)))], dim=1)).sigmoid()


class Steps(torch.nn.Module):
    """Two directions over steps of a fixed number."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = torch.nn.LSTM(4, 5, batch_first=True, bidirectional=True)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.lstm(rows)[0]


def floats(*lengths: int) -> np.ndarray:
    return RANDOM.normal(size=lengths).astype(np.float32)


Case = tuple[Callable[[], torch.nn.Module], str, Mapping[int, str], list[np.ndarray], tuple[Any, ...]]

CASES: Mapping[str, Case] = {
    "transformer": (
        Tokens, "ids", {0: "batch", 1: "seq"},
        [RANDOM.integers(0, 20, (2, 5)), RANDOM.integers(0, 20, (3, 7))], ("batch", "ids_1"),
    ),
    "u_net": (Picture, "image", {0: "batch"}, [floats(2, 3, 8, 12), floats(3, 3, 8, 12)], ("batch", 3, 8, 12)),
    "lstm": (Steps, "rows", {0: "batch"}, [floats(2, 6, 4), floats(3, 6, 4)], ("batch", 6, 4)),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:The tensor attributes self.lstm:UserWarning")
@pytest.mark.parametrize("name", CASES)
def test_once_around(name, tmp_path):
    factory, given, dynamic, batches, axes = CASES[name]
    torch.manual_seed(5)
    network = factory().eval()
    shapes = {axis: torch.export.Dim(word) for axis, word in dynamic.items()}
    program = torch.export.export(network, (torch.from_numpy(batches[0]),), dynamic_shapes=(shapes,))
    torch.export.save(program, tmp_path / "m.pt2")
    around(tmp_path / "m.pt2", given, batches, axes, tmp_path)


def around(source: Path, given: str, batches: list[np.ndarray], axes: tuple[Any, ...], folder: Path) -> None:
    program = Artifact("exported-program", str(source), (source,))
    (folder / "saved").mkdir()
    there = exported_program_to_onnx.convert(program, folder / "there.onnx")
    saved = onnx_to_saved_model.convert(there, folder / "saved" / "saved_model.pb")
    back = saved_model_to_onnx.convert(saved, folder / "back.onnx")
    reference = torch_runner.load(program)
    hops = [onnx_runner.load(there), saved_model_runner.load(saved), onnx_runner.load(back)]
    for batch in batches:
        (wanted,) = reference.run({given: batch}).values()
        for hop in hops:
            (told,) = hop.run({given: batch}).values()
            assert (told.dtype, told.shape) == (wanted.dtype, wanted.shape)
            np.testing.assert_allclose(told, wanted, rtol=1e-4, atol=1e-5)
    first, last = hops[0].signature, hops[-1].signature
    assert first is not None
    assert last is not None
    assert last.inputs[0].shape == axes
    assert [spec.name for spec in last.outputs] == [spec.name for spec in first.outputs]
