from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from mlconvert import records
from mlconvert.artifact import Artifact, file_sha256
from mlconvert.errors import ConversionFailed, MissingPackage, RepositoryInvalid, UsageError
from mlconvert.repositories import REPOSITORIES
from mlconvert.repositories.triton import config as cfg
from mlconvert.repositories.triton import options, publish, rollback, versions


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return tmp_path / "disk" / "models"


def tree(folder: Path) -> dict[str, tuple[str, int]]:
    return {
        str(path.relative_to(folder)): (file_sha256(path) if path.is_file() else "", path.stat().st_mtime_ns)
        for path in folder.rglob("*")
    }


def test_the_table_leads_here() -> None:
    module = REPOSITORIES[0].load()
    assert (module.publish, module.versions, module.rollback) == (publish, versions, rollback)
    assert {"max_batch_size", "instances", "instance_kind", "dynamic_batching"} <= options("onnx").keys()
    assert all(option.help for option in options("onnx").values())
    with pytest.raises(UsageError, match="'catboost' cannot be published"):
        options("catboost")


def test_first_version(make_model, repository: Path) -> None:
    source = make_model()
    done = publish(source, repository, "m")
    assert (done.version, done.config, done.unchanged, done.live) == (1, "written", False, True)
    assert sorted(tree(repository)) == ["m", "m/1", "m/1/model.onnx", "m/config.pbtxt"]
    assert done.artifact.path == repository / "m/1/model.onnx"
    assert done.sha256 == file_sha256(source.path) == file_sha256(done.artifact.path)
    assert cfg.read(done.config_path).name == "m"
    assert [path.name for path in repository.parent.iterdir()] == ["models"]  # no staging folder stays
    json.dumps(done.as_json())


def test_a_second_version_is_a_copy_with_open_modes_and_newer_times(make_model, repository: Path) -> None:
    os.umask(previous := os.umask(0o077))
    publish(make_model(), repository, "m")
    future = time.time_ns() + 10**13  # written by a host whose clock is ahead
    os.utime(repository / "m/1", ns=(future, future))
    source = make_model("second.onnx", scale=3.0)
    source.path.chmod(0o600)
    try:
        os.umask(0o077)
        done = publish(source, repository, "m")
    finally:
        os.umask(previous)
    assert done.version == 2
    assert done.artifact.path.stat().st_mode & 0o777 == 0o644
    assert done.path.stat().st_mode & 0o777 == 0o755
    assert (done.artifact.path.stat().st_nlink, source.path.stat().st_nlink) == (1, 1)
    assert done.path.stat().st_mtime_ns > future
    assert done.artifact.path.stat().st_mtime_ns > future


def test_external_data_becomes_a_folder(make_model, repository: Path) -> None:
    source = make_model("big.onnx", data=True)
    done = publish(source, repository, "m")
    assert sorted(tree(done.path)) == ["model.onnx", "model.onnx/big-weights.bin", "model.onnx/model.onnx"]
    weights = done.path / "model.onnx/big-weights.bin"
    assert weights.stat().st_mode & 0o777 == 0o644
    assert done.artifact.files == (done.path / "model.onnx/model.onnx", weights)
    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession(done.artifact.path, providers=["CPUExecutionProvider"])
    label, _ = session.run(None, {"input": np.ones((2, 4), np.float32)})
    assert label.tolist() == [8.0, 8.0]
    assert publish(source, repository, "m").unchanged
    assert publish(make_model("plain.onnx"), repository, "m").version == 2  # the same numbers in another form


def test_external_data_that_the_artifact_does_not_list_is_published_all_the_same(make_model, repository: Path) -> None:
    source = make_model("big.onnx", data=True)
    bare = Artifact("onnx", source.location, (source.path,))
    assert len(publish(bare, repository, "m").artifact.files) == 2
    (source.path.parent / "big-weights.bin").unlink()
    with pytest.raises(ConversionFailed, match="big-weights"):
        publish(bare, repository, "n")
    assert not (repository / "n").exists()


def test_a_stray_file_of_the_artifact_is_refused(make_model, repository: Path) -> None:
    source, other = make_model(), make_model("other.onnx")
    artifact = Artifact("onnx", source.location, (source.path, other.path))
    with pytest.raises(RepositoryInvalid, match=r"does not use 'other.onnx'"):
        publish(artifact, repository, "m")


