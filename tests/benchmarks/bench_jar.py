"""The jar against its source, side by side: the figures that issue 7 asks for, printed as ratios.

    python tests/benchmarks/bench_jar.py [--rows N] [--pmml] [--exactness N]

A LightGBM classifier of 500 trees with 31 leaves over 30 features. One row: the time of a call in the middle (p50) of
interleaved rounds, everything pinned to one processor and on one thread; Python's calls are timed in Python, and those
of a jar within its JVM. A batch: 100,000 rows on one thread. Cold start: from starting a JVM to its exit, its 32 rows
answered, on all processors. Of batches and cold starts the quickest counts: other work on the machine only adds to
them. `--pmml` adds the jar of JPMML's transpiler (which needs a JDK, sklearn2pmml and jpmml-evaluator). Exactness: rows
of which a tenth lie at the thresholds, compared with LightGBM's own answers. Ends with 1 where a goal is missed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from mlconvert.artifact import Artifact
from mlconvert.converters.lightgbm_to_jar import convert
from mlconvert.forests.boundary import boundary_rows
from mlconvert.forests.lightgbm import read_lightgbm
from mlconvert.jars.stream import open_stream
from mlconvert.java import find_java

TREES, LEAVES, FEATURES = 500, 31, 30
ROUNDS, CALLS, WARM = 7, 3000, 20_000
BATCH = 100_000


def train(folder: Path) -> tuple[Any, Artifact]:
    import lightgbm
    import pandas as pd

    random = np.random.default_rng(7)
    rows = random.normal(size=(20_000, FEATURES))
    score = rows[:, 0] * rows[:, 1] + np.sin(3 * rows[:, 2]) + rows[:, 3] ** 2 + random.normal(size=len(rows))
    names = [f"feature_{index}" for index in range(FEATURES)]
    model = lightgbm.LGBMClassifier(n_estimators=TREES, num_leaves=LEAVES, n_jobs=1, verbose=-1)
    model.fit(pd.DataFrame(rows, columns=names), (score > 1).astype(int))
    path = folder / "model.txt"
    model.booster_.save_model(path)
    return model, Artifact("lightgbm", str(path), (path,))


def python_calls(call: Callable[[int], object], calls: int) -> float:
    """Microseconds of the middle one of some calls."""
    taken = []
    for index in range(calls):
        start = time.perf_counter_ns()
        call(index)
        taken.append(time.perf_counter_ns() - start)
    return statistics.median(taken) / 1e3


def one_row(model: Any, jars: dict[str, Path], rows: np.ndarray) -> dict[str, float]:
    import pandas as pd

    frames = [pd.DataFrame(rows[i : i + 1], columns=model.feature_name_) for i in range(200)]
    booster = model.booster_
    found: dict[str, list[float]] = {}
    java = find_java().path
    with open_stream(java, jars["jar"], bench=True) as stream:
        stream.bench(rows[:2000], WARM, 0)
        for _ in range(ROUNDS):
            found.setdefault("jar", []).append(float(np.median(stream.bench(rows[:10_000], CALLS, 0).single)) / 1e3)
            found.setdefault("predict_proba(data frame)", []).append(
                python_calls(lambda i: model.predict_proba(frames[i % 200]), 100)
            )
            found.setdefault("Booster.predict(array)", []).append(
                python_calls(lambda i: booster.predict(rows[i : i + 1], num_threads=1), 1000)
            )
    return {name: statistics.median(values) for name, values in found.items()}


def transpiled_row(jar: Artifact, rows: np.ndarray, ours: Path) -> tuple[float, float]:
    """Microseconds of a row by JPMML's transpiled jar and by ours, each in its own JVM, rounds interleaved."""
    from mlconvert.benchmarking.turns import Inputs
    from mlconvert.benchmarking.ways.jpmml import transpiled

    inputs = Inputs(len(rows), lambda start, stop: {"input": rows[start:stop]}, batches=True, bare=False)
    turns = transpiled(jar)(inputs, 1000)
    theirs_taken, ours_taken = [], []
    try:
        with open_stream(find_java().path, ours, bench=True) as stream:
            stream.bench(rows[:1000], WARM, 0)
            turns.one_row(WARM)
            for _ in range(ROUNDS):
                theirs_taken.append(float(np.median(turns.one_row(CALLS))) / 1e3)
                ours_taken.append(float(np.median(stream.bench(rows[:1000], CALLS, 0).single)) / 1e3)
    finally:
        turns.close()
    return statistics.median(theirs_taken), statistics.median(ours_taken)


