"""From the values of a document that the schema accepts to the dataclasses."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlconvert.ensembles.graph import Graph, Step
from mlconvert.recipe.specs import (
    ENSEMBLE,
    PARTS,
    EnsembleSpec,
    LimitsSpec,
    MemberSpec,
    ModelSpec,
    ParitySpec,
    PublishSpec,
    Recipe,
    SamplesSpec,
    StepSpec,
    TargetSpec,
)


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


def recipe_of(value: Mapping[str, Any], name: str, folder: Path) -> Recipe:
    limits = value.get("limits", {})
    return Recipe(
        name=name,
        model=_model(value["model"], folder) if "model" in value else None,
        samples=_samples(value.get("samples", {}), folder),
        targets=tuple(_target(name, target, folder) for name, target in value.get("targets", {}).items()),
        limits=LimitsSpec(
            seconds=parse_seconds(limits["time"]) if "time" in limits else None,
            memory_bytes=parse_bytes(limits["memory"]) if "memory" in limits else None,
        ),
        folder=folder,
        ensemble=_ensemble(value, folder) if "ensemble" in value else None,
    )


def _ensemble(value: Mapping[str, Any], folder: Path) -> EnsembleSpec:
    fields = value["ensemble"]
    publish = _publish(fields["publish"], folder) if "publish" in fields else None
    graph: Graph | None = None
    rows: list[tuple[ModelSpec | None, str, Mapping[str, Any], tuple[str, ...]]]
    if "split" in fields:
        rows = [(None, name, fields.get("parts", {}).get(name, {}), (ENSEMBLE, "parts", name)) for name in PARTS]
    else:
        graph = graph_of(fields)
        rows = [(_model(row, folder), name, row, ("models", name)) for name, row in value["models"].items()]
    members = []
    for model, name, row, keys in rows:
        target = _target(name, {"steps": ["onnx"], **{key: row[key] for key in row if key != "publish"}}, folder)
        own = row.get("publish", {})
        if publish is not None:
            published = PublishSpec(
                to=publish.to,
                name=own.get("name", f"{publish.name}_{name}"),
                repository=publish.repository,
                version=int(own["version"]) if "version" in own else None,
                options=own.get("options", {}),
                sign=publish.sign,
            )
            target = replace(target, publish=published)
        members.append(MemberSpec(model, target, keys))
    return EnsembleSpec(tuple(members), graph, fields.get("split"), _parity(fields.get("parity", True)), publish)


def graph_of(fields: Mapping[str, Any]) -> Graph:
    """The graph of the value of `ensemble`."""
    return Graph(
        tuple(fields["inputs"]), tuple(fields["outputs"]), tuple(Step.from_json(step) for step in fields["steps"])
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
        hardware=value.get("hardware"),
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
        repository=_repository(value["repository"], folder) if "repository" in value else None,
        version=int(value["version"]) if "version" in value else None,
        options=value.get("options", {}),
        sign=_path(value["sign"], folder) if "sign" in value else None,
    )


def _repository(text: str, folder: Path) -> Path | str:
    """A folder's path, or the URL of a repository in an object store as it is."""
    return text if "://" in text else _path(text, folder)


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
