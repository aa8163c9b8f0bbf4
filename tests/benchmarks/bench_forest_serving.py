"""One row through ONNX Runtime on one thread: files of mlconvert beside those of the stock converters, in one run.

    python tests/benchmarks/bench_forest_serving.py [--rounds N]

LightGBM with 500 and with 100 trees of 31 leaves (stock: onnxmltools), and scikit-learn's RandomForestClassifier of 100
trees of depth 20 (stock: skl2onnx). Microseconds, the median over all rounds, in which all take turns of 100 rows:

    run      session.run
    bound    run_with_iobinding, into memory that is there already
    python   predict_proba of the library's own class, given a data frame, and given an array: at least 20 x `run`

The stock files compute in float32, those of mlconvert in double. The same latency as the stock one is asked for.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from mlconvert.forests.estimators import tree_model_of
from mlconvert.forests.onnx_file import write_trees

FEATURES, ROWS, TURN = 30, 20_000, 100
NUMPY = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int64)": np.int64}


def models() -> dict[str, Any]:
    """Name -> an estimator that is not fitted."""
    from lightgbm import LGBMClassifier
    from sklearn.ensemble import RandomForestClassifier

    return {
        "lightgbm, 500 trees of 31 leaves": LGBMClassifier(n_estimators=500, num_leaves=31, n_jobs=1, verbose=-1),
        "lightgbm, 100 trees of 31 leaves": LGBMClassifier(n_estimators=100, num_leaves=31, n_jobs=1, verbose=-1),
        "random forest, 100 trees of depth 20": RandomForestClassifier(100, max_depth=20, random_state=0),
    }


def fitted(model: Any, *, frame: bool) -> Any:
    """A copy of an estimator, fitted to an array or to a data frame."""
    from sklearn.base import clone

    generator = np.random.default_rng(0)
    rows = generator.normal(size=(ROWS, FEATURES))
    labels = (rows[:, :5].sum(axis=1) + generator.normal(size=ROWS) > 0).astype(int)
    return clone(model).fit(data_frame(rows) if frame else rows, labels)


def data_frame(rows: np.ndarray) -> Any:
    import pandas as pd

    return pd.DataFrame(rows, columns=[f"feature{index}" for index in range(FEATURES)])


def stock(model: Any, path: Path) -> None:
    import onnxmltools.convert.common.data_types
    import skl2onnx.common.data_types

    shape = [None, FEATURES]
    if hasattr(model, "booster_"):
        types = [("input", onnxmltools.convert.common.data_types.FloatTensorType(shape))]
        made = onnxmltools.convert_lightgbm(model, initial_types=types, target_opset=15, zipmap=False)
    else:
        types = [("input", skl2onnx.common.data_types.FloatTensorType(shape))]
        made = skl2onnx.to_onnx(model, initial_types=types, options={"zipmap": False})
    path.write_bytes(made.SerializeToString())


def runs_of(path: Path) -> tuple[Callable[[np.ndarray], Any], Callable[[np.ndarray], Any]]:
    """Two functions of one row, float64 [1, F]: session.run, and run_with_iobinding."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (taken,) = session.get_inputs()
    names = [output.name for output in session.get_outputs()]
    held = onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros((1, FEATURES), NUMPY[taken.type]))
    binding = session.io_binding()
    binding.bind_ortvalue_input(taken.name, held)
    for output in session.get_outputs():
        shape = [axis if isinstance(axis, int) else 1 for axis in output.shape]
        value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, NUMPY[output.type])
        binding.bind_ortvalue_output(output.name, value)

    def bound(row: np.ndarray) -> None:
        held.update_inplace(row)
        session.run_with_iobinding(binding)

    return lambda row: session.run(names, {taken.name: row}), bound


def in_turns(functions: dict[str, Callable[[Any], Any]], rounds: int) -> dict[str, float]:
    """The median microseconds of each, for one row; those called "... 32" take float32, "... frame" a data frame."""
    generator = np.random.default_rng(1)
    times: dict[str, list[int]] = {name: [] for name in functions}
    for turn in range(rounds + 1):
        rows = generator.normal(size=(TURN, 1, FEATURES))
        kinds = {"32": list(rows.astype(np.float32)), "frame": [data_frame(row) for row in rows]}
        for name, function in functions.items():
            for row in kinds.get(name.split()[-1], rows):
                began = time.perf_counter_ns()
                function(row)
                if turn:  # the first is to warm up
                    times[name].append(time.perf_counter_ns() - began)
    return {name: statistics.median(found) / 1e3 for name, found in times.items()}


def report(title: str, model: Any, rounds: int, folder: Path) -> None:
    ours, theirs = folder / "ours.onnx", folder / "stock.onnx"
    plain = fitted(model, frame=False)
    write_trees(tree_model_of(plain, title), ours)
    stock(plain, theirs)
    functions = dict(zip(("run", "bound"), runs_of(ours), strict=True))
    functions |= dict(zip(("stock run 32", "stock bound 32"), runs_of(theirs), strict=True))
    found = in_turns(functions, rounds)
    own = {"a frame": fitted(model, frame=True).predict_proba, "an array": plain.predict_proba}
    python = in_turns(own, max(1, rounds // 10))
    print(title)
    for kind in ("run", "bound"):
        mine, other = found[kind], found[f"stock {kind} 32"]
        print(f"    {kind}: {mine:.1f} us, stock {other:.1f} us: {mine / other:.2f} of it (at most 1)")
    for given, slow in python.items():
        print(f"    python, given {given}: {slow:.0f} us, {slow / found['run']:.0f} x (at least 20)")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=30)
    rounds = parser.parse_args().rounds
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as name:
        for title, model in models().items():
            report(title, model, rounds, Path(name))


if __name__ == "__main__":
    main()