def test_nothing_changed_nothing_written(make_model, repository: Path) -> None:
    publish(make_model(), repository, "m", options={"max_batch_size": 8})
    before = tree(repository.parent)
    again = publish(make_model("copy.onnx"), repository, "m")
    assert (again.version, again.unchanged, again.config) == (1, True, "kept")
    assert publish(make_model(), repository, "m", options={"max_batch_size": "8"}).unchanged
    assert tree(repository.parent) == before
    assert publish(make_model(), repository, "m", version=5).version == 5  # asked for by number


def test_options_alone_change_the_configuration_and_make_no_version(make_model, repository: Path) -> None:
    publish(make_model(), repository, "m")
    stamp = (repository / "m").stat().st_mtime_ns
    done = publish(make_model(), repository, "m", options={"max_batch_size": 8})
    assert (done.version, done.unchanged, done.config) == (1, False, "replaced")
    assert cfg.read(done.config_path).max_batch_size == 8
    assert (repository / "m").stat().st_mtime_ns > stamp
    assert sorted(tree(repository)) == ["m", "m/1", "m/1/model.onnx", "m/config.pbtxt"]


def test_the_users_configuration_stays_unless_options_are_given(make_model, repository: Path) -> None:
    path = publish(make_model(), repository, "m").config_path
    mine = path.read_text().replace("count: 1", "count: 3") + "# mine\n"
    path.write_text(mine)
    assert publish(make_model(scale=3.0), repository, "m").config == "kept"
    assert path.read_text() == mine
    assert publish(make_model(scale=4.0), repository, "m", options={"instances": 2}).config == "replaced"
    assert cfg.read(path).instance_group[0].count == 2


def test_a_model_with_another_interface_needs_another_name(make_model, repository: Path) -> None:
    publish(make_model(), repository, "m")
    before = tree(repository.parent)
    for chosen in ({}, {"instances": 2}):
        with pytest.raises(RepositoryInvalid, match=r"input 'input' shape: .*\[-1, 4\].*\[-1, 5\]") as caught:
            publish(make_model("wide.onnx", columns=5), repository, "m", options=chosen)
        assert "another name" in (caught.value.hint or "")
    assert tree(repository.parent) == before


def test_a_new_configuration_must_do_for_the_version_that_still_serves(make_model, repository: Path) -> None:
    publish(make_model("fixed.onnx", rows=1), repository, "m")
    path = repository / "m/config.pbtxt"
    config = cfg.read(path)
    assert config.max_batch_size == 0
    path.unlink()
    with pytest.raises(RepositoryInvalid, match="version 1 of 'm' does not fit the new configuration"):
        publish(make_model("rows.onnx"), repository, "m")
    assert sorted(tree(repository)) == ["m", "m/1", "m/1/model.onnx"]


def test_an_incomplete_configuration_is_not_built_upon(make_model, repository: Path) -> None:
    path = publish(make_model(), repository, "m").config_path
    path.write_text('backend: "onnxruntime"\nmax_batch_size: 4\n')
    with pytest.raises(RepositoryInvalid, match="incomplete: input"):
        publish(make_model(scale=3.0), repository, "m")
    assert publish(make_model(scale=3.0), repository, "m", options={"instances": 1}).config == "replaced"
    path.write_text("backend: onnxruntime\n")
    with pytest.raises(RepositoryInvalid, match="not a Triton model configuration"):
        publish(make_model(scale=4.0), repository, "m")


def test_a_version_is_never_overwritten(make_model, repository: Path) -> None:
    publish(make_model(), repository, "m", version=7)
    before = tree(repository.parent)
    with pytest.raises(RepositoryInvalid, match="version 7 exists") as caught:
        publish(make_model(scale=3.0), repository, "m", version=7)
    assert caught.value.hint == "leave the version out to publish as 8"
    assert tree(repository.parent) == before
    assert publish(make_model(scale=3.0), repository, "m").version == 8
    old = publish(make_model(scale=4.0), repository, "m", version=2)
    assert not old.live


