"""Lint of a TensorFlow Serving repository: what a server would trip over, found without a server and TensorFlow.

`repository` has the rules for models.config, the server's other files and what lies around the models; `versions` those
for a version's folder and its saved_model.pb; `warmup` those for its warm-up requests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mlconvert.errors import MlconvertError, UsageError, suggest
from mlconvert.repositories import staging
from mlconvert.repositories.findings import Finding, in_order
from mlconvert.repositories.tf_serving.layout import check_repository
from mlconvert.repositories.tf_serving.lint import repository as root
from mlconvert.repositories.tf_serving.lint import versions, warmup
from mlconvert.repositories.tf_serving.lint.model import ServedModel, served_models
from mlconvert.repositories.tf_serving.models_config import CONFIG

__all__ = ["RULES", "lint", "model_folders"]

RULES: tuple[Callable[[ServedModel], Iterator[Finding]], ...] = (*root.RULES, *versions.RULES, *warmup.RULES)


def lint(repository: Path, *, release: str | None = None, names: Sequence[str] = ()) -> tuple[Finding, ...]:
    """What is wrong in a repository, or in the models `names` of it; empty where nothing is.

    Raises UsageError (no such folder or model; a release, of which only Triton has rules), RepositoryInvalid (a folder
    that is no repository, or cannot be read).
    """
    if release is not None:
        raise UsageError(
            f"--release {release} is for Triton: there are no rules for releases of TensorFlow Serving",
            hint="leave --release out",
        )
    _check(repository)
    with staging.disk_errors("cannot read the repository", repository):
        found, models = served_models(repository)
        for name in names:
            if name not in models:
                listed = ", ".join(list(models)[:20]) or "none"
                what = f"no model '{name}' in {repository}.{suggest(name, list(models))}"
                raise UsageError(what, hint=f"models there: {listed}")
        if not names:
            found += root.of_repository(repository, models)
        for name in names or models:
            found += _of_model(models[name])
    return in_order(found)


def model_folders(repository: Path) -> list[str]:
    """The names of the models. Raises UsageError or RepositoryInvalid where there is no repository."""
    _check(repository)
    with staging.disk_errors("cannot read the repository", repository):
        return list(served_models(repository)[1])


def _check(repository: Path) -> None:
    if not repository.exists():
        raise UsageError(f"there is no {repository}", hint="name the folder that holds models.config")
    if not (repository / CONFIG).is_symlink():  # of which publishing would say that it is not to be changed
        check_repository(repository.resolve())


def _of_model(model: ServedModel) -> Iterator[Finding]:
    for rule in RULES:
        try:
            yield from rule(model)
        except MlconvertError as error:
            # A rule that could not look is no rule that found nothing.
            yield model.finding("unchecked", "not-checked", error.message, error.hint or f"look at {model.path}")
