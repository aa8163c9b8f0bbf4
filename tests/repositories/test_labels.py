"""Labels and `keep` in a Triton repository, without a server."""

from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlconvert.cli.app import run
from mlconvert.errors import MlconvertError, RepositoryInvalid, UsageError
from mlconvert.repositories import staging
from mlconvert.repositories.keeping import oldest_aside, superfluous
from mlconvert.repositories.triton import config as cfg
from mlconvert.repositories.triton import label, publish, rollback, versions
from mlconvert.repositories.triton.labels import labels_of, relabelled
from mlconvert.repositories.versions import VersionFolder


@pytest.fixture
def three(make_model, tmp_path: Path) -> Path:
    """A repository with three versions of `m`."""
    for scale in (1.0, 2.0, 3.0):
        publish(make_model(scale=scale), tmp_path / "models", "m")
    return tmp_path / "models"


def policy(repository: Path) -> str:
    return cfg.policy_text(cfg.read(repository / "m/config.pbtxt"))


def numbers(repository: Path) -> list[int]:
    return [version.number for version in versions(repository, "m")]


def test_a_label_puts_its_version_in_service(three: Path) -> None:
    assert label(three, "m", {}).labels == {}
    done = label(three, "m", {"stable": 1, "canary": 2})
    assert (done.labels, done.live, done.before) == ({"canary": 2, "stable": 1}, {1, 2}, {3})
    assert policy(three) == "specific [1, 2]"
    assert [(version.labels, version.live) for version in versions(three, "m")] == [
        (("stable",), True), (("canary",), True), ((), False),
    ]  # fmt: skip
    assert label(three, "m", {}).labels == {"canary": 2, "stable": 1}
    assert label(three, "m", {"canary": 3}, ["stable"]).live == {3}
    assert label(three, "m", {}, ["canary"]).live == {3}
    assert policy(three) == "latest"
    assert label(three, "m", {"stable": 1}, every=True).live == {1, 2, 3}
    assert policy(three) == "all"
    json.dumps(done.as_json())


def test_labels_keep_the_rest_of_the_configuration(three: Path) -> None:
    path = three / "m/config.pbtxt"
    text = "# mine\n" + path.read_text().replace("count: 1", "count: 3")
    path.write_text(text)
    label(three, "m", {"stable": 1})
    assert path.read_text().startswith("# mine\n")
    before, now = cfg.parse(text, where=""), cfg.read(path)
    assert now.instance_group[0].count == 3
    for message in (before, now):
        message.ClearField("version_policy")
        message.ClearField("parameters")
    assert before == now


def test_labels_outlive_a_new_version_and_a_new_configuration(three: Path, make_model) -> None:
    label(three, "m", {"stable": 2})
    done = publish(make_model(scale=4.0), three, "m")
    assert (done.version, done.live) == (4, False)
    assert publish(make_model(scale=5.0), three, "m", options={"max_batch_size": 8}).config == "replaced"
    assert cfg.read(three / "m/config.pbtxt").max_batch_size == 8
    assert label(three, "m", {}).labels == {"stable": 2}
    assert policy(three) == "specific [2]"
    assert publish(make_model(scale=5.0), three, "m", options={"max_batch_size": 8}).unchanged


def test_a_rollback_does_not_lose_a_label(three: Path) -> None:
    label(three, "m", {"stable": 2, "canary": 3})
    with pytest.raises(RepositoryInvalid, match="version 3 of 'm' has the label 'canary'") as caught:
        rollback(three, "m", 2)
    assert "canary=2" in (caught.value.hint or "")
    label(three, "m", {"canary": 2})
    assert rollback(three, "m", 2).version == 2


@pytest.mark.parametrize(
    ("put", "remove", "words"),
    [
        ({"stable": 9}, [], "no version 9 for the label 'stable'"),
        ({"3": 3}, [], "'3' cannot be a label"),
        ({"a b": 3}, [], "'a b' cannot be a label"),
        ({"x" * 64: 3}, [], "cannot be a label"),
        ({}, ["stabel"], "no label 'stabel'. Did you mean 'stable'"),
        ({"stable": 2}, ["stable"], "to be set and to be removed"),
    ],
)
def test_what_is_no_label(three: Path, put: dict[str, int], remove: list[str], words: str) -> None:
    label(three, "m", {"stable": 1})
    text = (three / "m/config.pbtxt").read_text()
    with pytest.raises(UsageError, match=words):
        label(three, "m", put, remove)
    assert (three / "m/config.pbtxt").read_text() == text


def test_labels_of_somebody_else_are_read_carefully(three: Path) -> None:
    path = three / "m/config.pbtxt"
    path.write_text(path.read_text() + 'parameters { key: "mlconvert.label.a" value { string_value: "x" } }\n')
    with pytest.raises(RepositoryInvalid, match="label 'a' is of version 'x'"):
        versions(three, "m")
    path.unlink()
    with pytest.raises(RepositoryInvalid, match="no configuration to keep labels in"):
        label(three, "m", {"a": 1})


@given(st.dictionaries(st.from_regex(r"[a-z]{1,3}", fullmatch=True), st.integers(1, 5)), st.booleans())
def test_the_policy_serves_what_is_labelled(put: dict[str, int], every: bool) -> None:
    config = cfg.model_config()
    config.parameters["threads"].string_value = "4"
    changed = relabelled(config, "m", range(1, 6), put=put, remove=[], every=every)
    assert labels_of(changed) == put
    assert cfg.live_versions(changed, range(1, 6)) >= set(put.values())
    if put and not every:
        assert cfg.live_versions(changed, range(1, 6)) == set(put.values())
    back = relabelled(changed, "m", range(1, 6), put={}, remove=put, every=False)
    assert dict(back.parameters) == dict(config.parameters)
    assert cfg.live_versions(back, range(1, 6)) == {5}


