"""Publishing, versions, rollback and labels in a TensorFlow Serving repository."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from mlconvert import records
from mlconvert.artifact import file_sha256
from mlconvert.errors import RepositoryInvalid, UsageError
from mlconvert.repositories import repository_named, staging
from mlconvert.repositories.tf_serving import label, options, publish, rollback, server_files, versions
from mlconvert.repositories.tf_serving.layout import entries_in
from mlconvert.repositories.tf_serving.saved_models import WARMUP, signatures_of
from mlconvert.repositories.versions import Labelled
from mlconvert.serving.tf_serving.messages import message
from mlconvert.signature import Signature, TensorSpec

GOLDEN = Path(__file__).with_name("golden") / "tf_serving"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return tmp_path / "disk" / "models"


@pytest.fixture
def three(make_saved, repository: Path) -> Path:
    """A repository with three versions of `m`."""
    for scale in (1.0, 2.0, 3.0):
        publish(make_saved(scale), repository, "m")
    return repository


def tree(folder: Path) -> dict[str, tuple[str, int]]:
    return {
        str(path.relative_to(folder)): (file_sha256(path) if path.is_file() else "", path.stat().st_mtime_ns)
        for path in folder.rglob("*")
    }


def numbers(repository: Path) -> list[int]:
    return [version.number for version in versions(repository, "m")]


def test_the_table_leads_here() -> None:
    module = repository_named("tf-serving").load()
    functions = (module.publish, module.versions, module.rollback, module.label)
    assert functions == (publish, versions, rollback, label)
    assert {"base_path", "version_policy", "warmup", "monitoring", "batching"} <= options("saved-model").keys()
    assert all(option.help for option in options("saved-model").values())
    with pytest.raises(UsageError, match="'onnx' cannot be published"):
        options("onnx")


def test_first_version(make_saved, repository: Path) -> None:
    source = make_saved(1.0, record=True)
    done = publish(source, repository, "m")
    assert (done.version, done.config, done.unchanged, done.live) == (1, "written", False, True)
    assert sorted(name for name in tree(repository) if (repository / name).is_file()) == [
        "m/1/assets.extra/tf_serving_warmup_requests", "m/1/fingerprint.pb", "m/1/record.json", "m/1/saved_model.pb",
        "m/1/variables/variables.data-00000-of-00001", "m/1/variables/variables.index", "models.config",
    ]  # fmt: skip
    assert done.artifact.path == repository / "m/1/saved_model.pb"
    assert entries_in(repository)["m"].base_path == "/models/m"
    assert [path.name for path in repository.parent.iterdir()] == ["models"]  # no staging folder stays
    json.dumps(done.as_json())
    (version,) = versions(repository, "m")
    assert (version.sha256, version.bytes, version.live) == (done.sha256, done.bytes, True)
    record = records.read(done.path / "record.json")
    assert record is not None
    assert record["published"] == {"options": {}, "live": True}
    assert records.with_record(done.artifact)[1] == record  # every file is what the record says


def test_a_second_version_is_a_copy_with_open_modes_and_newer_times(make_saved, repository: Path) -> None:
    publish(make_saved(1.0), repository, "m")
    future = time.time_ns() + 10**13  # written by a host whose clock is ahead
    os.utime(repository / "m/1", ns=(future, future))
    source = make_saved(2.0)
    source.path.chmod(0o600)
    previous = os.umask(0o077)
    try:
        done = publish(source, repository, "m")
    finally:
        os.umask(previous)
    assert (done.version, done.config) == (2, "kept")
    assert done.artifact.path.stat().st_mode & 0o777 == 0o644
    assert (done.path / "variables").stat().st_mode & 0o777 == 0o755
    assert (repository / "models.config").stat().st_mode & 0o777 == 0o644
    assert done.path.stat().st_mtime_ns > future


def test_nothing_changed_nothing_written(make_saved, repository: Path) -> None:
    source = make_saved(1.0, record=True)
    publish(source, repository, "m", options={"version_policy": "latest:2"})
    before = tree(repository.parent)
    for chosen in ({}, {"version_policy": "latest:2"}):
        again = publish(source, repository, "m", options=chosen)
        assert (again.version, again.unchanged, again.config) == (1, True, "kept")
    assert publish(replace(source, files=(source.path,)), repository, "m").unchanged  # the others are its own, too
    assert publish(versions_artifact(repository), repository, "m").unchanged
    assert tree(repository.parent) == before
    assert publish(source, repository, "m", version=5).version == 5  # asked for by number
    assert publish(source, repository, "m", options={"warmup": "no"}).version == 6  # requests are a part of a version


def versions_artifact(repository: Path):
    """The newest version as `publish` is given it by its folder."""
    newest = versions(repository, "m")[-1]
    record = records.read(newest.path / "record.json")
    assert record is not None
    return records.artifact_of(record, newest.path)


def test_options_alone_change_the_entry_and_make_no_version(make_saved, repository: Path) -> None:
    publish(make_saved(1.0), repository, "m")
    done = publish(make_saved(1.0), repository, "m", options={"version_policy": "all", "base_path": "s3://b/models/"})
    assert (done.version, done.unchanged, done.config) == (1, False, "replaced")
    entry = entries_in(repository)["m"]
    assert (entry.base_path, entry.policy.kind) == ("s3://b/models/m", "all")
    publish(make_saved(2.0), repository, "n")
    assert entries_in(repository)["n"].base_path == "s3://b/models/n"  # as the others have it
    assert publish(make_saved(3.0), repository, "m").config == "kept"


def test_entries_of_others_stay_byte_for_byte(make_saved, repository: Path) -> None:
    repository.mkdir(parents=True)
    mine = 'model_config_list: { config: {name:"x",base_path:"/y"} # why\n}\n# end\n'
    (repository / "models.config").write_text(mine)
    publish(make_saved(1.0), repository, "m")
    label(repository, "m", {"stable": 1})
    text = (repository / "models.config").read_text()
    assert text.startswith(mine.partition("\n")[0])
    assert text.endswith("\n}\n# end\n")


def test_a_file_that_is_no_models_config_is_not_built_upon(make_saved, three: Path) -> None:
    path = three / "models.config"
    for content in (b"model_config_list {", b"\xff", b"model_config_list: 3"):
        path.write_bytes(content)
        before = tree(three.parent)
        with pytest.raises(RepositoryInvalid, match="not a "):
            publish(make_saved(7.0), three, "m")
        assert tree(three.parent) == before
    path.unlink()
    path.symlink_to("elsewhere")
    with pytest.raises(RepositoryInvalid, match="is a link"):
        versions(three, "m")


@pytest.mark.parametrize("name", ["models.config", "batching.config", "../m", ""])
def test_names_that_no_model_can_have(make_saved, repository: Path, name: str) -> None:
    with pytest.raises(RepositoryInvalid):
        publish(make_saved(1.0), repository, name)
    assert not repository.exists()


def test_a_version_is_never_overwritten(make_saved, three: Path) -> None:
    before = tree(three.parent)
    with pytest.raises(RepositoryInvalid, match="version 3 exists"):
        publish(make_saved(7.0), three, "m", version=3)
    assert tree(three.parent) == before
    assert not publish(make_saved(7.0), three, "m", version=9, options={"version_policy": "2"}).live
    (three / "m/11.tmp").mkdir()  # TensorFlow Serving ignores it; no number that some server reads is given again
    assert publish(make_saved(8.0), three, "m").version == 12
    with pytest.raises(RepositoryInvalid, match="would serve none"):
        publish(make_saved(8.0), three, "m", options={"version_policy": "77"})


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"base_path": "models"}, "absolute path or a URL"),
        ({"version_policy": "newest"}, "expected latest"),
        ({"monitoring_path": "/x"}, "is for monitoring=yes"),
        ({"monitoring": "yes", "monitoring_path": "x y"}, "expected a path"),
        ({"batching_sizes": "2,4"}, "is for batching=yes"),
        ({"batching": "yes", "batching_sizes": "4,2"}, "rising numbers"),
        ({"batching": "yes", "batching_sizes": "2,4", "batching_max_size": "8"}, "the last is the most"),
        ({"batching": "yes", "batching_threads": "0"}, "1 or more"),
        ({"batching": "yes", "batching_timeout": "-1"}, "0 or more"),
        ({"max_batch_size": "8"}, "no option 'max_batch_size'"),
    ],
)
def test_options_that_make_no_sense(make_saved, repository: Path, chosen: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        publish(make_saved(1.0), repository, "m", options=chosen)
    assert not repository.parent.exists()


# --- what is published ---


def test_weights_that_are_not_whole(make_saved, repository: Path) -> None:
    source = make_saved(1.0)
    index = source.folder / "variables/variables.index"
    data = source.folder / "variables/variables.data-00000-of-00001"
    for missing, words in ((data, "no weights"), (index, "without variables/variables.index")):
        content = missing.read_bytes()
        missing.unlink()
        with pytest.raises(RepositoryInvalid, match=words):
            publish(replace(source, files=(source.path,)), repository, "m")
        missing.write_bytes(content)
    data.rename(data.with_name("variables.data-00000-of-00002"))
    with pytest.raises(RepositoryInvalid, match=r"lack variables/variables\.data-00001-of-00002"):
        publish(replace(source, files=(source.path,)), repository, "m")
    assert not repository.exists()


def test_a_file_that_is_no_savedmodel(make_saved, repository: Path) -> None:
    source = make_saved(1.0)
    source.path.write_bytes(b"\x0a\xff")
    with pytest.raises(RepositoryInvalid, match="not a SavedModel"):
        publish(source, repository, "m")
    source.path.write_bytes(b"")
    with pytest.raises(RepositoryInvalid, match="it holds no graph"):
        publish(source, repository, "m")
    trained = message("SavedModel")()
    trained.meta_graphs.add().meta_info_def.tags.append("train")
    source.path.write_bytes(trained.SerializeToString())
    with pytest.raises(RepositoryInvalid, match="no graph with the tag 'serve'"):
        publish(source, repository, "m")


def test_the_signature_is_read_without_tensorflow(saved_models: Path) -> None:
    found = signatures_of(saved_models / "1" / "saved_model.pb")
    assert found == {
        "serving_default": Signature(
            (TensorSpec("x", "float32", (None, 4)),),
            (TensorSpec("total", "float32", (None,)), TensorSpec("y", "float32", (None, 4))),
        )
    }


def test_a_changed_file_is_not_what_its_record_says(make_saved, repository: Path) -> None:
    source = make_saved(1.0, record=True)
    (source.folder / "variables/variables.index").write_bytes(b"other")
    with pytest.raises(RepositoryInvalid, match="was changed after its record was written"):
        publish(source, repository, "m")


def test_another_interface_is_told(make_saved, repository: Path) -> None:
    publish(make_saved(1.0, record=True), repository, "m")
    path = repository / "m/1/record.json"
    path.write_text(path.read_text().replace('"name": "x"', '"name": "old"'))
    (warning,) = publish(make_saved(2.0), repository, "m").warnings
    assert "input 'old', input 'x'" in warning


def test_what_is_published_loads_in_a_fresh_process_with_tensorflow_alone(make_saved, repository: Path) -> None:
    done = [publish(make_saved(scale, record=True), repository, "m") for scale in (1.0, 3.0)]
    program = Path(__file__).with_name("saved_model_process.py")
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    called = subprocess.run(
        [sys.executable, program, "load", *(one.path for one in done)], capture_output=True, text=True, env=environment
    )
    assert called.returncode == 0, called.stderr
    answers = [json.loads(line) for line in called.stdout.splitlines()]
    assert [one["y"] for one in answers] == [[[0, 1, 2, 3]], [[0, 3, 6, 9]]]
    assert answers[1]["warm"] == [[[0, 3, 6, 9]], [[12, 15, 18, 21]]]


# --- files of the server ---


def test_files_of_the_server(make_saved, repository: Path) -> None:
    chosen = {"monitoring": "yes", "batching": "yes"}
    publish(make_saved(1.0), repository, "m", options=chosen)
    for name in ("monitoring.config", "batching.config"):
        assert (repository / name).read_text() == (GOLDEN / name).read_text()
        assert server_files.is_ours((repository / name).read_text())
    assert publish(make_saved(1.0), repository, "m", options=chosen).unchanged
    every = {
        "batching": True, "batching_max_size": 32, "batching_timeout": 0, "batching_threads": 4, "batching_queue": 100,
        "batching_sizes": (8, 32), "batching_pad": True,
    }  # fmt: skip
    assert not publish(make_saved(1.0), repository, "m", options=every).unchanged
    assert (repository / "batching.config").read_text() == (GOLDEN / "batching_all.config").read_text()


def test_a_file_of_the_server_that_was_changed_by_hand_stays(make_saved, repository: Path) -> None:
    publish(make_saved(1.0), repository, "m", options={"batching": "yes"})
    path = repository / "batching.config"
    mine = path.read_text().replace("64", "128")
    path.write_text(mine)
    before = tree(repository.parent)
    with pytest.raises(RepositoryInvalid, match=r"batching\.config was not written by mlconvert, or was changed"):
        publish(make_saved(2.0), repository, "m", options={"batching": "yes"})
    assert tree(repository.parent) == before
    assert publish(make_saved(2.0), repository, "m", options={"batching": "yes", "batching_max_size": 128}).version == 2
    assert path.read_text() == mine  # it says what was asked for
    assert publish(make_saved(3.0), repository, "m").version == 3


def test_a_model_that_cannot_batch_is_told_where_the_server_would(make_saved, repository: Path) -> None:
    fixed = Signature((TensorSpec("x", "float32", (1, 4)),), (TensorSpec("y", "float32", (1, 4)),))
    source = replace(make_saved(1.0), signature=fixed)
    assert publish(source, repository, "m").warnings == ()
    (warning,) = publish(source, repository, "m", options={"batching": "yes"}).warnings
    assert "cannot answer 'm': the first axis of input 'x' is fixed at 1" in warning
    (warning,) = publish(source, repository, "n").warnings
    assert "cannot answer 'n'" in warning
    assert publish(make_saved(2.0), repository, "batches").warnings == ()


# --- rollback and labels ---


def test_rollback_and_what_comes_after(make_saved, three: Path) -> None:
    assert [(version.number, version.live) for version in versions(three, "m")] == [(1, False), (2, False), (3, True)]
    config = (three / "models.config").read_bytes()
    done = rollback(three, "m", 1)
    assert (done.version, done.previous) == (1, 3)
    assert [number for number, _ in done.moved] == [2, 3]
    assert all((path / "saved_model.pb").is_file() for _, path in done.moved)
    assert numbers(three) == [1]
    assert (three / "models.config").read_bytes() == config
    assert publish(make_saved(3.0), three, "m").version == 4  # no number means two models
    with pytest.raises(RepositoryInvalid, match="the newest one already"):
        rollback(three, "m", 4)
    with pytest.raises(UsageError, match="no version 3"):
        rollback(three, "m", 3)


def test_no_rollback_to_what_could_not_be_loaded_or_would_not_be_served(make_saved, three: Path) -> None:
    (three / "m/2/variables/variables.index").unlink()
    with pytest.raises(RepositoryInvalid, match=r"without variables/variables\.index"):
        rollback(three, "m")
    publish(make_saved(3.0), three, "m", options={"version_policy": "3"})
    with pytest.raises(RepositoryInvalid, match=r"specific \[3\]\) would not serve version 1") as caught:
        rollback(three, "m", 1)
    assert "LABEL=1" in (caught.value.hint or "")
    assert numbers(three) == [1, 2, 3]


def test_a_model_that_models_config_does_not_name(make_saved, three: Path) -> None:
    path = three / "models.config"
    path.write_text("model_config_list { }\n")
    assert not any(version.live for version in versions(three, "m"))
    with pytest.raises(RepositoryInvalid, match="no entry"):
        label(three, "m", {"a": 1})
    with pytest.raises(RepositoryInvalid, match="would not serve"):
        rollback(three, "m")
    path.unlink()  # as a server is started with MODEL_NAME=m
    assert [version.live for version in versions(three, "m")] == [False, False, True]
    assert rollback(three, "m").version == 2
    (warning,) = publish(make_saved(1.0), three, "n").warnings
    assert "does not serve m" in warning
    assert publish(make_saved(5.0), three, "m").config == "written"


def test_labels_put_their_versions_in_service(three: Path) -> None:
    assert label(three, "m", {}).labels == {}
    done = label(three, "m", {"stable": 1, "canary": 2})
    assert (done.labels, done.live, done.before, done.warnings) == ({"canary": 2, "stable": 1}, {1, 2}, {3}, ())
    assert [(version.labels, version.live) for version in versions(three, "m")] == [
        (("stable",), True), (("canary",), True), ((), False),
    ]  # fmt: skip
    assert label(three, "m", {"stable": 2}).warnings == ()  # it was in service
    (warning,) = label(three, "m", {"stable": 3}).warnings
    assert "'stable' moves from version 2 to 3, which was not in service" in warning
    assert label(three, "m", {}, ["canary", "stable"]).live == {3}
    assert entries_in(three)["m"].policy.kind == "latest"
    assert label(three, "m", {"stable": 1}, every=True).live == {1, 2, 3}
    json.dumps(done.as_json())
    assert isinstance(done, Labelled)


def test_labels_outlive_versions_and_are_not_lost(make_saved, three: Path) -> None:
    label(three, "m", {"stable": 1, "canary": 3})
    done = publish(make_saved(4.0), three, "m", keep=1)
    assert (done.version, done.live, done.removed) == (4, False, (2,))
    with pytest.raises(UsageError, match="the labels of 'm'"):
        publish(make_saved(4.0), three, "m", options={"version_policy": "all"})
    with pytest.raises(RepositoryInvalid, match="has the label 'canary'"):
        rollback(three, "m", 1)
    assert publish(make_saved(4.0), three, "m", options={"base_path": "/srv"}).config == "replaced"
    assert label(three, "m", {}).labels == {"canary": 3, "stable": 1}
    for put, remove, words in (
        ({"a": 9}, [], "no version 9"),
        ({"3": 3}, [], "cannot be a label"),
        ({}, ["b"], "no label"),
    ):
        with pytest.raises(UsageError, match=words):
            label(three, "m", put, remove)


def test_older_versions_go(make_saved, three: Path) -> None:
    assert publish(make_saved(4.0), three, "m", keep=2).removed == (1, 2)
    assert numbers(three) == [3, 4]
    assert publish(make_saved(5.0), three, "m", keep=1).removed == (3,)  # 4 was in service until now
    assert not staging.staging_folder(three).exists()


def test_the_requests_are_in_the_record_of_nothing(make_saved, repository: Path) -> None:
    """They are made for the repository: the record is of the model's own files."""
    done = publish(make_saved(1.0, record=True), repository, "m")
    record = records.read(done.path / "record.json")
    assert record is not None
    assert WARMUP not in [row["path"] for row in record["files"]]
    assert WARMUP in versions(repository, "m")[0].files
