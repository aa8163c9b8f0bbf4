"""What mlconvert costs on top of the libraries that it calls, as ratios in one run.

    python tests/benchmarks/bench_cli.py

1. `mlconvert --help` and `--version` against `python -c "import typer, rich"`: at most 1.5 x.
2. `mlconvert convert … --no-verify` against a hand-written script that calls the same library, seconds and peak
   memory: at most 1.05 x + 0.6 s, and the same peak memory.
3. `mlconvert run RECIPE` with nothing changed: at most 0.5 s, every step cached.

Each figure is the median of several runs, taken in turn, so that a machine that slows down slows both sides.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
MLCONVERT = Path(sys.executable).with_name("mlconvert")
RUNS = 7

BY_HAND = {
    "lightgbm (500 trees)": (
        "model.txt",
        """
        import lightgbm, onnxmltools
        from onnxmltools.convert.common.data_types import FloatTensorType
        booster = lightgbm.Booster(model_file="model.txt")
        made = onnxmltools.convert_lightgbm(
            booster, initial_types=[("input", FloatTensorType([None, booster.num_feature()]))],
            target_opset=15, zipmap=False)
        onnxmltools.utils.save_model(made, "by_hand.onnx")
        """,
    ),
    "exported program (digits)": (
        "digits.pt2",
        """
        import torch
        program = torch.export.load("digits.pt2")
        torch.onnx.export(program, (), verbose=False).save("by_hand.onnx")
        """,
    ),
}


def measured(command: list[str], folder: Path) -> tuple[float, int]:
    """Wall seconds and peak resident bytes (the largest process) of a command that must succeed."""
    environment = dict(os.environ, MLCONVERT_CACHE=str(folder / "cache"), ORT_DISABLE_TELEMETRY="1")
    code = textwrap.dedent("""
        import json, resource, subprocess, sys, time
        began = time.monotonic()
        done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        seconds = time.monotonic() - began
        sys.stderr.buffer.write(done.stderr if done.returncode else b"")
        print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024]))
        sys.exit(done.returncode)
    """)
    told = subprocess.run(
        [sys.executable, "-c", code, *command], cwd=folder, env=environment, check=True, stdout=subprocess.PIPE
    )
    seconds, peak = json.loads(told.stdout)
    return seconds, peak


def in_turn(first: list[str], second: list[str], folder: Path, runs: int = RUNS, fresh: str | None = None):
    """The medians of (seconds, peak) of two commands, run in turn after one warm-up each."""
    pairs = []
    for number in range(runs + 1):
        row = []
        for command in (first, second):
            if fresh:
                subprocess.run(["rm", "-rf", fresh], cwd=folder, check=True)
            row.append(measured(command, folder))
        if number:
            pairs.append(row)
    return [[statistics.median(pair[side][what] for pair in pairs) for what in (0, 1)] for side in (0, 1)]


def bench_start(folder: Path) -> None:
    for option in ("--help", "--version"):
        ours, base = in_turn([str(MLCONVERT), option], [sys.executable, "-c", "import typer, rich"], folder, 15)
        ratio = ours[0] / base[0]
        print(f"mlconvert {option}: {ours[0]:.3f} s, import typer, rich: {base[0]:.3f} s; {ratio:.2f} x (at most 1.5)")


def train_lightgbm(path: Path) -> None:
    import lightgbm
    import numpy as np

    generator = np.random.default_rng(0)
    features = generator.normal(size=(20_000, 30))
    labels = (features[:, :5].sum(axis=1) + generator.normal(size=20_000) > 0).astype(int)
    parameters = {"objective": "binary", "num_leaves": 31, "verbose": -1, "num_threads": 2}
    lightgbm.train(parameters, lightgbm.Dataset(features, labels), 500).save_model(path)


def bench_convert(folder: Path) -> None:
    train_lightgbm(folder / "model.txt")
    subprocess.run(
        [sys.executable, ROOT / "fixtures/make.py", "digits", "-o", folder], check=True, stdout=subprocess.DEVNULL
    )
    for name, (model, script) in BY_HAND.items():
        (folder / "by_hand.py").write_text(textwrap.dedent(script))
        ours = [str(MLCONVERT), "convert", model, "--to", "onnx", "--no-verify", "-o", "made"]
        by_hand = [sys.executable, "by_hand.py"]
        subprocess.run(["rm", "-rf", "made"], cwd=folder, check=True)
        mine, theirs = in_turn(["sh", "-c", f"rm -rf made cache && {' '.join(ours)}"], by_hand, folder, RUNS)
        bound = 1.05 * theirs[0] + 0.6
        print(
            f"convert, {name}: {mine[0]:.2f} s, by hand {theirs[0]:.2f} s; {mine[0] / theirs[0]:.2f} x, "
            f"{mine[0] - bound:+.2f} s from the bound of 1.05 x + 0.6 s; "
            f"peak memory {mine[1] >> 20} MiB against {theirs[1] >> 20} MiB, {mine[1] / theirs[1]:.2f} x"
        )


def bench_unchanged(folder: Path) -> None:
    subprocess.run([sys.executable, ROOT / "fixtures/make.py", "breast_cancer"], check=True, stdout=subprocess.DEVNULL)
    command = [str(MLCONVERT), "run", str(ROOT / "recipes/breast_cancer.yaml"), "--report", "report.json"]
    times = [measured(command, folder)[0] for _ in range(RUNS + 1)]
    report = json.loads((folder / "report.json").read_text())
    steps = [step for target in report["targets"] for step in target["steps"]]
    assert all(step["cached"] for step in steps), steps
    print(
        f"run with nothing changed: {statistics.median(times[1:]):.2f} s (at most 0.5), all {len(steps)} steps cached; "
        f"the first run: {times[0]:.2f} s"
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bench_start(folder)
        bench_unchanged(folder)
        bench_convert(folder)
    print(f"peak memory of the benchmark itself: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB")


if __name__ == "__main__":
    began = time.monotonic()
    main()
    print(f"{time.monotonic() - began:.0f} s")
