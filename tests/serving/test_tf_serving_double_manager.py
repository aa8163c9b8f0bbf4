"""Which versions the double loads, and in what order, without TensorFlow: bundles are names of folders here."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlconvert.repositories.policies import VersionPolicy
from mlconvert.repositories.tf_serving.models_config import Entry, parsed, with_entry
from mlconvert.serving.tf_serving.double import configuration
from mlconvert.serving.tf_serving.double.configuration import Model
from mlconvert.serving.tf_serving.double.flags import parse
from mlconvert.serving.tf_serving.double.manager import Manager
from mlconvert.serving.tf_serving.double.status import Refused, invalid
from mlconvert.serving.tf_serving.messages import message


class Bundle:
    def __init__(self, path: str) -> None:
        self.path, self.closed = path, False

    def close(self) -> None:
        self.closed = True


class Loads:
    """What was loaded, in order; folders in `broken` do not load, those in `held` wait."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.broken: set[str] = set()
        self.held: dict[str, threading.Event] = {}

    def __call__(self, path: str) -> Bundle:
        name = "/".join(Path(path).parts[-2:])
        self.seen.append(name)
        if name in self.held:
            self.held[name].wait(20)
        if name in self.broken:
            raise invalid("broken")
        return Bundle(path)


@pytest.fixture
def loads() -> Loads:
    return Loads()


@pytest.fixture
def manage(loads, tmp_path) -> Iterator:
    """A function that makes a manager with these flags; the repository is the test's own folder, polled by hand."""
    made = []

    def make(*flags: str) -> Manager:
        words = ["--file_system_poll_wait_seconds=1", "--max_num_load_retries=0", *flags]
        made.append(Manager(parse(words), loads))
        return made[-1]

    yield make
    for manager in made:
        manager.stop()
    for event in loads.held.values():
        event.set()


def config(root: Path, **models: Entry):
    text = "model_config_list { }"
    for name, entry in models.items():
        text = with_entry(text, Entry(name, str(root / name), entry.policy, entry.labels), where="")
    return parsed(text, where="")


M = Entry("m", "")


def put(root: Path, *names: str) -> None:
    for name in names:
        (root / name).mkdir(parents=True)


def states(manager: Manager, model: str = "m") -> dict[int, str]:
    return {one.number: one.state for one in manager.states.of(model)}


