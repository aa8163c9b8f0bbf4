"""What a recipe says, as dataclasses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlconvert.ensembles.graph import Graph

ENSEMBLE = "ensemble"  # the name of the whole among the results of a recipe
PARTS = ("preprocessing", "model")  # of a pipeline that is split


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
    """`repository` is a folder's path or, as text, a URL: `s3://bucket/models`."""

    to: str
    name: str
    repository: Path | str | None = None
    version: int | None = None  # None: the next one
    options: Mapping[str, Any] = field(default_factory=dict)
    sign: Path | None = None  # the file of a private key


@dataclass(frozen=True)
class LimitsSpec:
    """What one step may take; None: no bound. Memory is private memory, as the kernel counts it (RssAnon)."""

    seconds: float | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True)
class TargetSpec:
    """`settings` are the `--set` values of a command line (step or None, option, value), assigned after routing.

    `filename` is the main file's name where the command line chose one. `hardware` is the type of GPU that its
    hardware-bound steps are made on; None: whatever is here.
    """

    name: str
    steps: tuple[StepSpec, ...]
    parity: ParitySpec = field(default_factory=ParitySpec)
    publish: PublishSpec | None = None
    settings: tuple[tuple[str | None, str, Any], ...] = ()
    filename: str | None = None
    hardware: str | None = None


@dataclass(frozen=True)
class MemberSpec:
    """A model of an ensemble. `model` is None for a part of the pipeline that is split.

    `keys` say where the recipe has it.
    """

    model: ModelSpec | None
    target: TargetSpec
    keys: tuple[str, ...]


@dataclass(frozen=True)
class EnsembleSpec:
    """Several models as one: by the edges of `graph`, or (then that is None) as `split` says of a pipeline."""

    members: tuple[MemberSpec, ...]
    graph: Graph | None = None
    split: str | None = None
    parity: ParitySpec = field(default_factory=ParitySpec)
    publish: PublishSpec | None = None


@dataclass(frozen=True)
class Recipe:
    """`folder` is what relative paths in the recipe are relative to; the paths here are absolute already.

    `model` is None where an ensemble's members have models of their own; its targets are none then. `file` is the
    recipe's own, None for one that was not read from a file.
    """

    name: str
    model: ModelSpec | None
    samples: SamplesSpec
    targets: tuple[TargetSpec, ...]
    limits: LimitsSpec = field(default_factory=LimitsSpec)
    folder: Path = field(default_factory=Path)
    file: Path | None = None
    ensemble: EnsembleSpec | None = None
