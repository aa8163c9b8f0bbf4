"""What it costs to make an ONNX file of trees, beside the stock converter, as ratios in one run.

    python tests/benchmarks/bench_forest_conversion.py [--runs N]

Two models: LightGBM's text file of 500 trees of 31 leaves (stock: onnxmltools), and scikit-learn's
RandomForestClassifier of 100 trees of depth 20, trained on 20,000 rows (stock: skl2onnx). Each conversion has a process
of its own, in which the libraries are imported, the model is loaded and a small model has been converted already:

    seconds  from the loaded model (the text's bytes, the estimator) to the file on disk: at most 1/10 of the stock one
    memory   the most resident bytes above those just before, of which free memory was given back: at most 3 x the file
    file     bytes; of LightGBM, at most 1/3 of the text

Seconds and memory are medians, of processes of both sides in turn. Linux only.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import pickle
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

FEATURES, ROWS = 30, 20_000
LIGHTGBM, FOREST = "lightgbm, 500 trees of 31 leaves", "random forest, 100 trees of depth 20"
STOCK = {LIGHTGBM: "onnxmltools", FOREST: "skl2onnx"}


def train(folder: Path) -> None:
    """Both models, each with a small one of its kind."""
    import lightgbm
    from sklearn.ensemble import RandomForestClassifier

    generator = np.random.default_rng(0)
    rows = generator.normal(size=(ROWS, FEATURES))
    labels = (rows[:, :5].sum(axis=1) + generator.normal(size=ROWS) > 0).astype(int)
    parameters = {"objective": "binary", "num_leaves": 31, "verbose": -1, "num_threads": 1}
    for name, trees in (("small", 2), ("large", 500)):
        lightgbm.train(parameters, lightgbm.Dataset(rows, labels), trees).save_model(folder / f"{name}.txt")
        forest = RandomForestClassifier(max(trees // 5, 2), max_depth=20 if trees > 2 else 2, random_state=0)
        (folder / f"{name}.pickle").write_bytes(pickle.dumps(forest.fit(rows, labels)))


# --- in a process of its own ---


def measure(what: str, side: str, folder: Path) -> dict[str, float]:
    """Convert the large model once, after a small one."""
    warnings.simplefilter("ignore")
    convert = {("lightgbm", "ours"): ours_lightgbm, ("lightgbm", "stock"): stock_lightgbm}.get(
        (what.partition(",")[0], side), ours_forest if side == "ours" else stock_forest
    )
    target = folder / f"{side}.onnx"
    convert(folder / "small", target)()
    go = convert(folder / "large", target)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, began = resident("VmRSS"), time.perf_counter()
    go()
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "memory": resident("VmHWM") - before, "file": target.stat().st_size}


def resident(name: str) -> int:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def ours_lightgbm(source: Path, target: Path) -> Callable[[], Any]:
    from mlconvert.forests.lightgbm import read_lightgbm
    from mlconvert.forests.onnx_file import write_trees

    data = source.with_suffix(".txt").read_bytes()
    return lambda: write_trees(read_lightgbm(data, str(source)), target)


def ours_forest(source: Path, target: Path) -> Callable[[], Any]:
    from mlconvert.forests.estimators import tree_model_of
    from mlconvert.forests.onnx_file import write_trees

    estimator = pickle.loads(source.with_suffix(".pickle").read_bytes())
    return lambda: write_trees(tree_model_of(estimator, str(source)), target)


def stock_lightgbm(source: Path, target: Path) -> Callable[[], Any]:
    import lightgbm
    import onnxmltools
    from onnxmltools.convert.common.data_types import FloatTensorType

    booster = lightgbm.Booster(model_file=source.with_suffix(".txt"))
    types = [("input", FloatTensorType([None, FEATURES]))]

    def convert() -> None:
        made = onnxmltools.convert_lightgbm(booster, initial_types=types, target_opset=15, zipmap=False)
        target.write_bytes(made.SerializeToString())

    return convert


def stock_forest(source: Path, target: Path) -> Callable[[], Any]:
    import skl2onnx
    from skl2onnx.common.data_types import FloatTensorType

    estimator = pickle.loads(source.with_suffix(".pickle").read_bytes())
    types = [("input", FloatTensorType([None, FEATURES]))]

    def convert() -> None:
        made = skl2onnx.to_onnx(estimator, initial_types=types, options={"zipmap": False})
        target.write_bytes(made.SerializeToString())

    return convert


# --- the comparison ---


def measured(what: str, side: str, folder: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure", what, side, str(folder)]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    figures: dict[str, float] = json.loads(told.stdout.splitlines()[-1])
    return figures


def compare(what: str, folder: Path, runs: int) -> None:
    found: dict[str, list[dict[str, float]]] = {"ours": [], "stock": []}
    for _ in range(runs):
        for side, figures in found.items():
            figures.append(measured(what, side, folder))
    ours, stock = (
        {name: statistics.median(one[name] for one in figures) for name in figures[0]} for figures in found.values()
    )
    print(what)
    print(
        f"    seconds: {ours['seconds']:.3f}, {STOCK[what]} {stock['seconds']:.3f}: "
        f"{stock['seconds'] / ours['seconds']:.0f} x as fast (at least 10)"
    )
    print(
        f"    memory: {ours['memory'] / 1e6:.1f} MB, {ours['memory'] / ours['file']:.1f} x the file (at most 3); "
        f"{STOCK[what]} {stock['memory'] / 1e6:.1f} MB, {stock['memory'] / stock['file']:.1f} x its file"
    )
    line = f"    file: {ours['file'] / 1e3:.0f} kB, of {STOCK[what]} {stock['file'] / 1e3:.0f} kB"
    if what == LIGHTGBM:
        text = (folder / "large.txt").stat().st_size
        line += f"; LightGBM's text {text / 1e3:.0f} kB: {ours['file'] / text:.2f} of it (at most 0.33)"
    print(line)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--measure", nargs=3, metavar=("MODEL", "SIDE", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        what, side, folder = options.measure
        print(json.dumps(measure(what, side, Path(folder))))
        return
    with tempfile.TemporaryDirectory() as name:
        train(Path(name))
        for what in STOCK:
            compare(what, Path(name), options.runs)


if __name__ == "__main__":
    main()
