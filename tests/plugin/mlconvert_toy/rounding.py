"""Packed toy models with fewer digits."""

from __future__ import annotations

from pathlib import Path

from mlconvert.artifact import Artifact
from mlconvert_toy.files import read_numbers, write_packed


def convert(source: Artifact, target: Path, *, digits: int = 12) -> Artifact:
    write_packed(target, [round(number, digits) for number in read_numbers(source.path)])
    return Artifact("toybin", str(target), (target,))
