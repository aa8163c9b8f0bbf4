"""A treelite checkpoint to a jar: its trees, in the type of its thresholds as in treelite, which is not needed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlconvert.converters.jar_options import (
    CLASS_NAME,
    VERSION,
    ClassName,
    Style,
    Version,
    check,  # noqa: F401 - named by the table of converters
)
from mlconvert.readers.treelite_files import treelite_bytes

if TYPE_CHECKING:
    from mlconvert.artifact import Artifact


def convert(
    source: Artifact,
    target: Path,
    *,
    style: Style = "arrays",
    class_name: ClassName = CLASS_NAME,
    version: Version = VERSION,
) -> Artifact:
    """Write a jar whose answers have the names and the order that the runner of treelite gives.

    Raises ConversionFailed for a damaged checkpoint, for what `forests.treelite.read_treelite` refuses by name, and for
    a model that is too large for a jar; UsageError for a name that is none of a class.
    """
    from mlconvert.forests.treelite import read_treelite
    from mlconvert.jars.model import of_trees
    from mlconvert.jars.writing import write_jar

    model = read_treelite(treelite_bytes(source.path), source.location)
    return write_jar(
        of_trees(model), target, style=style, class_name=class_name, version=version, where=source.location
    )
