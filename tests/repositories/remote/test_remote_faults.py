"""Publishers that die at every request, come at the same time, or were dead all along.

Whatever happens, a server sees versions that were published, whole, and the next publisher can go on.
"""

from __future__ import annotations

import contextlib
import threading

import obstore
import pytest

from mlconvert.errors import MlconvertError, OutOfResources, RepositoryInvalid
from mlconvert.repositories.triton import config as cfg
from mlconvert.repositories.triton import publish as publish_locally
from mlconvert.repositories.triton.remote import claims, label, publish, rollback, versions

from .conftest import Killed


def steps_of(action, fate) -> list[str]:
    fate.lives_on()
    action()
    return list(fate.steps)


SCENARIOS = ["new model", "new version", "with data and a new configuration", "copied there"]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_dead_before_every_request(make_model, recorded, repository, bucket, served, fate, tmp_path, scenario):
    """Before a request is after the one before it, as far as the store goes."""
    data = scenario.startswith("with data")
    first, second = recorded("first.onnx", data=data), recorded("second.onnx", scale=3.0, data=data)
    options = {"max_batch_size": 8} if data else {}

    def start(name: str) -> None:
        if scenario == "copied there":
            publish_locally(first, tmp_path / name, name)
            for path in (tmp_path / name).rglob("*"):
                if path.is_file():
                    obstore.put(bucket.store, f"team/models/{path.relative_to(tmp_path / name)}", path)
        elif scenario != "new model":
            publish(first, repository, name)

    def files(name: str) -> dict[int, set[bytes]] | None:
        found = served(name)
        return found if found is None else {k: {v for p, v in f.items() if "record" not in p} for k, f in found.items()}

    start("whole")
    old = files("whole")
    steps = steps_of(lambda: publish(second, repository, "whole", options=options), fate)
    new = files("whole")
    assert new is not None
    assert new != old
    assert len(steps) >= 5
    seen = []
    for number in range(len(steps)):
        name = f"m{number}"
        fate.lives_on()
        start(name)
        fate.lives_on()
        fate.die_at = number
        with pytest.raises(Killed):
            publish(second, repository, name, options=options)
        fate.lives_on()
        seen.append(files(name))
        assert seen[-1] in (old, new), steps[number]
        if seen[-1] is not None:
            rows = versions(repository, name)
            assert {row.number for row in rows if row.live} == set(seen[-1])
            assert all(row.files for row in rows)
        if scenario in ("new model", "with data and a new configuration"):
            continue  # what comes after is the same in all scenarios
        # The next publisher goes on, whatever lies there, and the way back leads to what was published.
        done = publish(make_model("third.onnx", scale=5.0, data=data), repository, name)
        assert list(served(name)) == [done.version]
        if seen[-1] is not None:
            assert rollback(repository, name).version == max(seen[-1])
            assert files(name) == seen[-1]
    assert seen[0] == old
    assert seen[-1] == new, "the last request is not the one that makes it visible: the claim goes after it"
    assert seen == sorted(seen, key=lambda state: state == new), "from the old state to the new one, and never back"


def test_what_the_dead_left_is_removed_after_a_while(make_model, repository, content, fate, monkeypatch):
    publish(make_model("1.onnx", scale=1.0), repository, "m")
    fate.lives_on()
    fate.die_at, fate.after = 1, True
    with pytest.raises(Killed):
        publish(make_model("2.onnx", scale=2.0), repository, "m")
    fate.lives_on()
    assert "team/.mlconvert-models/m/2.json" in content()
    publish(make_model("3.onnx", scale=3.0), repository, "m")
    assert any(key.startswith("team/models/m/2/") for key in content()), "it may be alive"
    monkeypatch.setattr(claims, "LEASE_SECONDS", 0.0)
    publish(make_model("4.onnx", scale=4.0), repository, "m")
    assert not any(key.startswith(("team/models/m/2/", "team/.mlconvert-")) for key in content())
    assert [row.number for row in versions(repository, "m")] == [1, 3, 4]


def test_the_dead_of_after_the_commit_are_finished(make_model, repository, content, fate, monkeypatch, served):
    steps = steps_of(lambda: publish(make_model("1.onnx", scale=1.0), repository, "m"), fate)
    fate.die_at, fate.after, fate.steps = len(steps) - 1, False, []
    with pytest.raises(Killed):
        publish(make_model("2.onnx", scale=2.0), repository, "m")
    fate.lives_on()
    assert list(served("m")) == [2]
    monkeypatch.setattr(claims, "LEASE_SECONDS", 0.0)
    assert rollback(repository, "m").version == 1
    publish(make_model("3.onnx", scale=3.0), repository, "m")
    assert [row.number for row in versions(repository, "m")] == [1, 2, 3], "it was published: it is never removed"