def until(holds, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@given(
    numbers=st.sets(st.integers(1, 9), max_size=6),
    policy=st.one_of(
        st.just(VersionPolicy("all")),
        st.builds(VersionPolicy, st.just("latest"), st.integers(1, 4)),
        st.builds(
            lambda chosen: VersionPolicy("specific", versions=tuple(sorted(chosen))),
            st.sets(st.integers(1, 9), min_size=1),
        ),
    ),
)
def test_policies_are_those_of_the_repositories(tmp_path_factory, numbers, policy):
    folder = tmp_path_factory.mktemp("policy")
    put(folder, *map(str, numbers), "tmp", "2.tmp", ".3")
    row = config(folder, m=Entry("m", "", policy)).model_config_list.config[0].model_version_policy
    assert set(configuration.aspired(Model("m", str(folder), row))) == policy.live(numbers)


def test_the_old_version_goes_when_the_new_one_is_there_and_its_requests_are_answered(manage, loads, tmp_path):
    manager = manage()
    put(tmp_path, "m/1")
    manager.configure(config(tmp_path, m=M))
    loads.held["m/2"] = threading.Event()
    put(tmp_path, "m/2")
    until(lambda: states(manager) == {1: "AVAILABLE", 2: "LOADING"})
    with manager.states.asked(message("ModelSpec")(name="m")) as version:
        assert version.number == 1
        loads.held["m/2"].set()
        until(lambda: states(manager) == {1: "UNLOADING", 2: "AVAILABLE"})
        assert not version.bundle.closed  # it is in use
    until(lambda: states(manager) == {1: "END", 2: "AVAILABLE"})
    with manager.states.asked(message("ModelSpec")(name="m")) as version:
        assert version.number == 2


def test_what_failed_is_tried_again_when_it_was_gone_for_a_while(manage, loads, tmp_path):
    manager = manage()
    put(tmp_path, "m/1")
    manager.configure(config(tmp_path, m=M))
    loads.broken.add("m/2")
    put(tmp_path, "m/2")
    until(lambda: states(manager).get(2) == "END")
    manager.poll_once()
    manager.poll_once()
    time.sleep(0.2)
    assert loads.seen.count("m/2") == 1
    (tmp_path / "m/2").rmdir()
    manager.poll_once()
    loads.broken.clear()
    put(tmp_path, "m/2")
    manager.poll_once()
    until(lambda: states(manager) == {1: "END", 2: "AVAILABLE"})


def test_a_version_that_does_not_load_holds_up_the_others(manage, loads, tmp_path):
    """Without load threads the thread that loads sits through the retries, as the real server's does."""
    retries = ("--max_num_load_retries=1", "--load_retry_interval_micros=2000000")
    put(tmp_path, "m/1", "n/1")
    loads.broken.add("m/2")
    for flags, waits in ((retries, True), ((*retries, "--num_load_threads=2"), False)):
        manager = manage(*flags)
        manager.configure(config(tmp_path, m=M, n=M))
        put(tmp_path, "m/2")
        manager.poll_once()
        until(lambda manager=manager: states(manager).get(2) == "LOADING")
        put(tmp_path, "n/2")
        manager.poll_once()
        time.sleep(0.5)
        assert (states(manager, "n").get(2) != "AVAILABLE") is waits
        manager.stop()
        for name in ("m/2", "n/2"):
            (tmp_path / name).rmdir()


def test_a_folder_that_is_missing_holds_up_the_others(manage, tmp_path):
    manager = manage()
    put(tmp_path, "m/1", "n/1")
    manager.configure(config(tmp_path, m=M, n=M))
    (tmp_path / "n").rename(tmp_path / "gone")
    put(tmp_path, "m/2")
    manager.poll_once()
    time.sleep(0.3)
    assert states(manager) == {1: "AVAILABLE"}
    (tmp_path / "gone").rename(tmp_path / "n")
    manager.poll_once()
    until(lambda: states(manager) == {1: "END", 2: "AVAILABLE"})


def test_an_empty_folder_unloads_all(manage, tmp_path):
    manager = manage()
    put(tmp_path, "m/1")
    manager.configure(config(tmp_path, m=M))
    (tmp_path / "m/1").rmdir()
    manager.poll_once()
    until(lambda: states(manager) == {1: "END"})
    with pytest.raises(Refused, match=r"Servable not found for request: Latest\(m\)"):
        manager.states.asked(message("ModelSpec")(name="m")).__enter__()


def test_a_new_model_that_does_not_load_is_the_answer_to_a_reload(manage, loads, tmp_path):
    manager = manage()
    put(tmp_path, "m/1")
    manager.configure(config(tmp_path, m=M))
    loads.broken.add("n/1")
    put(tmp_path, "n/1")
    told = r"1 model\(s\) did not become available: {{{name: n version: 1} due to error: INVALID_ARGUMENT: broken}, }"
    with pytest.raises(Refused, match=told):
        manager.configure(config(tmp_path, m=M, n=M))
    assert states(manager) == {1: "AVAILABLE"}
    manager.configure(config(tmp_path))  # a model that is left out goes
    until(lambda: states(manager) == {1: "END"})


@pytest.mark.parametrize("allowed", [True, False])
def test_labels(manage, tmp_path, allowed):
    flags = ["--allow_version_labels_for_unavailable_models"] if allowed else []
    manager = manage(*flags)
    put(tmp_path, "m/1")
    labelled = config(tmp_path, m=Entry("m", "", VersionPolicy("all"), {"stable": 1}))
    if not allowed:  # at the start nothing is available
        with pytest.raises(Refused, match="Request to assign label to version 1 of model m, which is not currently"):
            manager.configure(labelled)
        manager.configure(config(tmp_path, m=Entry("m", "", VersionPolicy("all"))))
    manager.configure(labelled)
    assert manager.states.labelled("m", "stable") == 1
    moved = config(tmp_path, m=Entry("m", "", VersionPolicy("all"), {"stable": 2}))
    with pytest.raises(Refused, match="label to version 2"):  # whatever the flag says
        manager.configure(moved)
    assert manager.states.labelled("m", "stable") == 1
    put(tmp_path, "m/2")
    manager.poll_once()
    until(lambda: states(manager).get(2) == "AVAILABLE")
    manager.configure(moved)
    assert manager.states.labelled("m", "stable") == 2
