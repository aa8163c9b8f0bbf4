"""Forests against their own libraries: 1,000,000 rows for each model, 100,000 of them at the thresholds of its trees.

    python tests/benchmarks/bench_forest_exactness.py [--library NAME]... [--rows N] [--trees N] [--no-stock]

Each model is trained, read, written to ONNX and run; beside it the file of the converter that is usual for the
library: onnxmltools (LightGBM, XGBoost), skl2onnx (scikit-learn) or CatBoost's own export. The library itself is
asked about the same rows. Half of all rows are float32 numbers, as the usual converters' inputs are; the others are
any doubles, of which those see the nearest float32.

    flips   rows with another label
    beyond  rows with a number further off than 1e-12 * max(1, |reference|); of a library that computes in float32,
            than 4 ulp of max(1, |reference|); of the usual converters' float32 numbers, than
            1e-5 * max(1, |reference|)
    worst   the largest such difference; for a float32 library in ulp

`float32 rows` says how many of the usual converter's flips are among the float32 rows. Rows are made and compared in
chunks: memory does not grow with their number. Ends with 1 if a row of mlconvert's differs.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from mlconvert.forests.boundary import boundary_rows
from mlconvert.forests.estimators import tree_model_of
from mlconvert.forests.onnx_file import write_trees
from mlconvert.readers.estimator_answers import outputs_of

ROWS, BOUNDARY = 1_000_000, 10  # one row of ten lies at a threshold
TREES, LEAVES = 100, 31
FEATURES, CATEGORICAL = 20, (0, 1, 2)
TRAINED_ON, CHUNK = 5000, 50_000
THREADS = 1  # of the libraries too: threads that wait for each other would disturb other work on the machine
os.environ.setdefault("OMP_NUM_THREADS", str(THREADS))  # read by HistGradientBoosting when it is first used

Outputs = dict[str, np.ndarray]
Run = Callable[[np.ndarray], Outputs]


# --- models ---


def lightgbm(task: str, categories: bool, rows: np.ndarray, target: np.ndarray, trees: int) -> Any:
    import lightgbm as library

    kind = library.LGBMRegressor if task == "regression" else library.LGBMClassifier
    model = kind(n_estimators=trees, num_leaves=LEAVES, n_jobs=THREADS, verbose=-1, min_data_per_group=20, cat_smooth=2)
    return model.fit(rows, target, categorical_feature=list(CATEGORICAL) if categories else "auto")


def histogram(task: str, categories: bool, rows: np.ndarray, target: np.ndarray, trees: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingRegressor if task == "regression" else HistGradientBoostingClassifier
    columns = list(CATEGORICAL) if categories else None
    model = kind(max_iter=trees, max_leaf_nodes=LEAVES, categorical_features=columns, early_stopping=False)
    return model.fit(rows, target)


def xgboost(task: str, categories: bool, rows: np.ndarray, target: np.ndarray, trees: int) -> Any:
    import xgboost as library

    kind = library.XGBRegressor if task == "regression" else library.XGBClassifier
    types = ["c" if categories and feature in CATEGORICAL else "q" for feature in range(FEATURES)]
    return kind(
        n_estimators=trees, max_leaves=LEAVES, n_jobs=THREADS, feature_types=types, enable_categorical=categories
    ).fit(rows, target)


def random_forest(task: str, _: bool, rows: np.ndarray, target: np.ndarray, trees: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    kind = RandomForestRegressor if task == "regression" else RandomForestClassifier
    return kind(trees, max_leaf_nodes=200, random_state=0).fit(rows, target)


def gradient_boosting(task: str, _: bool, rows: np.ndarray, target: np.ndarray, trees: int) -> Any:
    from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor

    kind = GradientBoostingRegressor if task == "regression" else GradientBoostingClassifier
    return kind(n_estimators=trees, max_depth=5, random_state=0).fit(rows, target)


def catboost(task: str, _: bool, rows: np.ndarray, target: np.ndarray, trees: int) -> Any:
    import catboost as library

    kind = library.CatBoostRegressor if task == "regression" else library.CatBoostClassifier
    return kind(
        iterations=trees, depth=6, thread_count=THREADS, verbose=False, allow_writing_files=False, random_seed=0
    ).fit(rows, target)


@dataclass(frozen=True)
class Library:
    train: Callable[..., Any]
    missing: bool  # takes NaN
    categories: bool  # takes categories, and mlconvert reads them
    narrow: bool = False  # computes in float32


LIBRARIES = {
    "LightGBM": Library(lightgbm, missing=True, categories=True),
    "HistGradientBoosting": Library(histogram, missing=True, categories=True),
    "XGBoost": Library(xgboost, missing=True, categories=True, narrow=True),
    "RandomForest": Library(random_forest, missing=True, categories=False),
    "GradientBoosting": Library(gradient_boosting, missing=False, categories=False),
    "CatBoost": Library(catboost, missing=True, categories=False),
}
TASKS = ("binary", "multiclass", "regression")


# --- rows ---


def rows_like_training(random: np.random.Generator, count: int, *, missing: bool, categories: bool) -> np.ndarray:
    rows = random.normal(size=(count, FEATURES))
    rows[:, FEATURES // 2 :] = np.round(rows[:, FEATURES // 2 :], 2)  # as people write numbers: many equal ones
    if categories:
        for feature in CATEGORICAL:
            rows[:, feature] = random.integers(0, 40, size=count)
    if missing:
        rows[random.random(rows.shape) < 0.05] = np.nan
    return rows


def target_of(task: str, rows: np.ndarray, random: np.random.Generator) -> np.ndarray:
    x = np.nan_to_num(rows)
    value = np.sin(3 * x[:, 0]) + x[:, 3] * x[:, 4] + np.abs(x[:, 11]) + (x[:, 1] % 3 == 1) + np.isnan(rows[:, 5])
    value += random.normal(size=len(rows)) / 3
    if task == "regression":
        return np.asarray(10 * value)
    return np.digitize(value, np.quantile(value, [0.5] if task == "binary" else [0.3, 0.6]))


def chunks(forest: Any, count: int, trained: np.ndarray, kinds: dict[str, bool]) -> Iterator[tuple[np.ndarray, bool]]:
    """All rows, and whether those of the chunk are float32 numbers: by turns."""
    random = np.random.default_rng(7)
    boundary, made, narrow = count // BOUNDARY, 0, False
    parts = [("boundary", boundary), ("random", count - boundary)]
    for what, total in parts:
        for start in range(0, total, CHUNK // 2):
            size = min(CHUNK // 2, total - start)
            if what == "boundary":
                # With each seed other rows, from other starts: what was probed is another node's turn.
                rows = boundary_rows(forest, count=size, seed=made, around=trained)
            else:
                rows = rows_like_training(random, size, **kinds)
            made, narrow = made + 1, not narrow
            if narrow:
                with np.errstate(over="ignore"):
                    rounded = rows.astype(np.float32).astype(np.float64)
                rows = np.where(np.isinf(rounded) & np.isfinite(rows), rows, rounded)
            yield rows, narrow


# --- the ONNX files ---


def run_of(path: Path, names: tuple[str, str]) -> Run:
    """A function that runs a file; `names`: its outputs for labels (none of a regressor) and numbers."""
    settings = onnxruntime.SessionOptions()
    # With several threads ONNX Runtime adds up some batches in another order than from the first tree to the last.
    settings.intra_op_num_threads = THREADS
    settings.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    (taken,) = session.get_inputs()
    dtype = np.float32 if taken.type == "tensor(float)" else np.float64
    wanted = [name for name in names if name]

    def run(rows: np.ndarray) -> Outputs:
        with np.errstate(over="ignore"):
            answers = dict(zip(wanted, session.run(wanted, {taken.name: rows.astype(dtype)}), strict=True))
        return {"numbers": answers[names[1]].reshape(len(rows), -1)} | (
            {"label": answers[names[0]]} if names[0] else {}
        )

    return run


def stock(library: str, model: Any, task: str, folder: Path) -> Run:
    """The usual converter's file; raises whatever that raises."""
    path = folder / "stock.onnx"
    classifier = task != "regression"
    if library == "CatBoost":
        model.save_model(str(path), format="onnx")
        import onnx

        made = onnx.load(path)
        if classifier:  # a ZipMap makes a list of dictionaries of the probabilities
            (zipped,) = (node for node in made.graph.node if node.op_type == "ZipMap")
            kept = [node for node in made.graph.node if node is not zipped]
            numbers = onnx.helper.make_tensor_value_info(zipped.input[0], onnx.TensorProto.FLOAT, None)
            label = made.graph.output[0]
            del made.graph.node[:], made.graph.output[:]
            made.graph.node.extend(kept)
            made.graph.output.extend([label, numbers])
            onnx.save(made, path)
    elif library in ("LightGBM", "XGBoost"):
        import onnxmltools
        from onnxmltools.convert.common.data_types import FloatTensorType

        convert = getattr(onnxmltools, f"convert_{library.lower()}")
        extra = {"zipmap": False} if library == "LightGBM" else {}
        made = convert(model, initial_types=[("input", FloatTensorType([None, FEATURES]))], target_opset=15, **extra)
        path.write_bytes(made.SerializeToString())
    else:
        from skl2onnx import to_onnx

        made = to_onnx(model, np.zeros((1, FEATURES), np.float32), options={"zipmap": False} if classifier else None)
        path.write_bytes(made.SerializeToString())
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    outputs = [output.name for output in session.get_outputs()]
    return run_of(path, (outputs[0], outputs[1]) if classifier else ("", outputs[0]))


