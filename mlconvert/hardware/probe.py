"""Asks NVIDIA's libraries in a child process each: `python -m mlconvert.hardware.probe cuda|nvml|tensorrt`.

A driver that hangs or crashes ends the child and not the program; and a program that has called CUDA could not fork.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mlconvert.hardware import cuda, nvml, tensorrt_version
from mlconvert.hardware.readings import Library, Unreadable, library_as_json, library_from_json

SECONDS = 60.0  # a machine of eight GPUs whose driver sleeps takes about ten

# How the library is found, which fails fast where there is none and starts no child then, and how it is asked.
PROBES: dict[str, tuple[Callable[[], Any], Callable[[Any], Library]]] = {
    "cuda": (cuda.find, cuda.read),
    "nvml": (nvml.find, nvml.read),
    "tensorrt": (tensorrt_version.find, tensorrt_version.read),
}


def ask_all() -> dict[str, Library]:
    """What each of the libraries says, asked side by side."""
    with ThreadPoolExecutor(len(PROBES)) as pool:
        return dict(zip(PROBES, pool.map(ask, PROBES), strict=True))


def ask(name: str) -> Library:
    """What one library says. Raises nothing: what went wrong is in the answer."""
    find, _ = PROBES[name]
    try:
        find()
    except Unreadable as error:
        return Library(failed=str(error))
    here = str(Path(__file__).resolve().parents[2])
    paths = [here, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "mlconvert.hardware.probe", name],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Library(failed=f"no answer in {SECONDS:.0f} seconds: the driver hangs")
    except OSError as error:
        return Library(failed=f"no process could be started to ask: {error}")
    return _answer(done)


def _answer(done: subprocess.CompletedProcess[bytes]) -> Library:
    """The last line that the child printed: libraries may print lines of their own before it."""
    if done.returncode < 0:
        return Library(failed=f"the process that asked was ended by signal {-done.returncode}")
    try:
        return library_from_json(json.loads(done.stdout.splitlines()[-1]))
    except (IndexError, ValueError, KeyError, TypeError):
        told = done.stderr.decode(errors="replace").strip().splitlines()
        return Library(failed=f"the process that asked ended with {done.returncode}: {told[-1] if told else 'no word'}")


def main(argv: list[str]) -> int:
    """The child's side: one line of JSON."""
    find, read = PROBES[argv[0]]
    try:
        library = read(find())
    except Unreadable as error:
        library = Library(failed=str(error))
    sys.stdout.write("\n" + json.dumps(library_as_json(library)) + "\n")
    sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
