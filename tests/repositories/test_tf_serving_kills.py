"""Whoever changes a TensorFlow Serving repository may die after any call that changes the disk: it stays whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from mlconvert.artifact import Artifact, file_sha256
from mlconvert.repositories.tf_serving import label, publish, versions
from mlconvert.repositories.tf_serving.layout import entries_in
from mlconvert.repositories.tf_serving.lint import lint
from mlconvert.repositories.tf_serving.saved_models import check_whole, signatures_of
from mlconvert.repositories.versions import model_files


@dataclass(frozen=True)
class Scenario:
    """`before` publishes so many versions; `served` are the versions that a server may serve afterwards."""

    name: str
    action: str
    before: int
    served: frozenset[int]
    arguments: dict[str, Any] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    server: str | None = None
    least: int = 4  # calls that such a change makes


SCENARIOS = [
    Scenario("a new model", "publish", 0, frozenset({1}), least=7),
    Scenario("a new version, others removed", "publish", 4, frozenset({4, 5}), {"keep": 1}, least=9),
    Scenario(
        "another entry, and files of the server",
        "publish",
        1,
        frozenset({1, 2}),
        {"options": {"version_policy": "all", "monitoring": True, "batching": True}},
        least=9,
    ),
    Scenario("a server takes it", "publish", 3, frozenset({3, 4}), {"keep": 2}, server="takes", least=8),
    Scenario("a server does not load it", "publish", 2, frozenset({2, 3}), server="does not load", least=7),
    Scenario(
        "a server does not load it or its entry",
        "publish",
        2,
        frozenset({1, 2, 3}),
        {"options": {"version_policy": "latest:2", "monitoring": True}},
        server="does not load",
        least=9,
    ),
    Scenario("a server finds wrong answers", "publish", 2, frozenset({2, 3}), server="answers wrongly", least=7),
    Scenario("a server does not load a new model", "publish", 0, frozenset({1}), server="does not load", least=8),
    Scenario("a rollback by two", "rollback", 3, frozenset({1, 3}), {"version": 1}),
    Scenario("a rollback that comes back", "rollback", 2, frozenset({1, 2}), server="does not load"),
    Scenario("labels", "label", 3, frozenset({1, 2, 3}), {"put": {"stable": 1, "canary": 2}}),
    Scenario("labels that come back", "label", 3, frozenset({1, 2, 3}), {"put": {"a": 1}}, server="does not load"),
    Scenario("labels removed", "label", 3, frozenset({1, 3}), {"remove": ["a"]}, labels={"a": 1}),
]
MINE = """# written by hand
model_config_list {
  config { name: "other" base_path: "/elsewhere/other" model_platform: "tensorflow" } # not ours
}
"""


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_killed_after_any_call(
    make_saved, tmp_path: Path, killed_after_each_call: Callable[..., int], scenario: Scenario
) -> None:
    start = tmp_path / "start"
    repository = start / "models"
    repository.mkdir(parents=True)
    (repository / "models.config").write_text(MINE)
    for number in range(1, scenario.before + 1):
        publish(make_saved(number, record=True), repository, "m")
    if scenario.labels:
        label(repository, "m", scenario.labels)
    fresh = make_saved(50.0, record=True)
    case = {
        "layout": "tf_serving", "action": scenario.action, "name": "m", "model": fresh.location,
        "arguments": scenario.arguments, "server": scenario.server,
    }  # fmt: skip
    place = tmp_path / "killed"
    calls = killed_after_each_call(start, place, case)
    assert calls >= scenario.least

    other = make_saved(51.0, record=True)
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
            check(models, scenario)
        if names not in left:  # what it died with lies beside the repository
            left.add(names)
            after(models, other)
    assert len(held) >= 2 or scenario.server not in (None, "takes")


def check(models: Path, scenario: Scenario) -> None:
    """A server that reads the repository now finds only what is whole, and nothing that it should not serve."""
    text = (models / "models.config").read_text()
    configured = text_format.Parse(text, model_server_config_pb2.ModelServerConfig()).model_config_list.config
    entries = entries_in(models)
    # The model of MINE is in no folder here: that is what lint has to say of it. Of ours it says nothing but that
    # something lies beside the repository, or that a new model waits for its entry.
    codes = {one.code for one in lint(models) if one.model != "other"}
    assert codes <= {"staging-leftover", *(() if scenario.before else ("not-in-config",))}
    assert [row.name for row in configured] == list(entries)
    assert text.startswith(MINE.partition("}")[0])
    assert "# not ours" in text
    for path in (models / "m").iterdir() if (models / "m").is_dir() else ():
        check_whole(model_files(path), where=str(path))
        assert signatures_of(path / "saved_model.pb").keys() == {"serving_default"}
    if "m" not in entries:
        assert scenario.before == 0
        return
    served = entries["m"].policy.live(version.number for version in versions(models, "m"))
    assert served
    assert served <= scenario.served
    assert set(entries["m"].labels.values()) <= served


def after(models: Path, other: Artifact) -> None:
    """Whatever was left behind, the next change goes through, and leaves nothing of it."""
    done = publish(other, models, "m")
    assert done.version in [version.number for version in versions(models, "m")]
    staging = models.parent / ".mlconvert-models"
    assert not staging.exists() or {path.name for path in staging.iterdir()} == {"rolled-back"}
