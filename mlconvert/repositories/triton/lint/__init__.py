"""Lint: what a server would trip over in a model repository, found without a server.

Every rule is a function that takes one model (`ModelFolder`) and yields findings. Rules that the server's core checks
are in `configuration`, `tensors`, `scheduling`, `warmup` and `ensembles`; what lies on the disk is in `folders` and
`files`; the configuration against the real model, and the model against a release, in `graphs`; what is bound to
hardware in `engines`. A test holds all of them, save these, against a real server, case by case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from mlconvert import packages
from mlconvert.errors import MlconvertError, RepositoryInvalid, UsageError, suggest
from mlconvert.onnx_model.releases import triton_runtime
from mlconvert.repositories import staging
from mlconvert.repositories.findings import Finding, in_order
from mlconvert.repositories.triton import config as cfg
from mlconvert.repositories.triton.layout import check_repository, custom_configs
from mlconvert.repositories.triton.lint import (
    configuration,
    engines,
    ensembles,
    files,
    folders,
    graphs,
    scheduling,
    tensors,
    warmup,
)
from mlconvert.repositories.triton.lint.model import ModelFolder, model_folder

__all__ = ["RULES", "lint", "model_folders"]

RULES: tuple[Callable[[ModelFolder], Iterator[Finding]], ...] = (
    *configuration.RULES,
    *tensors.RULES,
    *scheduling.RULES,
    *warmup.RULES,
    *ensembles.RULES,
    *folders.RULES,
    *files.RULES,
    *graphs.RULES,
    *engines.RULES,
)


def lint(repository: Path, *, release: str | None = None, names: Sequence[str] = ()) -> tuple[Finding, ...]:
    """What is wrong in a repository, or in the models `names` of it; empty where nothing is.

    `release` is the Triton release that is to serve it: what its ONNX Runtime, its backends and its configuration
    cannot do is then found too. Raises UsageError (no such folder or model, an unknown release), RepositoryInvalid (a
    folder that is no repository, or cannot be read), MissingPackage.
    """
    if release is not None:
        triton_runtime(release)
    packages.require((packages.TRITONCLIENT,), "reading a Triton repository")
    known = model_folders(repository)
    for name in names:
        if name not in known:
            listed = ", ".join(known[:20]) or "none"
            raise UsageError(
                f"no model '{name}' in {repository}.{suggest(name, known)}", hint=f"models there: {listed}"
            )
    found: list[Finding] = []
    with staging.disk_errors("cannot read the repository", repository):
        if not names:
            found += folders.of_repository(repository)
        for name in names or known:
            found += _of_model(repository, name, release)
    return in_order(found)


def model_folders(repository: Path) -> list[str]:
    """The models' folders. Raises UsageError or RepositoryInvalid where there is no repository."""
    if not repository.exists():
        raise UsageError(f"there is no {repository}", hint="name the folder that holds the models' folders")
    check_repository(repository.resolve())
    with staging.disk_errors("cannot read the repository", repository):
        return sorted(path.name for path in repository.iterdir() if folders.is_model(path))


def _of_model(repository: Path, name: str, release: str | None) -> Iterator[Finding]:
    path = repository / name / cfg.CONFIG
    if not path.is_file():
        yield from folders.without_configuration(repository / name)
        return
    yield from _of_configuration(repository, name, release, cfg.CONFIG)
    for other in custom_configs(repository / name):  # a server may be started with each of them
        yield from _of_configuration(repository, name, release, other)


def _of_configuration(repository: Path, name: str, release: str | None, file: str) -> Iterator[Finding]:
    path = repository / name / file
    try:
        config = cfg.read(path)
    except RepositoryInvalid as error:
        line = (error.where or "").removeprefix(str(path)).removeprefix(":")
        where = f"{name}/{file}:{line}" if line else f"{name}/{file}"
        what = error.message.removeprefix("not a Triton model configuration: ")
        yield Finding("error", "config-syntax", name, where, None, what, f"correct {where}")
        return
    model = replace(model_folder(repository, name, config, release), config_file=file)
    for rule in RULES:
        try:
            yield from rule(model)
        except MlconvertError as error:
            # A rule that could not look is no rule that found nothing.
            yield model.finding("unchecked", "not-checked", None, error.message, error.hint or f"look at {path}")
