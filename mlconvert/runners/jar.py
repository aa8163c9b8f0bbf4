"""What a jar answers: its own program in one JVM, rows and answers in binary; or JPMML's evaluator, for a jar of its.

A jar of mlconvert's own needs nothing but Java 8. To load a jar is to run what is in it: it has to be trusted.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlconvert.converter import Session
from mlconvert.errors import UsageError
from mlconvert.formats.jar import read_descriptor
from mlconvert.java import find_java
from mlconvert.readers.jar_answers import outputs_of, rows_of
from mlconvert.signature import Signature

if TYPE_CHECKING:
    import numpy as np

    from mlconvert.artifact import Artifact

JAVA = 8


def signature(artifact: Artifact) -> Signature:
    """As the jar says; no JVM is started."""
    return Signature.from_json(read_descriptor(artifact.path)["signature"])


def load(artifact: Artifact) -> Session:
    """Start the JVM, which ends with the session.

    Raises UsageError for a jar that is not trusted, MissingPackage without Java, ConversionFailed where the JVM does
    not start or the jar does not answer; its `run` raises ConversionFailed when the JVM dies, OutOfResources when its
    memory ends.
    """
    descriptor = read_descriptor(artifact.path)
    if not artifact.trusted:
        what = "a jar is a program, and loading it runs it"
        raise UsageError(what, where=artifact.location, hint="add --trust if you made the file yourself")
    if descriptor["kind"] == "pmml":
        from mlconvert.readers.pmml_answers import session_of
        from mlconvert.readers.pmml_evaluator import load_transpiled
        from mlconvert.readers.pmml_notes import note_from

        return session_of(load_transpiled(artifact.path), note_from(descriptor, artifact.location))
    return Session(Signature.from_json(descriptor["signature"]), _Asked(artifact, descriptor))


class _Asked:
    """The open JVM as a function of a batch; it is ended when nobody has the function any more."""

    def __init__(self, artifact: Artifact, descriptor: dict[str, Any]) -> None:
        from mlconvert.jars.stream import open_stream

        self._descriptor = descriptor
        with contextlib.ExitStack() as stack:
            self._stream = stack.enter_context(open_stream(find_java(JAVA).path, artifact.path))
            weakref.finalize(self, stack.pop_all().close)

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        rows, texts = rows_of(self._descriptor, inputs)
        return outputs_of(self._descriptor, self._stream.answers(rows, texts))
