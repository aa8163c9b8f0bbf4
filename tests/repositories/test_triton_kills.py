"""Whoever changes a repository may die after any call that changes the disk: it lints clean, and a server serves it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlconvert import records
from mlconvert.artifact import Artifact, file_sha256
from mlconvert.repositories.triton import config as cfg
from mlconvert.repositories.triton import label, publish, versions
from mlconvert.repositories.triton.lint import lint
from mlconvert.tensors.rows import encode_rows

LOADED = 2  # states of a scenario that the real server loads, too


@dataclass(frozen=True)
class Scenario:
    """`before` publishes so many versions; `served` are the versions that a server may serve afterwards.

    (9 is the copy of an older one with which a server forgets what it could not load.)
    """

    name: str
    action: str
    before: int
    served: frozenset[int]
    arguments: dict[str, Any] = field(default_factory=dict)
    first_options: dict[str, Any] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    server: str | None = None
    least: int = 5  # calls that such a change makes


SCENARIOS = [
    Scenario("a new model", "publish", 0, frozenset({1})),
    Scenario("a new version, others removed", "publish", 4, frozenset({4, 5}), {"keep": 1}, least=9),
    Scenario(
        "a new configuration with files beside it",
        "publish",
        1,
        frozenset({1, 2}),
        {"options": {"max_batch_size": 8}},
        least=8,
    ),
    Scenario(
        "checksums, others removed",
        "publish",
        3,
        frozenset({3, 4}),
        {"keep": 1},
        first_options={"checksums": True},
        least=9,
    ),
    Scenario("a server takes it", "publish", 3, frozenset({3, 4}), {"keep": 2}, server="takes", least=8),
    Scenario("a server does not load it", "publish", 2, frozenset({2, 3, 9}), server="does not load", least=9),
    Scenario(
        "a server does not load it or its configuration",
        "publish",
        2,
        frozenset({2, 3, 9}),
        {"options": {"max_batch_size": 8}},
        server="does not load",
        least=10,
    ),
    Scenario("a server finds wrong answers", "publish", 2, frozenset({2, 3}), server="answers wrongly", least=7),
    Scenario("a server does not load a new model", "publish", 0, frozenset({1}), server="does not load"),
    Scenario("a rollback by two", "rollback", 3, frozenset({1, 3}), {"version": 1}),
    Scenario("a rollback with checksums", "rollback", 2, frozenset({1, 2}), first_options={"checksums": True}),
    Scenario("a rollback that comes back", "rollback", 2, frozenset({1, 2, 9}), server="does not load"),
    Scenario("labels", "label", 3, frozenset({1, 2, 3}), {"put": {"stable": 1, "canary": 2}}, least=3),
    Scenario(
        "labels that come back", "label", 3, frozenset({1, 2, 3, 9}), {"put": {"a": 1}}, server="does not load", least=4
    ),
    Scenario("labels removed", "label", 3, frozenset({1, 3}), {"remove": ["a"]}, labels={"a": 1}, least=3),
]


def with_record(source: Artifact, scale: float) -> Artifact:
    """The artifact with a record beside it that has rows, of which warm-up requests are made."""
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    rows = encode_rows({"input": x}, {"variable": x * scale}, count=2, limit=1 << 20)
    described = records.described_files(source, {source.path.name: file_sha256(source.path)})
    assert source.signature is not None
    record = {
        "schema": records.SCHEMA, "format": "onnx", "path": source.path.name, "files": described,
        "sha256": records.total_sha256(described), "signature": source.signature.as_json(), "rows": rows,
    }  # fmt: skip
    records.write_json(records.path_beside(source.path), record)
    return source


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_killed_after_any_call(
    make_model,
    tmp_path: Path,
    loads: Callable[..., None],
    killed_after_each_call: Callable[..., int],
    scenario: Scenario,
) -> None:
    start = tmp_path / "start"
    repository = start / "models"
    repository.mkdir(parents=True)
    (repository / ".mlconvert-repository").touch()
    for number in range(1, scenario.before + 1):
        source = with_record(make_model(f"{number}.onnx", scale=float(number)), number)
        publish(source, repository, "m", options=scenario.first_options)
    if scenario.labels:
        label(repository, "m", scenario.labels)
    fresh = with_record(make_model("fresh.onnx", scale=50.0), 50.0)
    case = {
        "layout": "triton", "action": scenario.action, "name": "m", "model": fresh.location,
        "arguments": scenario.arguments, "server": scenario.server,
    }  # fmt: skip
    place = tmp_path / "killed"
    calls = killed_after_each_call(start, place, case)
    assert calls >= scenario.least

    other = with_record(make_model("other.onnx", scale=51.0), 51.0)
    held: set[frozenset[tuple[str, str]]] = set()
    left: set[frozenset[str]] = set()
    for limit in range(1, calls + 1):
        models = place / str(limit) / "models"
        content = frozenset(
            (str(path.relative_to(models)), file_sha256(path)) for path in models.rglob("*") if path.is_file()
        )
        names = frozenset(str(path.relative_to(models.parent)) for path in models.parent.rglob("*"))
        if content not in held:
            held.add(content)
            if (models / "m").is_dir():
                check(models, scenario)
                if len(held) <= LOADED and not scenario.first_options:  # the server of the tests has no checksum agent
                    loads(models)
            else:
                assert scenario.before == 0
        if names not in left:  # what it died with lies beside the repository
            left.add(names)
            after(models, other)
    assert len(held) >= 2 or scenario.server not in (None, "takes")


def check(models: Path, scenario: Scenario) -> None:
    assert [str(found) for found in lint(models) if found.level == "error"] == []
    config = cfg.read(models / "m/config.pbtxt")
    served = cfg.live_versions(config, [version.number for version in versions(models, "m")])
    assert served
    assert served <= scenario.served


def after(models: Path, other: Artifact) -> None:
    """Whatever was left behind, the next change goes through, and leaves nothing of it."""
    done = publish(other, models, "m")
    assert done.version in [version.number for version in versions(models, "m")]
    assert [str(found) for found in lint(models) if found.level == "error"] == []
    staging = models.parent / ".mlconvert-models"
    assert not staging.exists() or {path.name for path in staging.iterdir()} == {"rolled-back"}
