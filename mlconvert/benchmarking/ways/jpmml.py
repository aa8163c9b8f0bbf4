"""PMML timed inside the JVM that evaluates it: a document, or a jar that JPMML's transpiler made.

The program that does it, `java/PmmlTurns.java`, is compiled when it is needed: that takes a JDK. JPMML-Evaluator is
under the AGPL-3.0, and comes with the package jpmml-evaluator.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from mlconvert.artifact import Artifact
from mlconvert.benchmarking.turns import CALLS_OF_A_JVM, ROWS, Inputs, Turns, tiled
from mlconvert.errors import ConversionFailed, MissingPackage, NotVerified

SOURCE = Path(__file__).parents[1] / "java" / "PmmlTurns.java"
MINIMUM_JAVA = 11


def document(artifact: Artifact, threads: int) -> Callable[[Inputs, int], Turns]:  # noqa: ARG001 - it computes in one
    """The turns of a PMML document. Raises NotVerified for one with columns of text, and where there is no JDK."""
    from mlconvert.readers.pmml_notes import note_of

    note = note_of(artifact.path)
    if note is None:  # of another maker's: the columns are its fields
        fields = artifact.signature.inputs[0].columns if artifact.signature else ()
        return _opened(artifact, "document", fields)
    return _opened(replace(artifact, signature=note.signature), "document", note.fields)


def transpiled(artifact: Artifact) -> Callable[[Inputs, int], Turns]:
    """The turns of a jar by JPMML's transpiler; raises as `document`."""
    from mlconvert.formats.jar import read_descriptor
    from mlconvert.readers.pmml_notes import note_from

    note = note_from(read_descriptor(artifact.path), artifact.location)
    return _opened(replace(artifact, signature=note.signature), "transpiled", note.fields)


def _opened(artifact: Artifact, kind: str, fields: tuple[str, ...]) -> Callable[[Inputs, int], Turns]:
    from mlconvert.java import find_java

    matrix = artifact.signature.inputs[0] if artifact.signature else None
    if matrix is None or matrix.name != "input" or matrix.dtype == "string" or not fields:
        what = "its columns are not all numbers: it is measured through its runner alone"
        raise NotVerified(what, where=artifact.location)
    try:
        java = find_java(MINIMUM_JAVA, compiler=True).path
    except MissingPackage as error:
        raise NotVerified(error.message, where=artifact.location, hint=error.hint) from error
    return lambda inputs, in_batch: _turns(artifact, kind, java, fields, inputs, in_batch)


def _turns(artifact: Artifact, kind: str, java: Path, fields: tuple[str, ...], inputs: Inputs, in_batch: int) -> Turns:
    from mlconvert.jars.stream import stream_of

    stack = contextlib.ExitStack()
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="mlconvert-"))
    classes = [*map(str, importlib.import_module("jpmml_evaluator")._package_classpath())]
    _compile(java, classes, folder)
    start = [str(java), "-cp", os.pathsep.join([folder, *classes]), SOURCE.stem, str(artifact.path), kind]
    began = time.monotonic()
    stream = stack.enter_context(stream_of([*start, "--bench", *fields], artifact.location))
    stream.bench(inputs.cut(0, 1)["input"], 1, 0)
    cold = time.monotonic() - began
    rows, batch = inputs.cut(0, min(inputs.rows, ROWS))["input"], tiled(inputs, in_batch)["input"]

    def answers(count: int) -> list[Mapping[str, np.ndarray]]:
        with stream_of([*start, "--stream", *fields], artifact.location) as asked:
            told = asked.answers(inputs.cut(0, min(count, inputs.rows))["input"])
        return [{"probabilities" if asked.width > 1 else "variable": told}]

    return Turns(
        call="Evaluator.evaluate(Map)",
        one_row=lambda calls: stream.bench(rows, calls, 0).single.tolist(),
        batch=lambda calls: stream.bench(batch, 0, calls).whole.tolist(),
        in_batch=in_batch,
        answers=answers,
        process=stream.process.pid,
        cold_seconds=cold,
        calls_to_warm=CALLS_OF_A_JVM,
        close=stack.close,
    )


def _compile(java: Path, classes: list[str], folder: str) -> None:
    compiler = java.resolve().with_name("javac")
    words = [str(compiler), "-nowarn", "-d", folder, "-cp", os.pathsep.join(classes), str(SOURCE)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        first = (done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"])[0]
        raise ConversionFailed(f"{compiler} does not compile {SOURCE.name}: {first}")
