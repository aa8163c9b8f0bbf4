"""What lies where in a TensorFlow Serving repository, what a folder must be to be one, and what `--set` may say.

<repository>/models.config                       all models: where they lie, versions in service, labels
<repository>/monitoring.config, batching.config  settings of the server, on demand
<repository>/<name>/<version>/saved_model.pb     with variables/, assets/, assets.extra/ and the record beside it
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from mlconvert.converter import Option, options_of
from mlconvert.errors import RepositoryInvalid, UsageError, suggest
from mlconvert.repositories.names import check_name
from mlconvert.repositories.places import check_place
from mlconvert.repositories.policies import LATEST, VersionPolicy, parse_policy
from mlconvert.repositories.tf_serving import models_config, server_files
from mlconvert.repositories.tf_serving.models_config import CONFIG, Entry
from mlconvert.repositories.tf_serving.saved_models import MAIN
from mlconvert.repositories.tf_serving.warmup import warmup
from mlconvert.repositories.versions import plain_versions

MOUNT = "/models"  # where the server's image looks for models


def entry(
    name: str,
    before: Entry | None,
    mount: str,
    *,
    base_path: Annotated[
        str | None, f"where the server sees the repository (default: as other entries have it, else {MOUNT})"
    ] = None,
    version_policy: Annotated[
        str | None,
        "which versions are served: latest, latest:2 (the two newest), all, or numbers: 3,5 (default: latest, or what "
        "the entry has)",
    ] = None,
) -> Entry:
    """The entry of a model in models.config: what is not asked for stays as it is there."""
    if base_path is not None and not base_path.startswith("/") and "://" not in base_path:
        raise UsageError(
            f"base_path={base_path!r}: the server takes an absolute path or a URL", hint=f"--set base_path={MOUNT}"
        )
    if before is None:
        policy = LATEST if version_policy is None else parse_policy(version_policy)
        return Entry(name, _below(base_path or mount, name), policy)
    path = before.base_path if base_path is None else _below(base_path, name)
    policy = before.policy if version_policy is None else parse_policy(version_policy)
    return Entry(name, path, policy, before.labels)


def _below(folder: str, name: str) -> str:
    return f"{folder.rstrip('/')}/{name}"


def mount_of(entries: dict[str, Entry]) -> str:
    """Where the server sees the repository, as far as its entries agree on that."""
    found = {
        one.base_path.removesuffix(f"/{name}")
        for name, one in entries.items()
        if one.base_path.endswith(f"/{name}") and one.base_path != f"/{name}"
    }
    return found.pop() if len(found) == 1 else MOUNT


SECTIONS = (entry, warmup, server_files.monitoring, server_files.batching)


def options(format_name: str) -> dict[str, Option]:
    """What `--set` may say for artifacts of that format."""
    if format_name != "saved-model":
        raise UsageError(
            f"'{format_name}' cannot be published to TensorFlow Serving",
            hint="mlconvert convert MODEL --to saved-model",
        )
    return {name: option for section in SECTIONS for name, option in options_of(section).items()}


def check_model_name(name: str) -> None:
    """Raise RepositoryInvalid unless the name can be a folder beside models.config."""
    check_name(name)
    if name in (CONFIG, *server_files.MESSAGES):
        raise RepositoryInvalid(f"'{name}' is a file of the server: no model can have that name")


def check_repository(repository: Path) -> None:
    """Raise RepositoryInvalid unless the path is, or can become, a repository of TensorFlow Serving."""
    check_place(repository, is_model=_is_model, model_names=_signs)


def _is_model(folder: Path) -> bool:
    return any((version.path / MAIN).is_file() for version in plain_versions(folder))


def _signs(repository: Path) -> list[str]:
    return [CONFIG] if (repository / CONFIG).is_file() else model_names(repository)


def model_names(repository: Path) -> list[str]:
    """The folders of a repository that are models: with a version, or with an entry in models.config."""
    named = entries_in(repository)
    return sorted(
        path.name
        for path in repository.iterdir()
        if path.is_dir() and not path.name.startswith(".") and (path.name in named or plain_versions(path))
    )


def entries_in(repository: Path) -> dict[str, Entry]:
    """The entries of models.config; none where there is no such file."""
    return models_config.entries(models_config.read(repository), where=str(repository / CONFIG))


def policy_in(repository: Path, name: str) -> VersionPolicy:
    """The policy of a model. Without models.config a server is told of one model, and serves its newest version."""
    if not (repository / CONFIG).is_file():
        return LATEST
    found = entries_in(repository).get(name)
    return found.policy if found else VersionPolicy("specific")  # of none: it is not served


def existing_model(repository: Path, name: str) -> tuple[Path, Path]:
    """The repository and the model's folder, both absolute. Raises RepositoryInvalid, UsageError (no such model)."""
    check_model_name(name)
    repository = repository.resolve()
    if not repository.is_dir():
        raise RepositoryInvalid("there is no such repository", where=str(repository))
    check_repository(repository)
    known = model_names(repository)
    if name not in known:
        listed = ", ".join(known[:20]) or "none"
        raise UsageError(f"no model '{name}' in {repository}.{suggest(name, known)}", hint=f"models there: {listed}")
    return repository, repository / name
