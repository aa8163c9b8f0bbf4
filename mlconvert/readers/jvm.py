"""Programs in a JVM: run to their end within limits, and why one ended that should not have."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from mlconvert.errors import ConversionFailed, MlconvertError, OutOfResources, UsageError
from mlconvert.java import Java

MORE_MEMORY = "give the JVM more: --set memory_mib=4096 where the step has that option, else JAVA_TOOL_OPTIONS=-Xmx4g"
_EXCEPTION = re.compile(
    r"^(?:Exception in thread \"[^\"]*\" |Caused by: )?((?:[\w$]+\.)+[A-Z][\w$]*(?:: .*)?)$", re.MULTILINE
)


def java_words(java: Java, classpath: Sequence[Path], *, memory_mib: int = 0) -> list[str]:
    """The command up to the name of the class: a JVM that ends when its memory does, and shows nothing."""
    limit = [f"-Xmx{memory_mib}m"] if memory_mib else []
    path = os.pathsep.join(map(str, classpath))
    return [str(java.path), *limit, "-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true", "-cp", path]


def check_limits(seconds: float, memory_mib: int) -> None:
    """Raise UsageError for limits that are none."""
    for name, value in (("seconds", seconds), ("memory_mib", memory_mib)):
        if value < 0:
            raise UsageError(f"{name}={value:g} is not valid: expected 0 (no limit) or more")


def run_to_end(words: Sequence[str], what: str, *, seconds: float = 0.0) -> subprocess.CompletedProcess[str]:
    """A program run to its end; its status is the caller's to judge. `what` names the work in messages.

    Raises OutOfResources when it takes longer than `seconds` (0: as long as it takes), or runs out of memory.
    """
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
            timeout=seconds or None,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        message = f"{what} took longer than its limit of {seconds:g} s"
        raise OutOfResources(message, hint="raise it: --set seconds=N (0: no limit)") from error
    if done.returncode:
        exhausted = out_of_memory(done.returncode, done.stdout + done.stderr, what)
        if exhausted:
            raise exhausted
    return done


def out_of_memory(status: int, said: str, what: str) -> OutOfResources | None:
    """The error for a JVM that ended for want of memory, told by its last words or by the kernel's signal."""
    if "java.lang.OutOfMemoryError" in said:
        found = re.search(r"java\.lang\.OutOfMemoryError(?:: (.*))?", said)
        reason = f" ({found[1].strip()})" if found and found[1] else ""
        return OutOfResources(f"{what}: the JVM is out of memory{reason}", hint=MORE_MEMORY)
    if re.search(r"insufficient memory for the Java Runtime|Could not reserve enough space", said):
        return OutOfResources(
            f"{what}: the JVM does not get the memory that it asks for", hint="give it less, or free some"
        )
    if status == -signal.SIGKILL:
        return OutOfResources(f"{what}: the JVM was killed (SIGKILL); most often that is the kernel, out of memory",
                              hint="free some memory, or give the machine more")  # fmt: skip
    return None


def death(status: int, said: str, what: str, *, where: str | None = None) -> MlconvertError:
    """Why a JVM ended that should have gone on: OutOfResources, else ConversionFailed with its last words."""
    exhausted = out_of_memory(status, said, what)
    if exhausted:
        exhausted.where = where
        return exhausted
    how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
    reason = last_words(said)
    return ConversionFailed(f"{what}: the JVM ended {how}{f': {reason}' if reason else ''}", where=where)


def last_words(said: str) -> str:
    """The first exception that a JVM's output names, else its last line."""
    found = _EXCEPTION.search(said)
    lines = [line for line in said.strip().splitlines() if not line.startswith("Picked up ")]
    return found[1] if found else (lines[-1].strip() if lines else "")
