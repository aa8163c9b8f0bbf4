"""Recipes: a YAML file that says which model becomes what, how that is verified and where it is published.

The dataclasses are what the rest of mlconvert works with; a `convert` call is a recipe of one target. The form of
the file is `schema.json`, whose descriptions are its reference. Neither YAML nor JSON Schema is imported before a
recipe is read.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ModelSpec:
    """The model to convert. `location` is a path, `package.module:factory` or `path/file.py:factory`."""

    location: str
    format: str | None = None  # None: recognised from the file
    weights: Path | None = None
    trust: bool = False  # the user allows what can run code when it is loaded


@dataclass(frozen=True)
class SamplesSpec:
    """Rows to verify and calibrate with: those of a file, or `count` rows generated from the model's signature.

    For a model of trees, up to `boundary` rows at its thresholds are added to them. Of the kind `boundary`, the
    `count` rows are nothing else.
    """

    file: Path | None = None
    count: int = 256
    seed: int = 0
    kind: str = "random"
    boundary: int = 4096


@dataclass(frozen=True)
class StepSpec:
    """A step's name is a format (`onnx`) or a pass (`optimize`, `float16`, …)."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ParitySpec:
    """Tolerances; None stands for the default of the route's precision. `outputs`: name -> {rtol, atol}."""

    verify: bool = True
    rtol: float | None = None
    atol: float | None = None
    outputs: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class PublishSpec:
    to: str
    name: str
    repository: Path | None = None
    version: int | None = None  # None: the next one
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LimitsSpec:
    """What one step may take; None: no bound. Memory is private memory, as the kernel counts it (RssAnon)."""

    seconds: float | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True)
class TargetSpec:
    """`settings` are the `--set` values of a command line (step or None, option, value), assigned after routing.

    `filename` is the main file's name where the command line chose one.
    """

    name: str
    steps: tuple[StepSpec, ...]
    parity: ParitySpec = field(default_factory=ParitySpec)
    publish: PublishSpec | None = None
    settings: tuple[tuple[str | None, str, Any], ...] = ()
    filename: str | None = None


@dataclass(frozen=True)
class Recipe:
    """`folder` is what relative paths in the recipe are relative to; the paths here are absolute already.

    `file` is the recipe's own, None for one that was not read from a file.
    """

    name: str
    model: ModelSpec
    samples: SamplesSpec
    targets: tuple[TargetSpec, ...]
    limits: LimitsSpec = field(default_factory=LimitsSpec)
    folder: Path = field(default_factory=Path)
    file: Path | None = None


def load_recipe(path: Path) -> Recipe:
    """The recipe in a YAML file, named by the file's stem.

    Raises UsageError that lists every problem of the file, each with its line and column.
    """
    from mlconvert.recipe.document import read_document
    from mlconvert.recipe.problems import check_document

    document = read_document(path)
    check_document(document)
    return replace(_recipe(document.value, path.stem, Path(os.path.realpath(path.parent))), file=path)


def locate(path: Path, keys: Sequence[str | int]) -> str:
    """`file:line:column` of a place in a recipe, such as `("targets", "triton", "steps", 1)`.

    For what is found wrong after loading: a step or an option that does not exist. A place that the file does not
    spell out gives the nearest one around it. Raises UsageError where the file is no YAML any more.
    """
    from mlconvert.recipe.document import read_document

    return read_document(path).where(tuple(keys))


def parse_seconds(value: float | str) -> float:
    """Seconds from a number of them or from text such as `90s`, `10m`, `1h 30m`. Raises ValueError for other text."""
    if not isinstance(value, str):
        return float(value)
    parts = re.findall(r"([0-9.]+) ?(ms|s|min|m|h|d)", value)
    if not parts or re.sub(r"([0-9.]+) ?(ms|s|min|m|h|d)| ", "", value):
        raise ValueError(value)
    unit = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
    return sum(float(number) * unit[name] for number, name in parts)