# --- the comparison ---


@dataclass
class Tally:
    narrow: bool = False
    stock: bool = False
    flips: int = 0
    flips_of_float32: int = 0
    beyond: int = 0
    worst: float = 0.0
    seconds: float = 0.0
    missing: str = ""

    def add(self, wanted: Outputs, got: Outputs, float32_rows: bool) -> None:
        if "label" in wanted:
            flips = int(np.count_nonzero(got["label"] != wanted["label"]))
            self.flips += flips
            self.flips_of_float32 += flips * float32_rows
        reference, numbers = wanted["numbers"], got["numbers"].astype(wanted["numbers"].dtype)
        with np.errstate(invalid="ignore"):
            size = np.maximum(1, np.abs(reference))
            off = np.abs(numbers.astype(np.float64) - reference)
            if self.narrow and not self.stock:
                off, limit = off / np.spacing(size), 4.0
            else:
                off, limit = off / size, 1e-5 if self.stock else 1e-12
        off = np.where((numbers == reference) | (np.isnan(numbers) & np.isnan(reference)), 0, off)
        off = np.where(np.isnan(off), np.inf, off)
        self.beyond += int(np.count_nonzero((off > limit).any(axis=1)))
        self.worst = max(self.worst, float(off.max(initial=0)))


@dataclass
class Result:
    rows: int = 0
    boundary: int = 0
    ours: Tally = field(default_factory=Tally)
    stock: Tally = field(default_factory=Tally)
    library_seconds: float = 0.0


