"""A PMML document of mlconvert's own: what its note says, and the artifact that it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlconvert.artifact import Artifact
from mlconvert.errors import ConversionFailed
from mlconvert.formats.pmml import read_note, write_note
from mlconvert.readers.sklearn2pmml_runs import LICENSE
from mlconvert.signature import Signature

SCHEMA = "mlconvert.pmml/1"


@dataclass(frozen=True)
class PmmlNote:
    """`fields`: the names in the document, of the matrix' columns or of each input; `classes` are the labels."""

    signature: Signature
    fields: tuple[str, ...]
    classes: tuple[int | str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {"signature": self.signature.as_json(), "fields": list(self.fields), "classes": list(self.classes)}


def finish(
    target: Path, signature: Signature, fields: Sequence[str], classes: Sequence[int | str], *, precision: str
) -> Artifact:
    """Leave the note in a document that was just written, and give the artifact that it now is."""
    note = PmmlNote(signature, tuple(fields), tuple(classes))
    write_note(target, {"schema": SCHEMA, **note.as_json()})
    facts = {"precision": precision, "license_of_converter": LICENSE}
    return Artifact("pmml", str(target), (target,), signature, facts=facts)


def note_of(path: Path) -> PmmlNote | None:
    """The note in a document; None in one of another maker's. ConversionFailed for a note that is damaged."""
    data = read_note(path)
    return None if data is None else note_from(data, str(path))


def note_from(data: Mapping[str, Any], where: str) -> PmmlNote:
    """The note in what was read from a document, or from the jar that was made of it."""
    try:
        signature = Signature.from_json(data["signature"])
        return PmmlNote(signature, tuple(map(str, data["fields"])), tuple(data["classes"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ConversionFailed(
            "mlconvert's note on the model is damaged", where=where, hint="convert it again"
        ) from error