def parse_bytes(value: float | str) -> int:
    """Bytes from a number of them or from text such as `8GB` (10^9 each), `512MiB` (2^20 each). Raises ValueError."""
    if not isinstance(value, str):
        return int(value)
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([kmgt])(i?)b?|([0-9]+) ?b", value, re.IGNORECASE)
    if match is None:
        raise ValueError(value)
    number, prefix, binary, plain = match.groups()
    if plain:
        return int(plain)
    power: int = (1024 if binary else 1000) ** ("kmgt".index(prefix.lower()) + 1)
    return math.ceil(float(number) * power)


# --- from the values of a document that the schema accepts to the dataclasses ---


def _recipe(value: Mapping[str, Any], name: str, folder: Path) -> Recipe:
    limits = value.get("limits", {})
    return Recipe(
        name=name,
        model=_model(value["model"], folder),
        samples=_samples(value.get("samples", {}), folder),
        targets=tuple(_target(name, target, folder) for name, target in value["targets"].items()),
        limits=LimitsSpec(
            seconds=parse_seconds(limits["time"]) if "time" in limits else None,
            memory_bytes=parse_bytes(limits["memory"]) if "memory" in limits else None,
        ),
        folder=folder,
    )


def _model(value: str | Mapping[str, Any], folder: Path) -> ModelSpec:
    fields: Mapping[str, Any] = {"source": value} if isinstance(value, str) else value
    return ModelSpec(
        location=_location(fields["source"], folder),
        format=fields.get("from"),
        weights=_path(fields["weights"], folder) if "weights" in fields else None,
        trust=fields.get("trust", False),
    )


def _samples(value: str | Mapping[str, Any], folder: Path) -> SamplesSpec:
    fields: Mapping[str, Any] = {"file": value} if isinstance(value, str) else value
    return SamplesSpec(
        file=_path(fields["file"], folder) if "file" in fields else None,
        boundary=int(fields.get("boundary", SamplesSpec.boundary)),
        # JSON Schema counts 256.0 (or 1e3) among the integers.
        count=int(fields.get("count", SamplesSpec.count)),
        seed=int(fields.get("seed", SamplesSpec.seed)),
        kind=fields.get("kind", SamplesSpec.kind),
    )


def _target(name: str, value: Mapping[str, Any], folder: Path) -> TargetSpec:
    publish = value.get("publish")
    return TargetSpec(
        name=name,
        steps=tuple(_step(step) for step in value["steps"]),
        parity=_parity(value.get("parity", True)),
        publish=_publish(publish, folder) if publish is not None else None,
    )


def _step(value: str | Mapping[str, Mapping[str, Any] | None]) -> StepSpec:
    if isinstance(value, str):
        return StepSpec(value, {})
    ((name, options),) = value.items()
    return StepSpec(name, options or {})


def _parity(value: bool | str | Mapping[str, Any]) -> ParitySpec:
    # `off` is False to YAML 1.1 and text to YAML 1.2.
    if isinstance(value, (bool, str)):
        return ParitySpec(verify=value in (True, "on"))
    return ParitySpec(
        rtol=float(value["rtol"]) if "rtol" in value else None,
        atol=float(value["atol"]) if "atol" in value else None,
        outputs={
            name: {key: float(figure) for key, figure in tolerances.items()}
            for name, tolerances in value.get("outputs", {}).items()
        },
    )


def _publish(value: Mapping[str, Any], folder: Path) -> PublishSpec:
    return PublishSpec(
        to=value["to"],
        name=value["name"],
        repository=_path(value["repository"], folder) if "repository" in value else None,
        version=int(value["version"]) if "version" in value else None,
        options=value.get("options", {}),
    )


def _location(text: str, folder: Path) -> str:
    from mlconvert.formats.factories import parse_factory

    path = _path(text, folder)
    factory = None if path.exists() else parse_factory(text)
    if factory is None:
        return str(path)
    if factory.file is not None:
        return f"{_path(str(factory.file), folder)}:{factory.function}"
    return text


def _path(text: str, folder: Path) -> Path:
    """An absolute path without `..`. A link keeps its own name: what it points at may have lost the suffix."""
    path = folder / os.path.expanduser(text)  # noqa: PTH111 - Path.expanduser raises where there is no such user
    if path.name in ("", ".."):
        return Path(os.path.realpath(path))
    return Path(os.path.realpath(path.parent)) / path.name
