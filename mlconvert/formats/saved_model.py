"""TensorFlow's SavedModel: a folder with `saved_model.pb`, its variables and assets. Nothing is loaded here."""

from __future__ import annotations

from pathlib import Path

from mlconvert.errors import ConversionFailed
from mlconvert.formats.content import Content

MAIN = "saved_model.pb"
PARTS = ("variables", "assets", "assets.extra")


def is_saved_model(content: Content) -> bool:
    """True for a saved_model.pb; its schema version, field 1, comes first, and a meta graph, field 2, follows."""
    return content.path.name == MAIN and content.head[:1] == b"\x08" and content.head[2:3] == b"\x12"


def saved_model_files(path: Path) -> tuple[Path, ...]:
    """All files of a model, saved_model.pb first. Raises ConversionFailed where some of its variables are missing."""
    folder = path.parent
    files = [path, *((folder / "fingerprint.pb",) if (folder / "fingerprint.pb").is_file() else ())]
    for part in PARTS:
        files += sorted(file for file in (folder / part).rglob("*") if file.is_file())
    shards = [file.name for file in files if file.parent.name == "variables"]
    index = "variables.index" in shards
    if shards and (not index or not any(name.startswith("variables.data-") for name in shards)):
        what = "the SavedModel's variables are not whole: variables.index and variables.data-… belong together"
        raise ConversionFailed(what, where=str(folder / "variables"), hint="copy the whole folder again")
    return tuple(files)
