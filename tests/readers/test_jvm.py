"""Why a JVM ended: told by its words, its status or the signal."""

from __future__ import annotations

import sys

import pytest

from mlconvert.errors import ConversionFailed, OutOfResources
from mlconvert.readers.jvm import death, last_words, run_to_end

PICKED = "Picked up JAVA_TOOL_OPTIONS: -Xmx8m\n"
TRACE = PICKED + 'WARNING: x\nException in thread "main" a.b.OddException: no such thing\n\tat a.b.C.d(C.java:1)\n'


@pytest.mark.parametrize(
    ("status", "said", "kind", "words"),
    [
        (3, "Terminating due to java.lang.OutOfMemoryError: Java heap space\n", OutOfResources, "Java heap space"),
        (1, "Error: Could not reserve enough space for object heap\n", OutOfResources, "does not get the memory"),
        (-9, "", OutOfResources, "SIGKILL"),
        (-6, "# A fatal error has been detected\n", ConversionFailed, "by SIGABRT: # A fatal error"),
        (1, TRACE, ConversionFailed, "with status 1: a.b.OddException: no such thing"),
        (1, PICKED, ConversionFailed, "with status 1$"),
    ],
)
def test_the_reason_is_told(status, said, kind, words):
    error = death(status, said, "the work", where="m.jar")
    assert type(error) is kind
    assert error.where == "m.jar"
    with pytest.raises(kind, match=f"the work: .*{words}"):
        raise error


def test_memory_has_a_way_out():
    error = death(3, "java.lang.OutOfMemoryError", "the work")
    assert "JAVA_TOOL_OPTIONS=-Xmx" in (error.hint or "")


def test_last_words():
    assert last_words("") == ""
    assert last_words("one\ntwo\n") == "two"
    assert last_words("Caused by: java.io.IOException: gone\n\tat x\n") == "java.io.IOException: gone"


def test_limits_of_time():
    with pytest.raises(OutOfResources, match=r"the work took longer than its limit of 0\.2 s"):
        run_to_end([sys.executable, "-c", "import time; time.sleep(60)"], "the work", seconds=0.2)
    done = run_to_end([sys.executable, "-c", "print(1); raise SystemExit(4)"], "the work", seconds=60)
    assert (done.returncode, done.stdout) == (4, "1\n")
