"""JPMML's transpiler: a PMML document as a jar of Java classes, made by Java's own compiler within limits.

The jar is no program of its own: it needs JPMML-Evaluator (AGPL-3.0) beside it wherever it is used.
"""

from __future__ import annotations

import contextlib
import json
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlconvert.errors import OutOfResources
from mlconvert.formats.jar import DESCRIPTOR
from mlconvert.jars.archive import write_zip
from mlconvert.java import find_java
from mlconvert.readers.pmml_evaluator import MINIMUM_JAVA, Jvm


def transpile_document(
    document: Path, jar: Path, descriptor: dict[str, Any], *, where: str, seconds: float, memory_mib: int
) -> None:
    """Write the jar, with the descriptor in it.

    Raises MissingPackage without a JDK, OutOfResources when a limit is passed, ConversionFailed with the JVM's words
    for what cannot be transpiled.
    """
    java = find_java(MINIMUM_JAVA, compiler=True)
    jvm = Jvm(java, "JPMML's transpiler", memory_mib=memory_mib)
    with _limited(jvm, seconds, where), jvm.asked(where):
        new = jvm.backend.newObject
        transpiler = new("org.jpmml.transpiler.FileTranspiler", None, new("java.io.File", str(jar)))
        builder = new("org.jpmml.evaluator.LoadingModelEvaluatorBuilder")
        builder.load(new("java.io.File", str(document)))
        builder.transform(new("org.jpmml.transpiler.TranspilerTransformer", transpiler))
    _rewrite(jar, descriptor)


@contextlib.contextmanager
def _limited(jvm: Jvm, seconds: float, where: str) -> Iterator[None]:
    """End the JVM when its time is over, and say so."""
    over = threading.Event()

    def end() -> None:
        over.set()
        jvm.process.kill()

    timer = threading.Timer(seconds or threading.TIMEOUT_MAX, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception as error:
        if over.is_set():
            what = f"{jvm.what} took longer than its limit of {seconds:g} s"
            hint = (
                "raise it: --set seconds=N (0: no limit); or leave jar.via out: a jar without PMML is made in seconds"
            )
            raise OutOfResources(what, where=where, hint=hint) from error
        raise
    finally:
        timer.cancel()


def _rewrite(jar: Path, descriptor: dict[str, Any]) -> None:
    """Put the descriptor in, and the entries in one order with one date: the same model, the same bytes."""
    with zipfile.ZipFile(jar) as archive:
        entries = {info.filename: archive.read(info) for info in archive.infolist() if not info.is_dir()}
    entries[DESCRIPTOR] = json.dumps(descriptor, indent=1, ensure_ascii=False).encode()
    part = jar.with_name(f"{jar.name}.part")
    write_zip(part, entries)
    part.replace(jar)
