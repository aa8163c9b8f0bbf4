"""A chain: the models of an ensemble with the graph that joins them, as an artifact of the format `ensemble`.

While a run works, a chain is in the artifact's facts, its models wherever they lie. What a run leaves is a file
`ensemble.json`, which names its models by their place relative to it, with their digests; in a model repository they
are the newest versions of the models beside the ensemble's.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mlconvert.artifact import Artifact
from mlconvert.ensembles.graph import Graph, Step
from mlconvert.errors import ConversionFailed
from mlconvert.signature import Signature

SCHEMA = "mlconvert.ensemble/1"
FORMAT = "ensemble"
FILENAME = "ensemble.json"


@dataclass(frozen=True)
class Model:
    """A model of a chain: its artifact, its digest, and the name that it has in a model repository."""

    artifact: Artifact
    sha256: str
    published: str

    def as_json(self) -> dict[str, Any]:
        return {"artifact": self.artifact.as_json(), "sha256": self.sha256, "published": self.published}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Model:
        return Model(Artifact.from_json(data["artifact"]), data["sha256"], data["published"])


@dataclass(frozen=True)
class Chain:
    """`graph` names the tensors of the models as the artifacts here do."""

    graph: Graph
    models: Mapping[str, Model]
    signature: Signature | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "inputs": list(self.graph.inputs),
            "outputs": list(self.graph.outputs),
            "steps": [step.as_json() for step in self.graph.steps],
            "models": {name: model.as_json() for name, model in self.models.items()},
            "signature": self.signature.as_json() if self.signature else None,
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Chain:
        return Chain(
            Graph(tuple(data["inputs"]), tuple(data["outputs"]), tuple(map(Step.from_json, data["steps"]))),
            {name: Model.from_json(model) for name, model in data["models"].items()},
            Signature.from_json(data["signature"]) if data.get("signature") else None,
        )

    def artifact(self, location: str = FILENAME) -> Artifact:
        """The chain as an artifact that carries it with it."""
        trusted = any(model.artifact.trusted for model in self.models.values())
        return Artifact(FORMAT, location, (), self.signature, trusted=trusted, facts={FORMAT: self.as_json()})

    def text(self, folder: Path) -> str:
        """What `ensemble.json` in that folder holds: models by places relative to it, and nothing of this machine."""
        models = {}
        for name, model in self.models.items():
            artifact = model.artifact
            told = replace(
                artifact,
                location=_relative(artifact.path, folder),
                files=tuple(Path(_relative(path, folder)) for path in artifact.files),
                facts={},
            )
            models[name] = Model(told, model.sha256, model.published).as_json()
        return json.dumps({**self.as_json(), "models": models}, indent=1) + "\n"


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()


def formats_in(artifact: Artifact) -> set[str]:
    """The formats of what runs when the artifact does: of a chain that it carries, those of the models."""
    if FORMAT in artifact.facts:
        return {model.artifact.format for model in Chain.from_json(artifact.facts[FORMAT]).models.values()}
    return {artifact.format}


def chain_of(artifact: Artifact) -> Chain:
    """The chain of an artifact. One that is read from a file names its models as the file does: see `located`.

    Raises ConversionFailed for a file that is none.
    """
    if FORMAT in artifact.facts:
        return Chain.from_json(artifact.facts[FORMAT])
    return read(artifact.path)


def read(path: Path) -> Chain:
    try:
        data = json.loads(path.read_bytes())
        schema = data["schema"]
        chain = Chain.from_json(data)
    except OSError as error:
        raise ConversionFailed(f"{path} cannot be read: {error.strerror}", where=str(path)) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        what = f"not an ensemble that mlconvert wrote: {type(error).__name__}: {error}"
        raise ConversionFailed(what, where=str(path), hint="make it again: mlconvert run RECIPE") from error
    if schema != SCHEMA:
        raise ConversionFailed(f"an ensemble of another mlconvert ({schema!r}, not {SCHEMA!r})", where=str(path))
    return chain


def place_of(model: Model, file: Path) -> Path:
    """Where a model of the chain in that file lies: beside it, or in the repository that the file is in.

    A repository is told by its layout: `<repository>/<ensemble>/<version>/ensemble.json`.
    """
    beside = Path(os.path.normpath(file.parent / model.artifact.location))
    if beside.exists():
        return beside
    repository = file.absolute().parent.parent.parent
    return repository / model.published