def test_versions_are_numbers(make_model, repository: Path) -> None:
    for number in (9, 10):
        publish(make_model(scale=float(number)), repository, "m", version=number)
    (repository / "m/12.tmp").mkdir()
    assert publish(make_model(scale=3.0), repository, "m").version == 13
    assert [version.number for version in versions(repository, "m")] == [9, 10, 13]
    with pytest.raises(RepositoryInvalid, match=r"'12.tmp'"):
        publish(make_model(scale=5.0), repository, "m", version=12)


# --- records ---


def write_record(artifact: Artifact) -> dict:
    digests = {path.name: file_sha256(path) for path in artifact.files}
    rows = records.described_files(artifact, digests)
    record = {
        "schema": records.SCHEMA, "format": "onnx", "path": artifact.path.name, "files": rows,
        "sha256": records.total_sha256(rows), "signature": artifact.signature.as_json(), "rows": {"kept": 1},
    }  # fmt: skip
    records.write_json(records.path_beside(artifact.path), record)
    return record


@pytest.mark.parametrize("data", [False, True])
def test_the_record_goes_along_and_is_found(make_model, repository: Path, data: bool) -> None:
    source = make_model(data=data)
    write_record(source)
    done = publish(source, repository, "m")
    found, record = records.with_record(done.artifact)
    assert record is not None
    assert record["rows"] == {"kept": 1}
    assert found.files == done.artifact.files
    (version,) = versions(repository, "m")
    assert version.record == done.artifact.path.parent / "record.json"
    assert all(not name.endswith("record.json") for name in version.files)
    assert version.sha256 == done.sha256
    assert publish(source, repository, "m").unchanged
    version.record.write_text("{}")  # not part of the model
    assert versions(repository, "m")[0].sha256 == done.sha256


def test_a_model_that_is_not_the_one_of_its_record_is_refused(make_model, repository: Path) -> None:
    write_record(make_model())
    changed = make_model(scale=9.0)
    with pytest.raises(RepositoryInvalid, match="changed after its record was written"):
        publish(changed, repository, "m")
    assert not repository.exists()


# --- versions and rollback ---


def test_versions_tell_what_is_there(make_model, repository: Path) -> None:
    published = [publish(make_model(scale=float(n)), repository, "m") for n in (2, 3, 4)]
    found = versions(repository, "m")
    assert [version.number for version in found] == [1, 2, 3]
    assert [version.live for version in found] == [False, False, True]
    assert [version.sha256 for version in found] == [done.sha256 for done in published]
    assert found[0].files == ("model.onnx",)
    assert abs(found[0].published.timestamp() - time.time()) < 60
    assert found[0].record is None
    json.dumps([version.as_json() for version in found])


def test_rollback_moves_the_newest_away_and_its_number_is_not_given_again(make_model, repository: Path) -> None:
    for scale in (2.0, 3.0, 4.0):
        publish(make_model(scale=scale), repository, "m")
    third = versions(repository, "m")[2]
    done = rollback(repository, "m")
    assert (done.version, done.previous) == (2, 3)
    ((number, path),) = done.moved
    assert number == 3
    assert file_sha256(path / "model.onnx") == third.sha256
    assert repository not in path.parents
    assert [version.number for version in versions(repository, "m")] == [1, 2]
    assert publish(make_model(scale=5.0), repository, "m").version == 4
    done = rollback(repository, "m", 1)
    assert [number for number, _ in done.moved] == [2, 4]
    assert [version.live for version in versions(repository, "m")] == [True]
    json.dumps(done.as_json())


def test_rollback_that_cannot_be(make_model, repository: Path) -> None:
    publish(make_model(), repository, "model")
    with pytest.raises(RepositoryInvalid, match="no older version"):
        rollback(repository, "model")
    with pytest.raises(UsageError, match="Did you mean 'model'"):
        rollback(repository, "modle")
    with pytest.raises(UsageError, match="Did you mean 'model'"):
        versions(repository, "modle")
    publish(make_model(scale=3.0), repository, "model", version=12)
    with pytest.raises(UsageError, match="has no version 13") as caught:
        rollback(repository, "model", 13)
    assert caught.value.hint == "its versions: 1, 12"
    with pytest.raises(RepositoryInvalid, match="newest one already"):
        rollback(repository, "model", 12)
    with pytest.raises(RepositoryInvalid, match="no such repository"):
        rollback(repository / "missing", "model")
    (repository / "model/1/model.onnx").write_bytes(b"")
    with pytest.raises(ConversionFailed, match="empty"):
        rollback(repository, "model")
    (repository / "model/1/model.onnx").unlink()
    with pytest.raises(RepositoryInvalid, match="has no model"):
        rollback(repository, "model")
    assert [version.number for version in versions(repository, "model")] == [1, 12]


