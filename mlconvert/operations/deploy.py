"""Writing deployment files for a repository that has been looked through first."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlconvert import packages
from mlconvert.converter import check_options, options_of
from mlconvert.deployment import Described, target_named
from mlconvert.deployment.folder import write_files
from mlconvert.errors import RepositoryInvalid, UsageError
from mlconvert.repositories import Repository, repository_in, repository_named

SHOWN = 10  # findings in an error


@dataclass(frozen=True)
class Deployed:
    deployment: Described
    folder: Path
    files: tuple[Path, ...]
    warnings: tuple[str, ...]


def deploy(
    repository: Path,
    *,
    to: str,
    folder: Path | None = None,
    name: str | None = None,
    release: str | None = None,
    image: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Deployed:
    """Write the files that start a server for the repository, whose files tell which server that is; what was done.

    Raises RepositoryInvalid when the repository has errors, UsageError (an unknown target, option or release; a file
    in the way that is not ours; a model that only loads in a release which nobody named; what no container of the
    deployment could see), MissingPackage, OutOfResources.
    """
    target_named(to, "triton")  # all servers have the same: a wrong one is said first
    if not repository.is_dir():
        raise UsageError(f"{repository} is not a folder", where=str(repository))
    row = repository_in(repository) or repository_named("triton")  # whose models need no configuration
    packages.require(row.packages, f"reading a repository of {row.title}")
    target = target_named(to, row.name)
    function = target.load().files
    checked = check_options(to, options_of(function), options or {})
    deployment = target.load_server().looked_at(repository, name=name, release=release, image=image)
    warnings = _looked_through(repository, row, deployment.lint_release)
    folder = folder if folder is not None else Path(f"{deployment.name}-{to}")
    files = function(deployment, folder, **checked)
    return Deployed(deployment, folder, write_files(folder, files, target.load().FILES), warnings)


def _looked_through(repository: Path, row: Repository, release: str | None) -> tuple[str, ...]:
    """What lint finds that is no error, as sentences. Raises RepositoryInvalid for errors."""
    findings = importlib.import_module(f"{row.module}.lint").lint(repository, release=release)
    errors = [finding for finding in findings if finding.level == "error"]
    if errors:
        listed = [f"{finding.file}: {finding.message}" for finding in errors[:SHOWN]]
        more = [f"… and {len(errors) - SHOWN} more"] if len(errors) > SHOWN else []
        count = "an error" if len(errors) == 1 else f"{len(errors)} errors"
        server = row.title if release is None else f"Triton {release}"
        option = "" if release is None else f" --release {release}"
        raise RepositoryInvalid(
            f"the repository has {count}, so {server} would not serve all of it",
            where="\n".join([*listed, *more]),
            hint=f"mlconvert lint {repository}{option}",
        )
    return tuple(f"{finding.file}: {finding.message}" for finding in findings)
