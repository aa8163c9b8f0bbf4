"""Whether a path is, or can become, a repository: a typing error must not put a model between other files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from mlconvert.errors import RepositoryInvalid
from mlconvert.repositories import staging

MARKER = ".mlconvert-repository"  # makes a folder with other things in it a repository


def check_place(
    repository: Path, *, is_model: Callable[[Path], bool], model_names: Callable[[Path], Sequence[str]]
) -> None:
    """Raise RepositoryInvalid for a file, a folder of a model or inside one, and a folder with other things in it."""
    for folder in (repository, *repository.parents):
        if folder.exists() and not folder.is_dir():
            raise RepositoryInvalid("a repository is a folder, this is a file", where=str(folder))
    for folder in (repository, *list(repository.parents)[:3]):
        if is_model(folder):
            raise RepositoryInvalid(
                f"this is the folder of a model, or inside one: '{folder.name}'",
                where=str(repository),
                hint=f"the repository is {folder.parent}",
            )
    if not repository.is_dir():
        return
    with staging.disk_errors("cannot read the repository", repository):
        names = {path.name for path in repository.iterdir()}
        others = {name for name in names if not name.startswith(".") and name != "lost+found"}
        if others and MARKER not in names and not model_names(repository):
            raise RepositoryInvalid(
                "this folder is not empty and holds no model: it does not look like a model repository",
                where=str(repository),
                hint=f"choose another folder, or say that it is one: touch {repository / MARKER}",
            )
