"""Jars that mlconvert made: known by the entry that says what they take and give."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

from mlconvert.errors import ConversionFailed
from mlconvert.formats.content import Content, damaged

DESCRIPTOR = "META-INF/mlconvert.json"
SCHEMA = "mlconvert.jar/1"
BESIDE = (".sources.jar", ".pom")  # what lies beside a jar, under its whole name


def is_jar(content: Content) -> bool:
    return DESCRIPTOR in content.zip_names


def jar_files(path: Path) -> tuple[Path, ...]:
    """The jar, its sources and its pom, as far as they are there."""
    beside = (path.with_name(path.name + suffix) for suffix in BESIDE)
    return (path, *(file for file in beside if file.is_file()))


def read_descriptor(path: Path) -> dict[str, Any]:
    """What a jar says of itself. Raises ConversionFailed for one that is damaged, or is none of mlconvert's."""
    try:
        with zipfile.ZipFile(path) as archive:
            found = json.loads(archive.read(DESCRIPTOR))
    except KeyError as error:
        what = f"the jar has no {DESCRIPTOR}: it is none of mlconvert's"
        raise ConversionFailed(what, where=str(path)) from error
    except (OSError, RuntimeError, ValueError, zipfile.BadZipFile) as error:
        raise damaged(path, f"the jar cannot be read ({error})") from error
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        shown = found.get("schema") if isinstance(found, dict) else None
        what = f"the jar's {DESCRIPTOR} has the schema {shown!r}, not {SCHEMA!r}"
        raise ConversionFailed(what, where=str(path), hint="convert the model again")
    return found
