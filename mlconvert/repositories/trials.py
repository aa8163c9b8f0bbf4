"""A change of a repository that a running server has to accept, or it is taken back.

What layouts and servers agree on, so that neither knows the other: `Change` is what the server is to make of the
model's folder, `Server` is what `mlconvert.operations.live` makes of a URL. All of it happens under the model's lock.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mlconvert.errors import MlconvertError, RepositoryInvalid

READY_SECONDS = 15.0  # that the server may take to unload what it does not serve any more


@dataclass(frozen=True)
class Change:
    """`there` are the versions in the folder before the change, `served` those that the server has to serve after it,
    `checked` the ones among them whose answers are compared with the rows of their records, which `record_of` gives.
    """

    name: str
    there: frozenset[int]
    served: frozenset[int]
    checked: tuple[int, ...]
    record_of: Callable[[int], Mapping[str, Any] | None]
    stand_in: Callable[[int, int], contextlib.AbstractContextManager[None]] | None = None
    back: frozenset[int] | None = None  # what the folder asks to be served once the change is undone, where it is known


class Server(Protocol):
    @property
    def before(self) -> frozenset[int]:
        """The versions of the model that were in service when `look` was called."""

    @property
    def loaded(self) -> bool:
        """Whether the server has loaded the model since: then what it loaded may have answered somebody."""

    def look(self, change: Change) -> None:
        """Raise, before anything is changed, where the server could not take the change."""

    def take(self, change: Change) -> None:
        """Have the server load the model; wait until it serves `served`, and compare the answers of `checked`.

        Raises RepositoryInvalid with the server's reason, ParityFailed.
        """

    def give_back(self, change: Change) -> str:
        """After the change was taken back: have the server serve what it served before; a sentence that says so.

        Raises RepositoryInvalid where that cannot be done, ParityFailed where it is not what it was.
        """

    def load(self, name: str, versions: Collection[int]) -> None:
        """Have the server load the model, and wait until these versions are ready."""

    def failed(self, name: str) -> frozenset[int]:
        """The versions that the server could not load, and remembers."""

    def is_ready(self, seconds: float) -> bool:
        """Whether the server is ready, or becomes so in that time."""

    def in_use(self, name: str) -> frozenset[int]:
        """The versions of the model that the server still needs: in service, being loaded or being unloaded."""


def try_out(server: Server, change: Change, undo: Callable[[], str]) -> None:
    """Have the server take a change that is on the disk already; when it does not, whatever the reason, undo it.

    `undo` takes the change back on the disk and gives a sentence that says how. The error is the server's own, with
    what became of the change behind it.
    """
    try:
        server.take(change)
    except BaseException as error:  # Ctrl-C too: a version that nobody has checked does not stay
        said = _taken_back(server, change, undo, error)
        if not isinstance(error, MlconvertError):
            raise
        raise type(error)(f"{error.message}. {said}", where=error.where, hint=error.hint) from error


def _taken_back(server: Server, change: Change, undo: Callable[[], str], cause: BaseException) -> str:
    first = str(cause) or type(cause).__name__
    try:
        done = undo()
    except (MlconvertError, OSError) as error:
        raise RepositoryInvalid(
            f"{first}. It could not be taken back: {error}",
            hint=f"mlconvert versions REPOSITORY {change.name}, then rollback",
        ) from cause
    try:
        return f"{done} {server.give_back(change)}{_settled(server, change)}"
    except MlconvertError as error:
        what = f"{first}. {done} But the server does not serve as it did before: {error.message}"
        raise RepositoryInvalid(what, where=error.where, hint=error.hint) from cause


def _settled(server: Server, change: Change) -> str:
    """Make a server ready again that remembers a version which it could not load; a sentence where that fails.

    Triton is not ready as a whole, to those who ask it as a probe does, for as long as it remembers one, and it forgets
    a version only when that is loaded and unloaded. So a copy of the version in service takes its place for a moment.
    """
    if server.before and change.back in (None, server.before):
        for number in sorted(server.failed(change.name) - server.before):
            with contextlib.suppress(MlconvertError, OSError):
                _load_stand_in(server, change, number)
    if server.is_ready(READY_SECONDS):
        return ""
    return " As a whole it says that it is not ready, because of a version that it could not load: restart it."


def _load_stand_in(server: Server, change: Change, number: int) -> None:
    if change.stand_in is None:
        return
    try:
        with change.stand_in(number, max(server.before)):
            server.load(change.name, [number])
    finally:
        server.load(change.name, server.before)


def stand_in(model_folder: Path, work: Path) -> Callable[[int, int], contextlib.AbstractContextManager[None]]:
    """The `stand_in` of a model in a folder; `work` is its staging folder."""

    @contextlib.contextmanager
    def placed(number: int, like: int) -> Iterator[None]:
        place, staged = model_folder / str(number), work / f"stand-in-{number}"
        shutil.copytree(model_folder / str(like), staged, copy_function=os.link)
        if place.exists():
            raise FileExistsError(place)
        staged.rename(place)
        try:
            yield
        finally:
            place.rename(work / f"stood-in-{number}")

    return placed