# --- keep ---


def test_older_versions_go_when_a_new_one_has_come(three: Path, make_model) -> None:
    done = publish(make_model(scale=4.0), three, "m", keep=2)
    assert done.removed == (1, 2)
    assert numbers(three) == [3, 4]
    assert publish(make_model(scale=5.0), three, "m", keep=1).removed == (3,)  # 4 was in service until now
    assert numbers(three) == [4, 5]
    assert publish(make_model(scale=5.0), three, "m", keep=1).unchanged
    assert [path.name for path in three.parent.iterdir() if path.name.startswith(".")] == []
    with pytest.raises(UsageError, match="expected 1 or more"):
        publish(make_model(scale=6.0), three, "m", keep=0)


def test_what_is_served_or_labelled_is_kept(three: Path, make_model) -> None:
    label(three, "m", {"stable": 1})
    assert publish(make_model(scale=4.0), three, "m", keep=1).removed == (2, 3)
    assert numbers(three) == [1, 4]
    label(three, "m", {"stable": 4}, every=True)
    assert publish(make_model(scale=5.0), three, "m", keep=1).removed == ()


def test_of_what_was_rolled_back_the_newest_are_kept(three: Path, make_model) -> None:
    for scale in (4.0, 5.0, 6.0):
        rollback(three, "m")
        publish(make_model(scale=scale), three, "m")
    aside = three.parent / ".mlconvert-models/rolled-back/m"
    assert sorted(path.name[0] for path in aside.iterdir()) == ["3", "4", "5"]
    rollback(three, "m")
    done = publish(make_model(scale=7.0), three, "m", keep=2)
    assert sorted(path.name[0] for path in aside.iterdir()) == ["5", "6"]
    assert done.version == 7  # no number is given twice


@given(st.sets(st.integers(1, 30)), st.integers(1, 6), st.sets(st.integers(1, 30)))
def test_which_versions_may_go(there: set[int], keep: int, needed: set[int]) -> None:
    folders = [VersionFolder(number, Path(str(number)), plain=True) for number in sorted(there)]
    gone = {folder.number for folder in superfluous(folders, keep, needed)}
    assert gone == set(sorted(there)[: max(len(there) - keep, 0)]) - needed
    aside = {folder.number for folder in oldest_aside(folders, keep)}
    assert max(there, default=0) not in aside


# --- at once, and by command ---


def test_one_at_a_time(three: Path, make_model) -> None:
    """A publisher, a rollback and labels wait for each other."""
    with staging.exclusive(three, "m", wait_seconds=0):
        for change in (
            lambda: publish(make_model(scale=4.0), three, "m", keep=1, wait_seconds=0.1),
            lambda: rollback(three, "m", wait_seconds=0.1),
            lambda: label(three, "m", {"a": 1}, wait_seconds=0.1),
        ):
            with pytest.raises(MlconvertError, match="another publisher") as caught:
                change()
            assert caught.value.exit_code == 9
    failures: list[BaseException] = []

    def work(change) -> None:
        try:
            change()
        except BaseException as error:  # told by the main thread
            failures.append(error)

    models = [make_model(f"{number}.onnx", scale=10.0 + number) for number in range(6)]
    threads = [threading.Thread(target=work, args=(lambda m=m: publish(m, three, "m", keep=3),)) for m in models]
    threads += [threading.Thread(target=work, args=(lambda: label(three, "m", {}, every=True),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert policy(three) == "all"
    assert max(numbers(three)) == 9


def test_by_command(three: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run(["labels", str(three), "m", *words])
        return code, *capsys.readouterr()

    assert said() == (0, "m has no labels\nin service: 3\nrequests that name no version go to 3\n", "")
    code, out, err = said("stable=1", "canary=2")
    assert (code, out) == (
        0, "canary = 2\nstable = 1\nin service: 1, 2\nrequests that name no version go to 2\n",
    )  # fmt: skip
    assert err.startswith("warning: version 3 was in service before")
    assert said("--remove", "stable", "--remove", "canary")[0] == 0
    for words, expected in (("stable", "expected LABEL=VERSION"), ("a=0", "expected LABEL=VERSION"), ("a=٣", "LABEL=")):
        code, _, err = said(words)
        assert code == 2
        assert expected in err
    assert said("a=1", "a=2")[0] == 2
    assert said("--no-verify")[0] == 2
    assert run(["labels", str(three / "m"), "m"]) == 8
    assert run(["labels", str(three), "x"]) == 2
    assert run(["labels", str(three), "a/b"]) == 8


@pytest.mark.parametrize("words", [["labels", "a=1"], ["rollback"]])
def test_a_read_only_disk(
    three: Path, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(path: object, *args: object, **kwargs: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    before = (three / "m/config.pbtxt").read_text(), numbers(three)
    for call in ("os.mkdir", {"labels": "os.replace", "rollback": "os.rename"}[words[0]]):
        with monkeypatch.context() as patch:
            patch.setattr(call, fail)
            capsys.readouterr()
            assert run([words[0], str(three), "m", *words[1:]]) == 8
        err = capsys.readouterr().err
        assert "Read-only file system" in err
        assert "must be writable" in err
        assert ((three / "m/config.pbtxt").read_text(), numbers(three)) == before
