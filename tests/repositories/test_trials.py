"""A change that a server does not take, for whatever reason, is taken back. The server here is made up."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest

from mlconvert.artifact import file_sha256
from mlconvert.errors import ParityFailed, RepositoryInvalid
from mlconvert.repositories.trials import Change
from mlconvert.repositories.triton import label, publish, rollback, versions


class MadeUp:
    """Raises `first` when it is to take a change, and `second` when it is to go back."""

    def __init__(self, first: BaseException, second: Exception | None = None, *, loaded: bool = False) -> None:
        self.first, self.second, self.loaded = first, second, loaded
        self.before = frozenset[int]()

    def look(self, change: Change) -> None:
        self.before = change.back or frozenset()

    def take(self, change: Change) -> None:
        raise self.first

    def give_back(self, change: Change) -> str:
        if self.second:
            raise self.second
        return "It serves again."

    def load(self, name: str, versions: Collection[int]) -> None:
        raise RepositoryInvalid("it does not load anything any more")

    def failed(self, name: str) -> frozenset[int]:
        return frozenset({9})

    def is_ready(self, seconds: float) -> bool:
        return False

    def in_use(self, name: str) -> frozenset[int]:
        return frozenset()


def content(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): file_sha256(p) for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def two(make_model, tmp_path: Path) -> Path:
    for scale in (1.0, 2.0):
        publish(make_model(scale=scale), tmp_path / "models", "m")
    return tmp_path / "models"


def changes(make_model, repository: Path, server: MadeUp) -> dict:
    return {
        "publish": lambda: publish(
            make_model(scale=3.0), repository, "m", options={"max_batch_size": 8}, keep=1, server=server
        ),
        "rollback": lambda: rollback(repository, "m", server=server),
        "label": lambda: label(repository, "m", {"stable": 1}, server=server),
    }


@pytest.mark.parametrize("action", ["publish", "rollback", "label"])
@pytest.mark.parametrize("loaded", [False, True])
def test_ctrl_c_takes_the_change_back(make_model, two: Path, action: str, loaded: bool) -> None:
    before = content(two)
    with pytest.raises(KeyboardInterrupt):
        changes(make_model, two, MadeUp(KeyboardInterrupt(), loaded=loaded))[action]()
    assert content(two) == before
    assert [(version.number, version.live) for version in versions(two, "m")] == [(1, False), (2, True)]


@pytest.mark.parametrize("action", ["publish", "rollback", "label"])
def test_what_is_said(make_model, two: Path, action: str) -> None:
    before = content(two)
    server = MadeUp(ParityFailed("the answers are wrong", where="triton://x:1", hint="look"))
    with pytest.raises(ParityFailed, match=r"^the answers are wrong\. .* It serves again\. As a whole") as caught:
        changes(make_model, two, server)[action]()
    assert (caught.value.where, caught.value.hint) == ("triton://x:1", "look")
    assert content(two) == before


@pytest.mark.parametrize("action", ["publish", "rollback", "label"])
def test_a_server_that_cannot_go_back(make_model, two: Path, action: str) -> None:
    before = content(two)
    server = MadeUp(ParityFailed("the answers are wrong"), RepositoryInvalid("the server is down"))
    with pytest.raises(RepositoryInvalid, match=r"^the answers are wrong\. .*But the server does not.*is down"):
        changes(make_model, two, server)[action]()
    assert content(two) == before  # the disk is as it was all the same
