"""Models that Triton's python backend serves: a `model.py` that mlconvert wrote, and the files that it needs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from mlconvert.artifact import Artifact
from mlconvert.errors import RepositoryInvalid, UsageError
from mlconvert.formats import served_python
from mlconvert.repositories.triton.config import TYPES, Contradiction, contradictions, heading_contradictions
from mlconvert.repositories.triton.description import Abilities, Draft, Section, describer
from mlconvert.repositories.triton.sections import COMMON
from mlconvert.signature import Signature

MODEL_FILE = served_python.MAIN
# What is not PyTorch computes on the CPU, wherever its instance is.
ABILITIES = Abilities(backend="python", dtypes=frozenset(TYPES) - {"bfloat16"}, kinds=("cpu",))
ON_GPUS = ("exported-program", "torchscript")
_ENVIRONMENT = "EXECUTION_ENV_PATH"


def environment(
    draft: Draft,
    *,
    execution_env: Annotated[
        str,
        "a conda-pack archive or folder with the packages of requirements.txt, as the server sees it; it may begin "
        "with $$TRITON_MODEL_DIRECTORY, the model's own folder (default: the server's own Python)",
    ] = "",
) -> None:
    """EXECUTION_ENV_PATH, where the model runs in a Python environment of its own."""
    if not execution_env:
        draft.comments.append(f"The server's Python must have the packages in {served_python.REQUIREMENTS}.")
        return
    if not execution_env.startswith(("/", "$$TRITON_MODEL_DIRECTORY/")):
        raise UsageError(
            f"execution_env={execution_env}: expected an absolute path, or one in $$TRITON_MODEL_DIRECTORY/",
            hint="for example: --set 'execution_env=$$TRITON_MODEL_DIRECTORY/environment.tar.gz'",
        )
    draft.config.parameters[_ENVIRONMENT].string_value = execution_env


SECTIONS: tuple[Section, ...] = (*COMMON, environment)


def _abilities(artifact: Artifact | None) -> Abilities:
    on_gpus = artifact is None or served_python.read_served(artifact.path).kind in ON_GPUS
    return replace(ABILITIES, kinds=("cpu", "gpu")) if on_gpus else ABILITIES


describe = describer(_abilities, SECTIONS)


def placed_files(artifact: Artifact) -> dict[str, Path]:
    """Where each file goes in a version folder (relative path -> source), model.py first.

    Raises ConversionFailed when model.py cannot be read or something that it needs is missing, RepositoryInvalid when
    the artifact has files that it does not name.
    """
    main = artifact.path
    files = served_python.served_files(main)
    strays = {path.resolve() for path in artifact.files} - {path.resolve() for path in files}
    if strays:
        raise RepositoryInvalid(f"{main.name} does not use '{min(strays).name}'", where=str(main))
    return {MODEL_FILE: main} | {path.name: path for path in files[1:]}


def signature_of(artifact: Artifact) -> Signature:
    """The artifact's signature, else as its constants have it. Raises ConversionFailed when they cannot be read."""
    return artifact.signature or served_python.read_served(artifact.path).signature


def published_signature(version_folder: Path, config: Any | None = None) -> Signature | None:
    """The signature of the model in a version folder; None where there is none, or one that mlconvert did not write."""
    path = version_folder / ((config.default_model_filename if config else "") or MODEL_FILE)
    try:
        with path.open("rb") as stream:
            ours = stream.read(len(served_python.MARK)) == served_python.MARK
    except FileNotFoundError:
        return None
    return served_python.read_served(path).signature if ours else None


def misfits(config: Any, signature: Signature, name: str) -> list[Contradiction]:
    """Where a configuration does not fit a model that this module would place."""
    found = heading_contradictions(config, name, ABILITIES.backend, (), MODEL_FILE)
    return found + contradictions(config, signature)
