"""What lies where in a Triton model repository, and what a folder must be to be one.

<repository>/<name>/config.pbtxt
<repository>/<name>/configs/<key>.pbtxt        (for servers that are started with --model-config-name=<key>)
<repository>/<name>/warmup/…                   (and other files that config.pbtxt names, each with a digest in its name)
<repository>/<name>/<version>/model.onnx       (or a folder model.onnx/ with the graph and its data files)
<repository>/<name>/<version>/record.json      (beside the graph; servers ignore it)
"""

from __future__ import annotations

from pathlib import Path

from mlconvert.converter import Option
from mlconvert.errors import RepositoryInvalid, UsageError, suggest
from mlconvert.repositories.names import check_name
from mlconvert.repositories.places import check_place
from mlconvert.repositories.triton import config as cfg
from mlconvert.repositories.triton.backends import backend_for
from mlconvert.repositories.triton.description import section_options
from mlconvert.repositories.versions import model_files, plain_versions, version_folders

CUSTOM = "configs"  # the folder of the configurations that a server is told to take


def options(format_name: str) -> dict[str, Option]:
    """What `--set` may say for artifacts of that format."""
    return section_options(backend_for(format_name).load().SECTIONS)


def check_repository(repository: Path) -> None:
    """Raise RepositoryInvalid unless the path is, or can become, a Triton model repository."""
    check_place(repository, is_model=lambda folder: (folder / cfg.CONFIG).exists(), model_names=_models)


def _models(repository: Path) -> list[str]:
    if any(folder.plain and model_files(folder.path) for folder in version_folders(repository)):
        what = "this looks like the folder of a model: it holds version folders"
        raise RepositoryInvalid(what, where=str(repository), hint=f"the repository is {repository.parent}")
    return model_names(repository)


def model_names(repository: Path) -> list[str]:
    """The folders of a repository that are models: with a configuration, or with a version."""
    return sorted(
        path.name
        for path in repository.iterdir()
        if path.is_dir() and not path.name.startswith(".") and ((path / cfg.CONFIG).is_file() or plain_versions(path))
    )


def custom_configs(model_folder: Path) -> list[str]:
    """The configurations that a server takes instead of config.pbtxt when it is started with their name."""
    found = (path for path in (model_folder / CUSTOM).glob("*.pbtxt") if path.is_file())
    return sorted(path.relative_to(model_folder).as_posix() for path in found)


def existing_model(repository: Path, name: str) -> tuple[Path, Path]:
    """The repository and the model's folder, both absolute. Raises RepositoryInvalid, UsageError (no such model)."""
    check_name(name)
    repository = repository.resolve()
    if not repository.is_dir():
        raise RepositoryInvalid("there is no such repository", where=str(repository))
    check_repository(repository)
    known = model_names(repository)
    if name not in known:
        listed = ", ".join(known[:20]) or "none"
        raise UsageError(f"no model '{name}' in {repository}.{suggest(name, known)}", hint=f"models there: {listed}")
    return repository, repository / name
