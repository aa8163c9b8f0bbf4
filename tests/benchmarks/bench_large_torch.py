"""What converting a large PyTorch model costs, through the command line, against a script written by hand.

    python tests/benchmarks/bench_large_torch.py [GIGABYTES] [--runs N]

Makes a float32 model of 2.5 GB (a factory and a .safetensors file, in a temporary folder) and runs, in turn,

- `by hand`: a script that builds the model, loads the weights and calls torch.onnx.export;
- `mlconvert convert nets.py:build --weights w.safetensors --to onnx --samples s.npz -o out --no-verify`;
- the same with verification: the source's answers, the result's answers, parity;

each with an empty cache. Prints the peak of memory of each (the largest of its processes, mapped files included, as
`/usr/bin/time` tells it) as a multiple of the weights' size, the seconds, and what the report says of the steps. The
seconds are medians (with them: the least, and the processors'), the peaks the largest of all runs.

Asked for: at most 1.3 x the weights to convert, 1.6 x verified; at most 1.05 x the seconds by hand and 0.6 s. The exit
code is 1 when a peak is above its bound, from 2 GB on: 0.4 GB are torch and its exporter, without any weights. Times
are printed only, since other work on the machine changes them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MLCONVERT = Path(sys.executable).with_name("mlconvert")
FROM = 2e9  # bytes of weights from which on the bounds of memory hold
WIDTH = 4096
ROWS = 16

NETS = """
from torch import nn

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm({width})
        self.up, self.down = nn.Linear({width}, 2 * {width}), nn.Linear(2 * {width}, {width})
    def forward(self, x):
        return x + self.down(nn.functional.gelu(self.up(self.norm(x))))

class Large(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(*(Block() for _ in range({depth})))
    def forward(self, x):
        return self.blocks(x)

def build():
    return Large()
"""

MAKE = f"""
import numpy as np, torch, safetensors.torch, nets
with torch.device("meta"):
    shapes = {{name: tensor.shape for name, tensor in nets.build().state_dict().items()}}
torch.manual_seed(0)
safetensors.torch.save_file({{name: torch.randn(shape) * 0.01 for name, shape in shapes.items()}}, "w.safetensors")
np.savez("s.npz", x=np.random.default_rng(0).normal(size=({ROWS}, {WIDTH})).astype(np.float32))
"""

BY_HAND = f"""
import pathlib, torch, safetensors.torch, nets
model = nets.build()
model.load_state_dict(safetensors.torch.load_file("w.safetensors"))
model.eval()
pathlib.Path("out").mkdir()
torch.onnx.export(model, (torch.ones(2, {WIDTH}),), "out/model.onnx", dynamo=True, verbose=False, external_data=True,
                  opset_version=18, input_names=["x"], output_names=["output"],
                  dynamic_shapes={{"x": {{0: torch.export.Dim.DYNAMIC}}}})
"""


@dataclass(frozen=True)
class Run:
    seconds: float
    processor: float  # seconds, of all cores
    peak: int  # bytes
    read: int  # bytes that the processes asked the system for; what they map and touch is not among them
    written: int
    report: dict[str, Any]


def measured(command: list[str], folder: Path) -> Run:
    """Run a command that must succeed; its output folder and its cache are removed before and after."""
    report = folder / "report.json"
    for left in ("out", "cache"):
        shutil.rmtree(folder / left, ignore_errors=True)
    report.unlink(missing_ok=True)
    environment = dict(os.environ, MLCONVERT_CACHE=str(folder / "cache"), ORT_DISABLE_TELEMETRY="1")
    os.sync()  # or this command waits for what the one before it wrote
    started = time.monotonic()
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        seconds = time.monotonic() - started
        counted = _io(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(command)}\nended with status {status}:\n{(folder / 'log.txt').read_text()}")
    for left in ("out", "cache"):
        shutil.rmtree(folder / left, ignore_errors=True)
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    told = json.loads(report.read_bytes()) if report.exists() else {}
    return Run(seconds, usage.ru_utime + usage.ru_stime, peak, *counted, told)


def _io(pid: int) -> tuple[int, int]:
    """Bytes that a process that has just ended, and the children that it waited for, read and wrote."""
    try:
        lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    except OSError:  # not Linux
        return 0, 0
    counts = dict(line.split(": ") for line in lines)
    return int(counts["rchar"]), int(counts["wchar"])


def _seconds(runs: list[Run]) -> tuple[float, float, float]:
    """Median and least of the wall's seconds, median of the processors'."""
    wall = [run.seconds for run in runs]
    return statistics.median(wall), min(wall), statistics.median(run.processor for run in runs)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gigabytes", nargs="?", type=float, default=2.5)
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    depth = max(1, round(asked.gigabytes * 1e9 / (4 * 4 * WIDTH * WIDTH)))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "nets.py").write_text(NETS.format(width=WIDTH, depth=depth))
        measured([sys.executable, "-c", MAKE], folder)
        size = (folder / "w.safetensors").stat().st_size
        print(f"weights: {size / 1e9:.2f} GB in {depth} blocks; {asked.runs} runs of each")
        base = measured([sys.executable, "-W", "ignore", "-c", "import torch.onnx"], folder).peak
        print(f"importing torch.onnx alone: {base / 1e9:.2f} GB = {base / size:.2f} x")
        convert = [str(MLCONVERT), "convert", "nets.py:build", "--weights", "w.safetensors", "--to", "onnx"]
        convert += ["--samples", "s.npz", "-o", "out", "--report", "report.json"]
        commands = {
            "by hand": ([sys.executable, "-W", "ignore", "-c", BY_HAND], None),
            "--no-verify": ([*convert, "--no-verify"], 1.3),
            "verified": (convert, 1.6),
        }
        runs: dict[str, list[Run]] = {title: [] for title in commands}
        for _ in range(asked.runs):
            for title, (command, _limit) in commands.items():
                runs[title].append(measured(command, folder))
    above = 0
    for title, (_, limit) in commands.items():
        peak = max(run.peak for run in runs[title])
        seconds, least, processor = _seconds(runs[title])
        bound = f" (at most {limit})" if limit else ""
        one = runs[title][0]
        print(f"{title:12} {seconds:6.1f} s (least {least:.1f}, processor {processor:.1f})   "
              f"peak {peak / 1e9:5.2f} GB = {peak / size:4.2f} x the weights{bound}   "
              f"read {one.read / size:.2f} x, wrote {one.written / size:.2f} x")  # fmt: skip
        above += bool(limit and size > FROM and peak > limit * size)
        for step in (row for target in one.report.get("targets", ()) for row in target["steps"]):
            told = step["peak_rss_bytes"]
            print(f"{'':12} step {step['converter']}: {step['seconds']:.1f} s, peak_rss_bytes {told / size:.2f} x")
    mine, theirs = (_seconds(runs[title]) for title in ("--no-verify", "by hand"))
    for what, one, other in zip(("median", "least", "processor"), mine, theirs, strict=True):
        off = one - 1.05 * other - 0.6
        print(f"--no-verify / by hand, {what} seconds: {one / other:.2f} x, {off:+.1f} s from 1.05 x + 0.6 s")
    return int(above > 0)


if __name__ == "__main__":
    sys.exit(main())