def test_rollback_knows_the_version_policy(make_model, repository: Path) -> None:
    for scale in (2.0, 3.0):
        path = publish(make_model(scale=scale), repository, "m").config_path
    config = cfg.read(path)
    config.version_policy.specific.versions.append(2)
    path.write_text(cfg.as_text(config))
    with pytest.raises(RepositoryInvalid, match=r"specific \[2\].*would not serve version 1"):
        rollback(repository, "m")
    assert not publish(make_model(scale=4.0), repository, "m").live


# --- what is not a repository ---


def test_a_file_is_no_repository(make_model, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "models"):
        with pytest.raises(RepositoryInvalid, match="this is a file"):
            publish(make_model(), path, "m")


def test_a_models_folder_is_no_repository(make_model, repository: Path) -> None:
    publish(make_model(), repository, "m")
    for inside in ("m", "m/1", "m/1/x"):
        with pytest.raises(RepositoryInvalid) as caught:
            publish(make_model(), repository / inside, "n")
        assert caught.value.hint == f"the repository is {repository}"
    (repository / "m/config.pbtxt").unlink()
    with pytest.raises(RepositoryInvalid, match="version folders"):
        publish(make_model(), repository / "m", "n")
    assert not (repository / "m/n").exists()


def test_somebodys_folder_is_no_repository(make_model, repository: Path) -> None:
    repository.mkdir(parents=True)
    (repository / ".gitkeep").touch()
    (repository / "notes.txt").touch()
    (repository / "photos").mkdir()
    with pytest.raises(RepositoryInvalid, match="does not look like a model repository") as caught:
        publish(make_model(), repository, "m")
    assert sorted(path.name for path in repository.iterdir()) == [".gitkeep", "notes.txt", "photos"]
    marker = (caught.value.hint or "").split("touch ")[1]
    Path(marker).touch()
    assert publish(make_model(), repository, "m").version == 1


def test_an_empty_folder_and_a_link_to_one_will_do(make_model, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/.gitkeep").touch()
    (tmp_path / "link").symlink_to("real")
    publish(make_model(), tmp_path / "link", "m")
    assert (tmp_path / "real/m/1/model.onnx").is_file()
    (tmp_path / "real/empty").mkdir()
    assert publish(make_model(), tmp_path / "real", "empty").config == "written"
    (tmp_path / "real/taken").write_text("x")
    with pytest.raises(RepositoryInvalid, match="a file has the model's name"):
        publish(make_model(), tmp_path / "real", "taken")


def test_wrong_arguments(make_model, repository: Path) -> None:
    with pytest.raises(RepositoryInvalid, match="cannot be the name"):
        publish(make_model(), repository, "a/b")
    with pytest.raises(UsageError, match="Did you mean 'max_batch_size'"):
        publish(make_model(), repository, "m", options={"max_batchsize": 4})
    with pytest.raises(UsageError, match="cannot be published"):
        publish(Artifact("catboost", "m.cbm", (Path("m.cbm"),)), repository, "m")
    with pytest.raises(ConversionFailed):
        publish(Artifact("onnx", "missing.onnx", (Path("missing.onnx"),)), repository, "m")
    with pytest.raises(RepositoryInvalid, match="fixed at 1"):
        publish(make_model(rows=1), repository, "m", options={"max_batch_size": 4})
    assert not repository.parent.exists()


def test_without_tritonclient_nothing_happens(make_model, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlconvert.packages.installed", lambda package: package.module != "tritonclient")
    with pytest.raises(MissingPackage):
        publish(make_model(), repository, "m")
    assert not repository.parent.exists()
