"""Writing deployment files for a repository that has been looked through first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlconvert import packages
from mlconvert.converter import check_options, options_of
from mlconvert.deployment import target_named
from mlconvert.deployment.description import Deployment, described, tied_to_a_release
from mlconvert.deployment.folder import write_files
from mlconvert.errors import RepositoryInvalid, UsageError
from mlconvert.repositories import repository_in

SHOWN = 10  # findings in an error


@dataclass(frozen=True)
class Deployed:
    deployment: Deployment
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
    """Write the files that start a server for the repository; which ones.

    Raises RepositoryInvalid when the repository has errors, UsageError (an unknown target, option or release; a
    repository of another server than Triton; a file in the way that is not ours; a model that only loads in a release
    which nobody named), MissingPackage, OutOfResources.
    """
    target = target_named(to)
    packages.require((packages.ONNX, packages.TRITONCLIENT), "reading a Triton repository")
    if not repository.is_dir():
        raise UsageError(f"{repository} is not a folder", where=str(repository))
    row = repository_in(repository)
    if row is not None and row.name != "triton":
        raise UsageError(
            f"deploy writes files for Triton, and this is a repository of {row.title}",
            where=str(repository),
            hint="docker run --rm -p 8500:8500 -p 8501:8501 -v FOLDER:/models tensorflow/serving "
            "--model_config_file=/models/models.config",
        )
    function = target.load().files
    checked = check_options(to, options_of(function), options or {})
    deployment = described(repository, name=name, release=release, image=image)
    tied = tied_to_a_release(deployment.models)
    if tied and release is None and image is None:
        raise UsageError(
            f"{', '.join(tied)}: such a model only loads in the release that it was built for",
            where=str(repository),
            hint="say which one: --release 26.06",
        )
    warnings = _looked_through(repository, deployment.release)
    folder = folder if folder is not None else Path(f"{deployment.name}-{to}")
    files = function(deployment, folder, **checked)
    return Deployed(deployment, folder, write_files(folder, files, target.load().FILES), warnings)


def _looked_through(repository: Path, release: str) -> tuple[str, ...]:
    """What lint finds that is no error, as sentences. Raises RepositoryInvalid for errors."""
    from mlconvert.repositories.triton.lint import lint

    findings = lint(repository, release=release)
    errors = [finding for finding in findings if finding.level == "error"]
    if errors:
        listed = [f"{finding.file}: {finding.message}" for finding in errors[:SHOWN]]
        more = [f"… and {len(errors) - SHOWN} more"] if len(errors) > SHOWN else []
        count = "an error" if len(errors) == 1 else f"{len(errors)} errors"
        raise RepositoryInvalid(
            f"the repository has {count}, so Triton {release} would not serve all of it",
            where="\n".join([*listed, *more]),
            hint=f"mlconvert lint {repository} --release {release}",
        )
    return tuple(f"{finding.file}: {finding.message}" for finding in findings)
