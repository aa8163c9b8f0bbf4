"""What a PMML document answers in JPMML-Evaluator, in a JVM of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlconvert.readers.pmml_answers import note_from_fields, session_of
from mlconvert.readers.pmml_evaluator import load_document
from mlconvert.readers.pmml_notes import note_of

if TYPE_CHECKING:
    from mlconvert.artifact import Artifact
    from mlconvert.converter import Session
    from mlconvert.signature import Signature


def signature(artifact: Artifact) -> Signature:
    """As the note in the document says; a document of another maker's is loaded for it."""
    note = note_of(artifact.path)
    return (note or note_from_fields(load_document(artifact.path))).signature


def load(artifact: Artifact) -> Session:
    return session_of(load_document(artifact.path), note_of(artifact.path))
