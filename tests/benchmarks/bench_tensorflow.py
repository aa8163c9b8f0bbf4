"""What a SavedModel that mlconvert wrote costs to run and to make, side by side with others in one run.

    python tests/benchmarks/bench_tensorflow.py [--rounds N] [--gigabytes G] [PART …]

Parts:

- `resnet18`, `bert`: the SavedModel, in a process that imports TensorFlow and numpy alone, against ONNX Runtime and
  against the same network written natively in Keras (in its own layout, with the same sizes). Each is a process of its
  own, and they take turns; the best of a turn's calls counts, and the median of the turns. All is done twice, with new
  processes, and the better half counts: where others use the processors, too, one of a few processes stays twice as
  slow as it could be for as long as it lives. At most 1.3 x whichever of the two is slower.
- `lightgbm`: 100 trees of 31 leaves on 1000 rows against ONNX Runtime: at most 5 x.
- `large`: converting a model of 2.5 GB, external data, by `mlconvert convert … --no-verify`: at most 30 s, and a peak
  of memory (the largest of its processes, mapped files included) of at most 2.3 x its size, from 2 GB on.
- `resnet18` and `bert` also tell the seconds of their conversions: ResNet18 at most 5 s.

Answers are compared first. The exit code is 1 when a bound is missed. Seconds depend on the machine and on what else it
does; the ratios hardly.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
FIXTURES = HERE.parents[1] / "fixtures"
MLCONVERT = Path(sys.executable).with_name("mlconvert")
ENVIRONMENT = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "ORT_DISABLE_TELEMETRY": "1", "KERAS_BACKEND": "tensorflow"}
TURN = 0.6  # seconds that each takes at a time
STARTS = 2
SLOWER, FOREST, LARGE_SECONDS, LARGE_PEAK, RESNET_SECONDS = 1.3, 5.0, 30.0, 2.3, 5.0
FROM = 2e9  # bytes from which on the bound of memory holds: TensorFlow alone takes 0.5 GB
WIDTH = 4096  # of the large model's layers

# --- what answers, each in a process of its own: it prints "ready", and for each line that it reads its seconds ---

TURNS = """
import json, sys, time
batch = dict(np.load(sys.argv[2]))
call = prepare(batch)
np.savez(sys.argv[3], **call())
print("ready", flush=True)
for line in sys.stdin:
    times, until = [], time.perf_counter() + float(line)
    while not times or time.perf_counter() < until:
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    print(min(times), flush=True)
"""

SAVED_MODEL = """
import numpy as np, tensorflow as tf
def prepare(batch):
    global model
    model = tf.saved_model.load(sys.argv[1])
    signature = model.signatures["serving_default"]
    return lambda: {name: value.numpy() for name, value in
                    signature(**{name: tf.constant(value) for name, value in batch.items()}).items()}
"""

ONNX_RUNTIME = """
import numpy as np, onnxruntime
def prepare(batch):
    session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda: dict(zip(names, session.run(names, batch)))
