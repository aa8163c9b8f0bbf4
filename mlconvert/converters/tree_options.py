"""The options that every step from trees to ONNX has, so that they are the same everywhere."""

from __future__ import annotations

from typing import Annotated, Literal

Opset = Annotated[int, "version of the ai.onnx operators"]
Dtype = Annotated[
    Literal["float64", "float32"],
    "of inputs and outputs; float64 is exact, float32 exact for float32 rows up to the rounding of sums",
]
TargetRuntime = Annotated[
    str | None, "ONNX Runtime version of the server, such as 1.19: older ones get older tree operators"
]
RawScores = Annotated[bool, "add the output `raw_scores` [N, K]: the sums before the link"]
LeafIndices = Annotated[bool, "add the output `leaf_indices` [N, T]: the leaf of each tree, as the library numbers it"]