def test_one_that_lost_its_claim_stops(make_model, repository, monkeypatch, content, served):
    """A publisher that slept for so long that another one cleared up behind it."""
    publish(make_model("1.onnx", scale=1.0), repository, "m")
    from mlconvert.repositories.triton.remote import publishing as remote

    send = remote._Work._send
    other = make_model("3.onnx", scale=3.0)

    def slow(self, *args) -> None:
        send(self, *args)
        monkeypatch.setattr(remote._Work, "_send", send)
        monkeypatch.setattr(claims, "LEASE_SECONDS", 0.0)
        assert publish(other, repository, "m").version == 3

    monkeypatch.setattr(remote._Work, "_send", slow)
    with pytest.raises(OutOfResources, match="another publisher took its number 2 back"):
        publish(make_model("2.onnx", scale=2.0), repository, "m")
    assert list(served("m")) == [3]
    assert not any(key.startswith("team/models/m/2/") for key in content())


def test_dead_while_removing(make_model, repository, fate, served, content, monkeypatch):
    """`keep`: a version that is half gone is no version to go back to."""
    for scale in (1.0, 2.0, 3.0):
        publish(make_model(f"{scale}.onnx", scale=scale, data=True), repository, "m")
    whole = steps_of(lambda: publish(make_model("4.onnx", scale=4.0), repository, "m"), fate)
    for extra in range(3):
        fate.lives_on()
        fate.die_at, fate.after = len(whole) + extra, True
        with contextlib.suppress(Killed):
            publish(make_model(f"{extra}-5.onnx", scale=5.0 + extra), repository, "m", keep=2)
        fate.lives_on()
        newest = max(served("m"))
        for row in versions(repository, "m"):
            assert len(row.files) == (2 if row.number <= 3 else 1)
        assert newest == 5 + extra
    monkeypatch.setattr(claims, "LEASE_SECONDS", 0.0)
    publish(make_model("9.onnx", scale=9.0), repository, "m", keep=1)
    assert not any(".mlconvert-" in key for key in content())


def test_publishers_at_the_same_time(make_model, repository, served, content):
    count = 6
    models = [make_model(f"{number}.onnx", scale=float(number + 1)) for number in range(count)]
    done, failed = [], []

    def work(number: int) -> None:
        try:
            done.append(publish(models[number], repository, "m"))
        except MlconvertError as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert sorted(one.version for one in done) == list(range(1, count + 1))
    assert list(served("m")) == [count], "the highest number is in service, in whatever order they came"
    assert [row.number for row in versions(repository, "m")] == list(range(1, count + 1))
    assert not any(".mlconvert-" in key for key in content())
    by_version = {one.version: one for one in done}
    for row in versions(repository, "m"):
        assert row.sha256 == by_version[row.number].sha256, "each number is one publisher's model"


def test_publishers_of_different_models_at_the_same_time(make_model, repository, served):
    first, other = make_model("1.onnx", scale=1.0), make_model("wide.onnx", columns=9)
    outcomes = []

    def work(model) -> None:
        try:
            outcomes.append(publish(model, repository, "m").version)
        except RepositoryInvalid as error:
            outcomes.append(error.message)

    threads = [threading.Thread(target=work, args=(model,)) for model in (first, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([outcome for outcome in outcomes if isinstance(outcome, int)]) == 1, outcomes
    assert len(served("m")) == 1
    assert len(versions(repository, "m")) == 1


@pytest.mark.parametrize("action", ["publish", "rollback", "label"])
def test_a_configuration_that_was_edited_meanwhile_is_not_written_over(
    make_model, repository, bucket, content, monkeypatch, action
):
    publish(make_model("1.onnx", scale=1.0), repository, "m")
    publish(make_model("2.onnx", scale=2.0), repository, "m")
    from mlconvert.repositories.triton.remote import files, history, publishing

    write, key = files.write_config, "team/models/m/config.pbtxt"
    edited = content()[key] + b'parameters { key: "mine" value { string_value: "x" } }\n'

    actions = {
        "publish": lambda: publish(make_model("3.onnx", scale=3.0), repository, "m"),
        "rollback": lambda: rollback(repository, "m"),
        "label": lambda: label(repository, "m", {"stable": 1}),
    }

    def after_an_edit(*args, **kwargs):
        obstore.put(bucket.store, key, edited)
        return write(*args, **kwargs)

    for module in (history, publishing):
        monkeypatch.setattr(module, "write_config", after_an_edit)
    with pytest.raises(RepositoryInvalid, match="changed"):
        actions[action]()
    assert content()[key] == edited
    assert [row.number for row in versions(repository, "m")] == [1, 2]


def test_a_write_whose_answer_is_lost(make_model, repository, bucket, monkeypatch, served):
    """The store has it, and the client that sends it again is told that something is there already."""
    from mlconvert.repositories.remote import Bucket, Changed

    for name in ("create", "replace"):
        real = getattr(Bucket, name)

        def lost(self, *args, real=real):
            real(self, *args)
            raise Changed("the answer to the first try was lost")

        monkeypatch.setattr(Bucket, name, lost)
    claim = claims._claimed(bucket, "m", 1)
    assert claim.number == 1
    from mlconvert.repositories.triton.remote.files import write_config
    from mlconvert.repositories.triton.remote.state import look

    _, after = write_config(look(bucket, "m"), lambda _: _config())
    assert after.config == _config()


def _config():
    config = cfg.model_config()
    config.name, config.backend = "m", "onnxruntime"
    return config
