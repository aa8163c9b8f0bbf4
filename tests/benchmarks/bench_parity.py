"""Parity over 100 million float32 elements: time as a ratio of one pass of numpy over them, and growth of memory.

    python tests/benchmarks/bench_parity.py [ELEMENTS]

Both read the same two memory-mapped .npy files, which are in the system's cache of files. Two baselines, each without
chunks. Each figure is the best of three runs in each of three processes, which take turns, so that other work on the
machine disturbs all alike:

- `one pass`: `d = np.abs(a - b); d.max(); d.mean(); np.count_nonzero(d > atol)`: the least that answers the question;
- `barest`: `np.abs(a - b).max()`.

Memory is what the process gains in peak resident size (pages of mapped files included) over what it had just before.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from mlconvert.parity.compare import compare
from mlconvert.parity.tolerance import Tolerance, Tolerances
from mlconvert.tensors import TensorWriter, read_tensors

ELEMENTS = 100_000_000
COLUMNS = 100
LIMIT = 3.0
ATOL = 1e-5


def make(folder: Path, elements: int, noise: float) -> None:
    rng = np.random.default_rng(0)
    with TensorWriter(folder / "a") as first, TensorWriter(folder / "b") as second:
        rows = 10_000
        for _ in range(elements // (rows * COLUMNS)):
            batch = rng.standard_normal((rows, COLUMNS), dtype=np.float32)
            first.append({"y": batch})
            factor = rng.standard_normal((rows, COLUMNS), dtype=np.float32) * np.float32(noise)
            second.append({"y": batch * (1 + factor)})


def one_pass(a: np.ndarray, b: np.ndarray) -> None:
    d = np.abs(a - b)
    d.max(), d.mean(), np.count_nonzero(d > ATOL)


def barest(a: np.ndarray, b: np.ndarray) -> None:
    np.abs(a - b).max()


def parity(a: np.ndarray, b: np.ndarray) -> None:
    assert compare({"y": a}, {"y": b}, Tolerances(Tolerance(1e-4, ATOL))).ok


def measure(folder: Path, which: str) -> dict[str, float]:
    a, b = read_tensors(folder / "a")["y"], read_tensors(folder / "b")["y"]
    function = {"one pass": one_pass, "barest": barest, "parity": parity}[which]
    function(a[:1000], b[:1000])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times = []
    for _ in range(3):
        start = time.perf_counter()
        function(a, b)
        times.append(time.perf_counter() - start)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"seconds": min(times), "grown_mib": grown / 1024}


def main() -> None:
    if len(sys.argv) == 4 and sys.argv[1] == "--one":
        print(json.dumps(measure(Path(sys.argv[2]), sys.argv[3])))
        return
    elements = int(sys.argv[1]) if len(sys.argv) > 1 else ELEMENTS
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make(folder, elements, 1e-6)
        results: dict[str, dict[str, float]] = {}
        for which in ("one pass", "barest", "parity") * 3:
            command = [sys.executable, __file__, "--one", str(folder), which]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found = json.loads(done.stdout)
            best = results.setdefault(which, found)
            best["seconds"] = min(best["seconds"], found["seconds"])
            best["grown_mib"] = max(best["grown_mib"], found["grown_mib"])
    for which, best in results.items():
        print(f"{which:>9}: {best['seconds']:.3f} s, +{best['grown_mib']:.0f} MiB")
    for which in ("one pass", "barest"):
        ratio = results["parity"]["seconds"] / results[which]["seconds"]
        print(f"parity / {which}: {ratio:.2f} x (at most {LIMIT} x of `one pass` is asked for)")


if __name__ == "__main__":
    main()