"""

KERAS_RESNET18 = """
import numpy as np, tensorflow as tf, keras
from keras import layers
def conv(x, width, kernel, stride, relu=True):
    if kernel > 1:
        x = layers.ZeroPadding2D(kernel // 2)(x)
    x = layers.BatchNormalization()(layers.Conv2D(width, kernel, stride, use_bias=False)(x))
    return layers.ReLU()(x) if relu else x
def network():
    image = keras.Input((224, 224, 3))
    x = layers.MaxPooling2D(3, 2, "same")(conv(image, 64, 7, 2))
    for stage in range(4):
        for block in range(2):
            stride = 2 if block == 0 and stage else 1
            y = conv(conv(x, 64 << stage, 3, stride), 64 << stage, 3, 1, False)
            x = layers.ReLU()(layers.Add()([conv(x, 64 << stage, 1, 2, False) if stride == 2 else x, y]))
    return keras.Model(image, layers.Dense(1000)(layers.GlobalAveragePooling2D()(x)))
def prepare(batch):
    image = np.ascontiguousarray(batch["image"].transpose(0, 2, 3, 1))
    model = network()
    run = tf.function(lambda x: model(x, training=False), input_signature=[tf.TensorSpec([None, 224, 224, 3])])
    return lambda: {"logits": run(tf.constant(image)).numpy()}
"""

KERAS_BERT = """
import numpy as np, tensorflow as tf, keras
from keras import layers
def network(hidden=768, depth=12, heads=12, vocabulary=30522, inner=3072, longest=512):
    names = ("input_ids", "attention_mask", "token_type_ids")
    ids, mask, kinds = (keras.Input((None,), dtype="int64", name=name) for name in names)
    places = keras.ops.cumsum(keras.ops.ones_like(ids), axis=1) - 1
    x = layers.Embedding(vocabulary, hidden)(ids) + layers.Embedding(2, hidden)(kinds)
    x = layers.LayerNormalization(epsilon=1e-12)(x + layers.Embedding(longest, hidden)(places))
    seen = keras.ops.cast(keras.ops.expand_dims(mask, 1), "bool")
    for _ in range(depth):
        y = layers.MultiHeadAttention(heads, hidden // heads)(x, x, attention_mask=seen)
        x = layers.LayerNormalization(epsilon=1e-12)(x + y)
        y = layers.Dense(hidden)(layers.Dense(inner, activation="gelu")(x))
        x = layers.LayerNormalization(epsilon=1e-12)(x + y)
    return keras.Model([ids, mask, kinds], [x, layers.Dense(hidden, activation="tanh")(x[:, 0])])
def prepare(batch):
    model = network()
    given = [batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")]
    run = tf.function(lambda *x: model(list(x), training=False),
                      input_signature=[tf.TensorSpec([None, None], tf.int64)] * 3)
    return lambda: dict(zip(("states", "pooled"), (value.numpy() for value in run(*map(tf.constant, given)))))
"""


@dataclass
class Runner:
    """A process that answers in turns."""

    process: subprocess.Popen[str]
    turns: list[float]

    @staticmethod
    def start(program: str, model: Path, batch: Path, answer: Path) -> Runner:
        command = [
            sys.executable,
            "-W",
            "ignore",
            "-c",
            f"import sys\n{program}{TURNS}",
            str(model),
            str(batch),
            str(answer),
        ]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=ENVIRONMENT,
        )
        assert process.stdout
        if process.stdout.readline().strip() != "ready":
            process.wait()
            sys.exit(subprocess.run(command, capture_output=True, text=True, input="", env=ENVIRONMENT).stderr[-3000:])
        return Runner(process, [])

    def turn(self) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{TURN}\n")
        self.process.stdin.flush()
        self.turns.append(float(self.process.stdout.readline()))

    def stop(self) -> float:
        """Milliseconds: the median of all turns."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()
        return 1e3 * statistics.median(self.turns) if self.turns else 0.0


def in_turns(
    runners: dict[str, tuple[str, Path]], inputs: dict[str, np.ndarray], rounds: int, folder: Path
) -> dict[str, float]:
    """Name -> milliseconds, and the first answers as NAME.npz in the folder."""
    batch = folder / "batch.npz"
    np.savez(batch, **inputs)
    found: dict[str, float] = {}
    for _ in range(STARTS if rounds else 1):
        started = {name: Runner.start(*asked, batch, folder / f"{name}.npz") for name, asked in runners.items()}
        for _ in range(rounds):
            for runner in started.values():
                runner.turn()
        for name, runner in started.items():
            found[name] = min(found.get(name, float("inf")), runner.stop())
    return found


def error(folder: Path) -> float:
    """The SavedModel's largest error against ONNX Runtime, relative to the largest value of its output."""
    with np.load(folder / "saved-model.npz") as mine, np.load(folder / "onnxruntime.npz") as theirs:
        assert set(mine) == set(theirs)
        found = [np.abs(mine[name] - theirs[name]).max() / max(np.abs(theirs[name]).max(), 1e-30) for name in mine]
    return float(max(found))


# --- conversion, by the command line ---


@dataclass(frozen=True)
class Conversion:
    seconds: float
    busy: float  # seconds of processors, in all its processes: what a machine that does nothing else needs at least
    peak: int  # bytes


def converted(source: Path, target: Path, folder: Path) -> Conversion:
    log = folder / "log.txt"
    shutil.rmtree(target, ignore_errors=True)
    command = [str(MLCONVERT), "convert", str(source), "--to", "saved-model", "-o", str(target), "--no-verify"]
    cache = tempfile.mkdtemp(dir=folder)
    os.sync()  # or this command waits for what was written before it
    began = time.monotonic()
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, stdout=stream, stderr=stream, env={**ENVIRONMENT, "MLCONVERT_CACHE": cache}
        )  # fmt: skip
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    shutil.rmtree(cache, ignore_errors=True)
    if status:
        sys.exit(f"{' '.join(command)}\nended with status {status}:\n{log.read_text()}")
    busy = usage.ru_utime + usage.ru_stime
    return Conversion(seconds, busy, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))


# --- the table ---


class Table:
    def __init__(self) -> None:
        self.missed = 0
        print(f"{'what':42} {'is':>10} {'bound':>8}  verdict")

    def row(self, what: str, value: float, bound: float | None, unit: str = "x") -> None:
        verdict = "" if bound is None else "ok" if value <= bound else "MISSED"
        self.missed += verdict == "MISSED"
        told = "" if bound is None else f"{bound:g} {unit}"
        print(f"{what:42} {value:8.2f} {unit} {told:>8}  {verdict}", flush=True)


# --- the parts ---


def fixtures_module(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"fixtures_{name}", FIXTURES / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def network(name: str, folder: Path, rounds: int, table: Table) -> None:
    """ResNet18 or BERT, full size."""
    exports = fixtures_module("exports")
    made = exports.architectures()
    rows = {row.name: row for row in exports.table()}
    if name == "resnet18":
        axes, logits = ("batch", 3, 224, 224), ("batch", 1000)
        row = replace(rows["resnet18"], build=made.resnet18, inputs={"image": axes}, outputs={"logits": logits})
        keras, cases = KERAS_RESNET18, [{"batch": 1}, {"batch": 8}]
    else:
        row = replace(
            rows["bert"], highest=30522, build=lambda: made.bert(768, 12, 12, 30522, 3072),
            outputs={"states": ("batch", "sequence", 768), "pooled": ("batch", 768)},
        )  # fmt: skip
        keras, cases = KERAS_BERT, [{"batch": 1, "sequence": 128}, {"batch": 4, "sequence": 64}]
    source = exports.export(row, folder)
    conversion = sorted((converted(source, folder / name, folder) for _ in range(3)), key=lambda one: one.seconds)[1]
    bound = RESNET_SECONDS if name == "resnet18" else None
    print(f"{name}: conversion took {conversion.busy:.1f} s of the processors")
    table.row(f"{name}: conversion, the median of 3", conversion.seconds, bound, "s")
    runners = {
        "saved-model": (SAVED_MODEL, folder / name),
        "onnxruntime": (ONNX_RUNTIME, source),
        "keras": (keras, source),
    }
    for lengths in cases:
        found = in_turns(runners, exports.samples(row, lengths), rounds, folder)
        case = f"{name} {' x '.join(map(str, lengths.values()))}"
        times = ", ".join(f"{who} {milliseconds:.1f} ms" for who, milliseconds in found.items())
        print(f"{case}: {times}; relative error {error(folder):.1e}")
        for other in ("onnxruntime", "keras"):
            table.row(f"{case}: saved-model / {other}", found["saved-model"] / found[other], None)
        slower = max(found["onnxruntime"], found["keras"])
        table.row(f"{case}: saved-model / the slower one", found["saved-model"] / slower, SLOWER)


def lightgbm(folder: Path, rounds: int, table: Table) -> None:
    import lightgbm as library

    from mlconvert.forests.estimators import tree_model_of
    from mlconvert.forests.onnx_file import write_trees

    random = np.random.default_rng(0)
    rows = random.normal(size=(20_000, 30))
    labels = (rows[:, :5].sum(axis=1) + random.normal(size=len(rows)) > 0).astype(int)
    model = library.LGBMClassifier(n_estimators=100, num_leaves=31, n_jobs=1, verbose=-1).fit(rows, labels)
    source = folder / "forest.onnx"
    write_trees(tree_model_of(model, "forest"), source)
    table.row("lightgbm 100 x 31: conversion", converted(source, folder / "forest", folder).seconds, None, "s")
    runners = {"saved-model": (SAVED_MODEL, folder / "forest"), "onnxruntime": (ONNX_RUNTIME, source)}
    name = _only_input(source)
    for count in (1000, 1):
        found = in_turns(runners, {name: random.normal(size=(count, 30))}, rounds, folder)
        times = ", ".join(f"{who} {milliseconds:.2f} ms" for who, milliseconds in found.items())
        print(f"lightgbm 100 x 31, {count} rows: {times}; relative error {error(folder):.1e}")
        bound = FOREST if count == 1000 else None
        table.row(f"lightgbm, {count} rows: / onnxruntime", found["saved-model"] / found["onnxruntime"], bound)


def _only_input(path: Path) -> str:
    import onnx

    (value,) = onnx.load(str(path)).graph.input
    return str(value.name)


def large(folder: Path, gigabytes: float, table: Table) -> None:
    source = folder / "large.onnx"
    size = write_large(source, gigabytes)
    conversion = converted(source, folder / "large", folder)
    print(f"large: {size / 1e9:.2f} GB, {conversion.busy:.1f} s of the processors, peak {conversion.peak / 1e9:.2f} GB")
    table.row("large: conversion", conversion.seconds, LARGE_SECONDS, "s")
    table.row("large: peak memory", conversion.peak / size, LARGE_PEAK if size > FROM else None)
    batch = {"x": np.random.default_rng(0).normal(size=(4, WIDTH)).astype(np.float32)}
    runners = {"saved-model": (SAVED_MODEL, folder / "large"), "onnxruntime": (ONNX_RUNTIME, source)}
    in_turns(runners, batch, 0, folder)
    print(f"large: relative error {error(folder):.1e}")


def write_large(path: Path, gigabytes: float) -> int:
    """Blocks of LayerNormalization, Gemm, Gelu, Gemm and Add, the weights in a file of their own; gives its size."""
    import onnx
    from onnx import TensorProto, helper

    random = np.random.default_rng(0)
    nodes, tensors = [], []
    with path.with_suffix(".data").open("wb") as stream:

        def weight(name: str, *shape: int, scale: float = 0.01) -> str:
            tensor = TensorProto(name=name, dims=shape, data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
            place = stream.tell()
            values = random.standard_normal(shape, dtype=np.float32) * np.float32(scale)
            stream.write(values)
            facts = {"location": path.with_suffix(".data").name, "offset": place, "length": values.nbytes}
            for key, value in facts.items():
                tensor.external_data.add(key=key, value=str(value))
            tensors.append(tensor)
            return name

        depth, at = max(1, round(gigabytes * 1e9 / (16 * WIDTH * WIDTH))), "x"
        for block in range(depth):
            up, down = (WIDTH, 2 * WIDTH), (2 * WIDTH, WIDTH)
            new = f"x{block}" if block < depth - 1 else "y"
            norm = [weight(f"scale{block}", WIDTH), weight(f"shift{block}", WIDTH)]
            nodes.append(helper.make_node("LayerNormalization", [at, *norm], [f"n{block}"]))
            pair = [weight(f"up{block}", *up), weight(f"up_bias{block}", up[1])]
            nodes.append(helper.make_node("Gemm", [f"n{block}", *pair], [f"u{block}"]))
            nodes.append(helper.make_node("Gelu", [f"u{block}"], [f"g{block}"]))
            pair = [weight(f"down{block}", *down[::-1]), weight(f"down_bias{block}", down[1])]
            nodes.append(helper.make_node("Gemm", [f"g{block}", *pair], [f"d{block}"], transB=1))
            nodes.append(helper.make_node("Add", [at, f"d{block}"], [new]))
            at = new
        size = stream.tell()
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", WIDTH]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "large", ends[:1], ends[1:], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), str(path))
    return size


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--gigabytes", type=float, default=2.5)
    asked = parser.parse_args()
    parts: dict[str, Callable[[Path, Table], None]] = {
        "resnet18": lambda folder, table: network("resnet18", folder, asked.rounds, table),
        "bert": lambda folder, table: network("bert", folder, asked.rounds, table),
        "lightgbm": lambda folder, table: lightgbm(folder, asked.rounds, table),
        "large": lambda folder, table: large(folder, asked.gigabytes, table),
    }
    if unknown := set(asked.parts) - set(parts):
        parser.error(f"no part is called {', '.join(sorted(unknown))}: they are {', '.join(parts)}")
    table = Table()
    for name in asked.parts or parts:
        with tempfile.TemporaryDirectory() as folder:
            parts[name](Path(folder), table)
    return int(table.missed > 0)


if __name__ == "__main__":
    sys.exit(main())
