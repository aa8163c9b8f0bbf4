"""Publishing to a real S3-speaking server: what lies there, what is served, and the ways back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import obstore
import pytest

from mlconvert.artifact import Artifact
from mlconvert.errors import RepositoryInvalid, UsageError
from mlconvert.repositories.remote import Bucket, downloaded
from mlconvert.repositories.triton import config as cfg
from mlconvert.repositories.triton import publish as publish_locally
from mlconvert.repositories.triton.remote import label, publish, rollback, versions


def test_a_new_model_and_a_new_version(make_model, repository, content, served):
    first = publish(make_model("first.onnx"), repository, "m")
    assert (first.version, first.config, first.live, first.unchanged) == (1, "written", True, False)
    assert first.path == f"{repository}/m/1"
    assert first.files == (f"{repository}/m/1/model.onnx",)
    assert sorted(content()) == ["team/models/m/1/model.onnx", "team/models/m/config.pbtxt"]
    second = publish(make_model("second.onnx", scale=3.0), repository, "m")
    assert (second.version, second.config) == (2, "kept")
    assert list(served("m")) == [2]
    assert [(row.number, row.live) for row in versions(repository, "m")] == [(1, False), (2, True)]
    assert first.as_json().keys() >= {"name", "version", "path", "files", "config", "live", "removed", "warnings"}


def test_it_is_what_a_folder_would_have(make_model, repository, content, tmp_path):
    """But for the version policy, which says in so many words what is in service."""
    model = make_model("first.onnx", data=True)
    publish(model, repository, "m", options={"max_batch_size": 8})
    publish_locally(model, tmp_path / "models", "m", options={"max_batch_size": 8})
    files = [path for path in (tmp_path / "models").rglob("*") if path.is_file()]
    local = {f"team/{path.relative_to(tmp_path)}": path.read_bytes() for path in files}
    there = content()
    assert there.keys() == local.keys()
    configs = [files.pop("team/models/m/config.pbtxt").decode() for files in (there, local)]
    assert there == local
    remote, mine = (cfg.parse(text, where="") for text in configs)
    assert list(remote.version_policy.specific.versions) == [1]
    assert remote.parameters.pop("mlconvert.policy").string_value == "latest 1"
    remote.version_policy.latest.num_versions = 1
    assert remote == mine


def test_the_same_model_is_not_published_again(recorded, repository, fate):
    from mlconvert.operations.publish import publish as publish_model

    model = recorded().path
    publish_model(model, str(repository), to="triton", name="m")
    fate.lives_on()
    again = publish_model(model, str(repository), to="triton", name="m")
    assert again["unchanged"]
    assert again["version"] == 1
    assert fate.steps == []
    other = publish_model(model, str(repository), to="triton", name="m", options={"max_batch_size": "4"})
    assert (other["unchanged"], other["version"], other["config"]["state"]) == (False, 1, "replaced")
    assert [row.number for row in versions(repository, "m")] == [1]
    assert fate.steps == ["write models/m/config.pbtxt"], "no version is sent again"
    again = publish_model(model, str(repository), to="triton", name="m", options={"max_batch_size": "4"})
    assert again["unchanged"]


def test_rollback_and_on_again(make_model, repository, served, content):
    for scale in (1.0, 2.0, 3.0):
        publish(make_model(f"{scale}.onnx", scale=scale), repository, "m")
    before = content()
    done = rollback(repository, "m")
    assert (done.version, done.previous, done.moved) == (2, 3, ())
    assert list(served("m")) == [2]
    assert {key for key, data in content().items() if before[key] != data} == {"team/models/m/config.pbtxt"}
    assert rollback(repository, "m", 1).version == 1
    with pytest.raises(RepositoryInvalid, match="no older version"):
        rollback(repository, "m")
    with pytest.raises(UsageError, match="no version 9"):
        rollback(repository, "m", 9)
    with pytest.raises(RepositoryInvalid, match="newest one in service already"):
        rollback(repository, "m", 1)
    assert publish(make_model("4.onnx", scale=4.0), repository, "m").version == 4
    assert list(served("m")) == [4], "what was rolled back stays so"


def test_two_in_service(make_model, repository, served):
    publish(make_model("1.onnx", scale=1.0), repository, "m", options={"version_policy": "latest:2"})
    for scale in (2.0, 3.0):
        publish(make_model(f"{scale}.onnx", scale=scale), repository, "m")
    assert list(served("m")) == [2, 3]
    rollback(repository, "m")
    assert list(served("m")) == [2]
    publish(make_model("4.onnx", scale=4.0), repository, "m")
    assert list(served("m")) == [2, 4]


def test_labels(make_model, repository, served):
    for scale in (1.0, 2.0, 3.0):
        publish(make_model(f"{scale}.onnx", scale=scale), repository, "m")
    done = label(repository, "m", {"stable": 1, "canary": 3})
    assert (dict(done.labels), done.live, done.before) == ({"canary": 3, "stable": 1}, {1, 3}, {3})
    assert sorted(served("m")) == [1, 3]
    assert not publish(make_model("4.onnx", scale=4.0), repository, "m").live
    assert sorted(served("m")) == [1, 3]
    with pytest.raises(RepositoryInvalid, match="labels"):
        rollback(repository, "m")
    assert [row.labels for row in versions(repository, "m")] == [("stable",), (), ("canary",), ()]
    label(repository, "m", {}, ["stable", "canary"])
    assert list(served("m")) == [4]
    assert label(repository, "m", {}).live == {4}
    with pytest.raises(UsageError, match="no version 9"):
        label(repository, "m", {"stable": 9})


def test_keep(make_model, repository, served, content):
    for scale in (1.0, 2.0, 3.0, 4.0):
        publish(make_model(f"{scale}.onnx", scale=scale), repository, "m")
    done = publish(make_model("5.onnx", scale=5.0), repository, "m", keep=2)
    assert done.removed == (1, 2, 3)
    assert [row.number for row in versions(repository, "m")] == [4, 5]
    assert not any(".mlconvert-" in key for key in content())
    rollback(repository, "m")
    assert list(served("m")) == [4]


def test_a_version_is_never_overwritten(make_model, repository, content):
    publish(make_model("1.onnx", scale=1.0), repository, "m", version=7)
    before = content()
    with pytest.raises(RepositoryInvalid, match="exists and is never overwritten"):
        publish(make_model("2.onnx", scale=2.0), repository, "m", version=7)
    assert content() == before
    assert publish(make_model("2.onnx", scale=2.0), repository, "m").version == 8


def test_a_lower_number_does_not_go_live(make_model, repository, served):
    publish(make_model("1.onnx", scale=1.0), repository, "m", version=7)
    assert not publish(make_model("2.onnx", scale=2.0), repository, "m", version=3).live
    assert list(served("m")) == [7]


def test_a_model_that_does_not_fit_leaves_nothing(make_model, repository, content):
    publish(make_model("1.onnx"), repository, "m")
    before = content()
    with pytest.raises(RepositoryInvalid, match="does not fit"):
        publish(make_model("wide.onnx", columns=9), repository, "m")
    assert content() == before
    with pytest.raises(RepositoryInvalid, match="cannot be the name"):
        publish(make_model("1.onnx"), repository, "a/b")


def test_a_new_configuration_has_to_do_for_what_is_in_service(make_model, repository, content, served):
    publish(make_model("1.onnx"), repository, "m")
    done = publish(make_model("2.onnx", scale=3.0), repository, "m", options={"max_batch_size": 16})
    assert done.config == "replaced"
    config = cfg.parse(content()["team/models/m/config.pbtxt"].decode(), where="")
    assert config.max_batch_size == 16
    assert list(served("m")) == [2]


def test_a_repository_that_was_copied_there(make_model, repository, bucket, tmp_path, served):
    """Its configuration does not list what is in service: before anything is sent, it does."""
    for scale in (1.0, 2.0):
        publish_locally(make_model(f"{scale}.onnx", scale=scale), tmp_path / "models", "m")
    for path in (tmp_path / "models").rglob("*"):
        if path.is_file():
            obstore.put(bucket.store, f"team/models/{path.relative_to(tmp_path / 'models')}", path)
    assert [(row.number, row.live) for row in versions(repository, "m")] == [(1, False), (2, True)]
    assert publish(make_model("3.onnx", scale=3.0), repository, "m").version == 3
    assert list(served("m")) == [3]
    rollback(repository, "m")
    assert list(served("m")) == [2]


def test_comments_and_edits_stay(make_model, repository, bucket, content):
    publish(make_model("1.onnx"), repository, "m")
    key = "team/models/m/config.pbtxt"
    text = "# ours\n" + content()[key].decode() + 'parameters { key: "mine" value { string_value: "x" } }\n'
    obstore.put(bucket.store, key, text.encode())
    publish(make_model("2.onnx", scale=3.0), repository, "m")
    after = content()[key].decode()
    assert after.startswith("# ours\n")
    assert cfg.parse(after, where="").parameters["mine"].string_value == "x"


@pytest.mark.parametrize("damage", ["changed", "shortened"])
def test_what_the_store_garbles_is_not_published(make_model, repository, bucket, monkeypatch, served, damage):
    publish(make_model("1.onnx"), repository, "m")
    upload = Bucket.upload

    def garbled(self: Bucket, key: str, path: Path) -> None:
        copy = path.with_name("garbled")
        data = path.read_bytes()
        copy.write_bytes(data[:-1] if damage == "shortened" else data[:-1] + b"\0")
        upload(self, key, copy)

    monkeypatch.setattr(Bucket, "upload", garbled)
    with pytest.raises(RepositoryInvalid, match="not what was sent"):
        publish(make_model("2.onnx", scale=3.0), repository, "m")
    assert list(served("m")) == [1]
    assert [row.number for row in versions(repository, "m")] == [1], "nothing of it stays"


def test_a_damaged_version_is_not_gone_back_to(recorded, repository, bucket, served):
    publish(recorded("1.onnx"), repository, "m")
    publish(recorded("2.onnx", scale=3.0), repository, "m")
    for row in versions(repository, "m"):
        assert row.record == f"{repository}/m/{row.number}/record.json"
    obstore.put(bucket.store, "team/models/m/1/model.onnx", b"damaged")
    with pytest.raises(RepositoryInvalid, match="is damaged"):
        rollback(repository, "m")
    assert list(served("m")) == [2]


def test_objects_that_stand_for_folders(make_model, repository, bucket, served):
    """What some tools leave: `models/`, `models/m/1/`. They are no files."""
    publish(make_model("1.onnx", scale=1.0), repository, "m")
    for key in ("team/models", "team/models/m", "team/models/m/1", "team/models/m/2", "team/models/other/1"):
        obstore.put(bucket.store, key, b"")
    assert [(row.number, row.files) for row in versions(repository, "m")] == [(1, ("model.onnx",))]
    with downloaded(repository) as folder:
        assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_dir()) == [
            "m", "m/1", "m/2", "other", "other/1",
        ]  # fmt: skip
    assert publish(make_model("2.onnx", scale=2.0), repository, "m").version == 3, "2 is somebody's folder"
    assert list(served("m")) == [3]


def test_keys_that_are_no_paths(make_model, repository, s3, content):
    """`//` and `..`: they could lead out of a folder that they are copied to."""
    import urllib.request

    publish(make_model("1.onnx"), repository, "m")
    name = repository.bucket
    request = urllib.request.Request(f"{s3}/{name}/team/models/m//etc/passwd", data=b"x", method="PUT")
    with urllib.request.urlopen(request):
        pass
    with pytest.raises(RepositoryInvalid, match="invalid path"):
        versions(repository, "m")
    with pytest.raises(RepositoryInvalid, match="invalid path"), downloaded(repository):
        pass


def test_load_is_refused_and_nothing_done(make_model, repository, content):
    publish(make_model("1.onnx"), repository, "m")
    before = content()
    server: Any = object()
    actions = [
        lambda: publish(make_model("2.onnx", scale=3.0), repository, "m", server=server),
        lambda: rollback(repository, "m", 1, server=server),
        lambda: label(repository, "m", {"stable": 1}, server=server),
    ]
    for action in actions:
        with pytest.raises(UsageError, match="--load does not work"):
            action()
    assert content() == before


def test_an_ensemble_is_refused(repository, content, tmp_path):
    with pytest.raises(UsageError, match="is an ensemble"):
        publish(Artifact("ensemble", str(tmp_path / "ensemble.json"), ()), repository, "m")
    assert content() == {}


def test_an_unknown_model(repository):
    for function in (versions, rollback):
        with pytest.raises(UsageError, match="no model 'm'"):
            function(repository, "m")


def test_download(make_model, repository, tmp_path):
    publish(make_model("1.onnx", data=True), repository, "a")
    publish(make_model("2.onnx"), repository, "b")
    with downloaded(repository) as folder:
        assert sorted(path.name for path in folder.iterdir()) == ["a", "b"]
        assert len(list((folder / "a" / "1").rglob("*.*"))) >= 2
    assert not folder.exists()
    with downloaded(repository, ["b"]) as folder:
        assert [path.name for path in folder.iterdir()] == ["b"]
    with pytest.raises(RepositoryInvalid, match="nothing in it"), downloaded(repository, ["c"]):
        pass