def batches(model: Any, jar: Path, rows: np.ndarray) -> dict[str, float]:
    """Seconds for all rows, on one thread: the quickest of interleaved rounds."""
    taken: dict[str, list[float]] = {"jar": [], "Booster.predict(array)": []}
    with open_stream(find_java().path, jar, bench=True) as stream:
        stream.bench(rows[:20_000], 0, 3)
        for _ in range(ROUNDS):
            taken["jar"].append(float(stream.bench(rows, 0, 2).whole.min()) / 1e9)
            start = time.perf_counter()
            model.booster_.predict(rows, num_threads=1)
            taken["Booster.predict(array)"].append(time.perf_counter() - start)
    return {name: min(values) for name, values in taken.items()}


def cold_start(jar: Path) -> list[float]:
    taken = []
    for _ in range(9):
        start = time.perf_counter()
        subprocess.run([find_java().path, "-jar", jar, "--self-test"], check=True, capture_output=True)
        taken.append(time.perf_counter() - start)
    return taken


def exactness(model: Any, source: Artifact, jar: Path, count: int) -> tuple[int, float, int]:
    """Wrong labels, the largest difference of a probability, and how many of the rows lie at thresholds."""
    forest = read_lightgbm(source.path.read_bytes(), source.location).forest
    random, chunk = np.random.default_rng(11), 50_000
    wrong, worst, boundary = 0, 0.0, 0
    with open_stream(find_java().path, jar) as stream:
        for start in range(0, count, chunk):
            size = min(chunk, count - start)
            edges = boundary_rows(forest, count=size // 10, seed=start, around=random.normal(size=(100, FEATURES)))
            rows = np.concatenate([random.normal(size=(size - len(edges), FEATURES)), edges])
            boundary += len(edges)
            wanted = model.booster_.predict(rows, num_threads=1)
            got = stream.answers(rows)
            wrong += int(np.count_nonzero(got[:, 0] != (wanted > 0.5)))
            worst = max(worst, float(np.abs(got[:, 2] - wanted).max()))
    return wrong, worst, boundary


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--exactness", type=int, default=1_000_000, metavar="ROWS")
    parser.add_argument("--pmml", action="store_true", help="the transpiled jar too")
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    processors = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(processors)[:1])
    missed = 0

    def line(what: str, reached: float, goal: float, unit: str = "x", *, most: bool = False) -> None:
        nonlocal missed
        good = reached <= goal if most else reached >= goal
        missed += not good
        sign = "<=" if most else ">="
        print(f"{'ok  ' if good else 'MISS'} {what:62}{reached:10.3g} {unit:3} goal {sign} {goal:g}", flush=True)

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model, source = train(folder)
        start = time.perf_counter()
        jar = convert(source, folder / "model.jar").path
        making = time.perf_counter() - start
        rows = np.random.default_rng(5).normal(size=(BATCH, FEATURES))
        sizes = {"text": source.path.stat().st_size, "jar": jar.stat().st_size}
        print(f"sizes in KB: text {sizes['text'] / 1e3:.0f}, jar {sizes['jar'] / 1e3:.0f}")
        row = one_row(model, {"jar": jar}, rows)
        print("one row, p50, microseconds: " + ", ".join(f"{name} {value:.1f}" for name, value in row.items()))
        batch = batches(model, jar, rows)
        print(f"{BATCH:,} rows, seconds: " + ", ".join(f"{name} {value:.2f}" for name, value in batch.items()))
        by_frame = row["predict_proba(data frame)"] / row["jar"]
        line("one row: times faster than predict_proba on a data frame", by_frame, 50)
        line("one row: times faster than Booster.predict on an array", row["Booster.predict(array)"] / row["jar"], 4)
        line("batch, one thread: times faster than LightGBM", batch["Booster.predict(array)"] / batch["jar"], 2)
        line("size: of LightGBM's text file, one part in", sizes["text"] / sizes["jar"], 6)
        line("making it", making, 6, "s", most=True)
        os.sched_setaffinity(0, processors)
        starts = cold_start(jar)
        print(f"cold starts, seconds: quickest {min(starts):.3f}, middle {statistics.median(starts):.3f}")
        line("cold start: JVM, 32 rows, exit", min(starts), 0.15, "s", most=True)
        if chosen.pmml:
            other = convert(source, folder / "pmml.jar", via="pmml")
            theirs, ours = transpiled_row(other, rows, jar)
            print(f"transpiled PMML jar: {other.path.stat().st_size / 1e3:.0f} KB, {theirs:.1f} microseconds a row")
            line("one row: times faster than the transpiled PMML jar", theirs / ours, 4)
            line("size: of the transpiled jar, one part in", other.path.stat().st_size / sizes["jar"], 5)
        wrong, worst, boundary = exactness(model, source, jar, chosen.exactness)
        print(f"{chosen.exactness:,} rows, {boundary:,} of them at thresholds")
        line("wrong labels", wrong, 0, "", most=True)
        line("largest difference", worst, 1e-12, "", most=True)
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
