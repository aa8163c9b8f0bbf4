"""Packed toy models whose numbers lie in a file of their own, as the external data of ONNX models do."""

from __future__ import annotations

from pathlib import Path

from mlconvert.artifact import Artifact
from mlconvert_toy.files import PACKED


def convert(source: Artifact, target: Path) -> Artifact:
    data = target.with_name(f"{target.name}.data")
    target.write_bytes(PACKED)
    data.write_bytes(source.path.read_bytes().removeprefix(PACKED))
    return Artifact("toybin", str(target), (target, data))
