"""Models that Triton's onnxruntime backend serves: their configuration and their place in a version folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlconvert.artifact import Artifact
from mlconvert.errors import RepositoryInvalid
from mlconvert.formats import external_files
from mlconvert.repositories.triton.config import TYPES, Contradiction, contradictions, heading_contradictions
from mlconvert.repositories.triton.description import Abilities, Section, describer
from mlconvert.repositories.triton.sections import COMMON
from mlconvert.repositories.triton.sections.accelerators import accelerators
from mlconvert.repositories.triton.sections.onnxruntime_sessions import sessions
from mlconvert.signature import Signature

MODEL_FILE = "model.onnx"
ABILITIES = Abilities(backend="onnxruntime", dtypes=frozenset(TYPES) - {"bfloat16"})
SECTIONS: tuple[Section, ...] = (*COMMON, sessions, accelerators)
describe = describer(ABILITIES, SECTIONS)


# --- the model's files ---


def placed_files(artifact: Artifact) -> dict[str, Path]:
    """Where each file goes in a version folder (relative path -> source), the main file first.

    A model with external data becomes a folder `model.onnx/`, in which its data keeps the name that the graph has
    for it. Raises ConversionFailed when the file cannot be read, RepositoryInvalid when the artifact's files are not
    those that the graph names.
    """
    main = artifact.path
    data = external_files(main)
    listed = {path.resolve() for path in artifact.files}
    strays = listed - {path.resolve() for path in (main, *data)}
    if strays:
        raise RepositoryInvalid(f"the graph does not use '{min(strays).name}'", where=str(main))
    if not data:
        return {MODEL_FILE: main}
    placed = {f"{MODEL_FILE}/{MODEL_FILE}": main}
    for path in data:
        target = f"{MODEL_FILE}/{path.relative_to(main.parent).as_posix()}"
        if target in placed:
            raise RepositoryInvalid(
                f"the external data is called '{MODEL_FILE}', the name that the server expects of the graph",
                where=str(path),
                hint="save the model with another name for its external data",
            )
        placed[target] = path
    return placed


def signature_of(artifact: Artifact) -> Signature:
    """The artifact's signature, else the graph's own. Raises ConversionFailed when the file cannot be read."""
    return artifact.signature or _graph_signature(artifact.path)


def published_signature(version_folder: Path, config: Any | None = None) -> Signature | None:
    """The signature of the model in a version folder, or None when there is none that this backend would load."""
    path = version_folder / ((config.default_model_filename if config else "") or MODEL_FILE)
    main = path / MODEL_FILE if path.is_dir() else path
    return _graph_signature(main) if main.is_file() else None


def _graph_signature(path: Path) -> Signature:
    from mlconvert.onnx_model.files import onnx_signature, read_outline

    return onnx_signature(read_outline(path))


def misfits(config: Any, signature: Signature, name: str) -> list[Contradiction]:
    """Where a configuration does not fit a model that this module would place."""
    found = heading_contradictions(config, name, ABILITIES.backend, ("onnxruntime_onnx",), MODEL_FILE)
    return found + contradictions(config, signature)
