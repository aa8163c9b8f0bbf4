"""What converting a large PyTorch model costs: `python tests/benchmarks/bench_large_torch.py [GIGABYTES]`.

Makes a float32 model of 2.5 GB (a factory and a .safetensors file, in a temporary folder), converts it with mlconvert
in a child process, and with the script that one would write by hand in another; prints both peaks of memory as
multiples of the weights' size, and both times. Fails when mlconvert's peak is above 1.3 x the weights.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LIMIT = 1.3
WIDTH = 4096

FACTORY = """
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

def make():
    return Large()
"""

MAKE_WEIGHTS = """
import sys, torch, safetensors.torch, large
with torch.device("meta"):
    shapes = {name: tensor.shape for name, tensor in large.make().state_dict().items()}
torch.manual_seed(0)
safetensors.torch.save_file({name: torch.randn(shape) * 0.01 for name, shape in shapes.items()}, sys.argv[1])
"""

MLCONVERT = """
import sys, numpy as np
from pathlib import Path
from mlconvert.artifact import Artifact
from mlconvert.converters.torch_to_onnx import convert
source = Artifact("torch", "large.py:make", (Path(sys.argv[1]),))
made = convert(source, Path(sys.argv[2]), samples={"x": np.ones((2, %d), np.float32)})
print(*made.signature.inputs, *made.signature.outputs, sep=" -> ")
"""

BY_HAND = """
import sys, torch, safetensors.torch, large
model = large.make()
model.load_state_dict(safetensors.torch.load_file(sys.argv[1]))
model.eval()
torch.onnx.export(model, (torch.ones(2, %d),), sys.argv[2], dynamo=True, verbose=False, external_data=True,
                  opset_version=18, input_names=["x"], output_names=["output"],
                  dynamic_shapes={"x": {0: torch.export.Dim.DYNAMIC}})
"""


def run(folder: Path, script: str, *arguments: str) -> tuple[float, int]:
    """Seconds and peak resident bytes of a script in a child process."""
    root = str(Path(__file__).resolve().parents[2])
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join([root, str(folder)]), ORT_DISABLE_TELEMETRY="1")
    os.sync()  # or this child waits for what the one before it wrote
    started = time.monotonic()
    process = subprocess.Popen([sys.executable, "-W", "ignore", "-c", script, *arguments], cwd=folder, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"the child ended with status {status}")
    return time.monotonic() - started, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("gigabytes", nargs="?", type=float, default=2.5)
    depth = max(1, round(parser.parse_args().gigabytes * 1e9 / (4 * 4 * WIDTH * WIDTH)))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "large.py").write_text(FACTORY.format(width=WIDTH, depth=depth))
        weights = folder / "weights.safetensors"
        run(folder, MAKE_WEIGHTS, str(weights))
        size = weights.stat().st_size
        print(f"weights: {size / 1e9:.2f} GB in {depth} blocks")
        base = run(folder, "import torch.onnx, mlconvert")[1]
        print(f"importing torch alone: {base / 1e9:.2f} GB")
        figures = {}
        for title, script in (("mlconvert", MLCONVERT % WIDTH), ("by hand", BY_HAND % WIDTH)):
            out = folder / title.replace(" ", "-")
            out.mkdir()
            seconds, peak = run(folder, script, str(weights), str(out / "model.onnx"))
            written = sum(path.stat().st_size for path in out.iterdir())
            print(f"{title:10} {seconds:6.1f} s   peak {peak / 1e9:5.2f} GB = {peak / size:4.2f} x the weights   "
                  f"wrote {written / 1e9:.2f} GB")  # fmt: skip
            figures[title] = (seconds, peak)
            for path in out.iterdir():
                path.unlink()
        times = figures["mlconvert"][0] / figures["by hand"][0]
        print(f"mlconvert takes {times:.2f} x the time of the script by hand")
        return int(figures["mlconvert"][1] > LIMIT * size)


if __name__ == "__main__":
    sys.exit(main())
