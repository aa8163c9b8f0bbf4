"""The options that the steps from PyTorch share, so that they are the same everywhere."""

from __future__ import annotations

from typing import Annotated

Opset = Annotated[int, "version of the ONNX operators"]
Dynamic = Annotated[
    dict[str, tuple[str, ...]] | None,
    "for each input its axes: a name is dynamic, _ or a length is fixed. Without it the first axis is 'batch'",
]
Static = Annotated[bool, "fix every axis: one row, all else as long as in the samples"]
