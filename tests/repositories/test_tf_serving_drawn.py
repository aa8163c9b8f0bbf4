"""Any row of changes leaves a repository that a server can read, whose numbers mean one model each."""

from __future__ import annotations

import shutil
from pathlib import Path

from google.protobuf import text_format
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorflow_serving.config import model_server_config_pb2

from mlconvert.artifact import Artifact
from mlconvert.errors import RepositoryInvalid, UsageError
from mlconvert.repositories.tf_serving import label, publish, rollback, versions
from mlconvert.repositories.tf_serving.layout import entries_in

NAMES = st.sampled_from(["a", "b"])
CHANGES = st.one_of(
    st.tuples(
        st.just("publish"),
        NAMES,
        st.integers(0, 3),
        st.sampled_from([None, None, "all", "latest:2", "1"]),
        st.sampled_from([None, None, 1, 2]),
    ),
    st.tuples(st.just("rollback"), NAMES, st.sampled_from([None, 1, 2])),
    st.tuples(
        st.just("label"),
        NAMES,
        st.dictionaries(st.sampled_from(["stable", "canary"]), st.integers(1, 4), max_size=2),
        st.sets(st.sampled_from(["stable", "canary"]), max_size=1),
        st.booleans(),
    ),
)


@given(changes=st.lists(CHANGES, max_size=10))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_row_of_changes(saved_models: Path, tmp_path: Path, changes: list[tuple]) -> None:
    sources = []
    for content in range(4):
        main = tmp_path / f"source-{content}" / "saved_model.pb"
        main.parent.mkdir(exist_ok=True)
        shutil.copy(saved_models / "1/saved_model.pb", main)
        (main.parent / "fingerprint.pb").write_text(str(content))
        sources.append(Artifact("saved-model", str(main), (main,)))
    repository = tmp_path / "models"
    for folder in (repository, tmp_path / ".mlconvert-models"):
        shutil.rmtree(folder, ignore_errors=True)
    meaning: dict[tuple[str, int], str] = {}
    for kind, name, *rest in changes:
        before = {path: path.read_bytes() for path in repository.rglob("*") if path.is_file()}
        try:
            if kind == "publish":
                options = {"version_policy": rest[1]} if rest[1] else {}
                publish(sources[rest[0]], repository, name, options=options, keep=rest[2])
            elif kind == "rollback":
                rollback(repository, name, rest[0])
            else:
                label(repository, name, rest[0], sorted(rest[1]), every=rest[2])
        except (RepositoryInvalid, UsageError):
            assert {path: path.read_bytes() for path in repository.rglob("*") if path.is_file()} == before
        check(repository, meaning)


def check(repository: Path, meaning: dict[tuple[str, int], str]) -> None:
    if not repository.exists():
        return
    text = (repository / "models.config").read_text()
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    entries = entries_in(repository)
    assert [row.name for row in config.model_config_list.config] == list(entries)
    for name, entry in entries.items():
        found = versions(repository, name)
        live = {version.number for version in found if version.live}
        assert live
        assert live == entry.policy.live(version.number for version in found)
        assert set(entry.labels.values()) <= live
        for version in found:
            assert meaning.setdefault((name, version.number), version.sha256) == version.sha256
