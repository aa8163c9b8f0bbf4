"""Toy models packed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from mlconvert.artifact import Artifact
from mlconvert_toy.files import read_numbers, write_packed


def convert(
    source: Artifact, target: Path, *, scale: Annotated[float, "another model, if it is not 1"] = 1.0
) -> Artifact:
    write_packed(target, [scale * number for number in read_numbers(source.path)])
    return Artifact("toybin", str(target), (target,), facts={"packed": True})


def describe(source: Artifact, target: Path) -> Artifact:
    target.write_text(" and ".join(f"{number:g}" for number in read_numbers(source.path)))
    return Artifact("toynote", str(target), (target,))