def answers_of(model: Any, rows: np.ndarray) -> Outputs:
    outputs = outputs_of(model, rows)
    numbers = outputs.get("probabilities", outputs.get("variable"))
    return {"numbers": numbers} | ({"label": outputs["label"]} if "label" in outputs else {})


def timed(tally: Tally, run: Run, rows: np.ndarray) -> Outputs:
    start = time.perf_counter()
    outputs = run(rows)
    tally.seconds += time.perf_counter() - start
    return outputs


def measure(name: str, task: str, mixed: bool, count: int, trees: int, with_stock: bool, folder: Path) -> Result:
    library = LIBRARIES[name]
    kinds = {"missing": mixed and library.missing, "categories": mixed and library.categories}
    random = np.random.default_rng(3)
    trained = rows_like_training(random, TRAINED_ON, **kinds)
    model = library.train(task, kinds["categories"], trained, target_of(task, trained, random), trees)
    tree_model = tree_model_of(model, name)
    assert tree_model is not None
    written = write_trees(tree_model, folder / "ours.onnx")
    ours = run_of(written.path, ("", "variable") if task == "regression" else ("label", "probabilities"))
    result = Result(ours=Tally(library.narrow), stock=Tally(library.narrow, stock=True))
    usual = None
    try:
        usual = stock(name, model, task, folder) if with_stock else None
    except Exception as error:  # whatever a converter raises is its answer
        result.stock.missing = f"refused: {type(error).__name__}"
    for rows, narrow in chunks(tree_model.forest, count, trained, kinds):
        start = time.perf_counter()
        wanted = answers_of(model, rows)
        result.library_seconds += time.perf_counter() - start
        result.rows += len(rows)
        result.ours.add(wanted, timed(result.ours, ours, rows), narrow)
        if usual is not None:
            result.stock.add(wanted, timed(result.stock, usual, rows), narrow)
    result.boundary = count // BOUNDARY
    return result


HEAD = f"{'model':50}{'rows':>11}{'boundary':>10} | {'flips':>7}{'beyond':>9}{'worst':>10}{'s':>6} | "
HEAD += f"{'usual: flips':>13}{'float32 rows':>13}{'beyond':>9}{'worst':>10}{'s':>6} | {'library s':>9}"


def line(what: str, result: Result, with_stock: bool) -> str:
    ours, usual = result.ours, result.stock
    worst = f"{ours.worst:.1f} ulp" if ours.narrow else f"{ours.worst:.1e}"
    text = f"{what:50}{result.rows:>11,}{result.boundary:>10,} | {ours.flips:>7,}{ours.beyond:>9,}{worst:>10}"
    text += f"{ours.seconds:>6.1f} | "
    if usual.missing or not with_stock:
        text += f"{usual.missing:>51}"
    else:
        text += f"{usual.flips:>13,}{usual.flips_of_float32:>13,}{usual.beyond:>9,}{usual.worst:>10.1e}"
        text += f"{usual.seconds:>6.1f}"
    return text + f" | {result.library_seconds:>9.1f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", action="append", choices=LIBRARIES)
    parser.add_argument("--task", action="append", choices=TASKS)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--trees", type=int, default=TREES)
    parser.add_argument("--no-stock", action="store_true")
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    print(HEAD, flush=True)
    bad, peak = 0, 0
    for name in chosen.library or LIBRARIES:
        library = LIBRARIES[name]
        for task in chosen.task or TASKS:
            for mixed in (False, True) if library.missing else (False,):
                what = f"{name} {task}"
                if mixed:
                    what += ", NaN, categories" if library.categories else ", NaN"
                with tempfile.TemporaryDirectory() as folder:
                    result = measure(name, task, mixed, chosen.rows, chosen.trees, not chosen.no_stock, Path(folder))
                bad += result.ours.flips + result.ours.beyond
                print(line(what, result, not chosen.no_stock), flush=True)
        before, peak = peak, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(f"peak memory after {name}: {peak} MiB (before: {before})", flush=True)
    print(f"mlconvert: {bad} rows differ")
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
