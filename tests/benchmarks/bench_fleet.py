"""A fleet of two machines against one: 24 steps, at least 1.7 times the speed.

    python tests/benchmarks/bench_fleet.py

The machines are simulated, of one processor each, on this computer. A step of the plug-in in tests/plugin waits for a
second, as one that builds an engine waits for its GPU: what is measured is how well a fleet keeps its machines at
work, with all that it costs to send, store and fetch. Run it when nothing else is running.
"""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STEPS, SECONDS, LIMIT = 24, 1.0, 1.7


def load_simulation():
    path = ROOT / "tests" / "fleet" / "simulated_cluster.py"
    spec = importlib.util.spec_from_file_location("simulated_cluster", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def measure(machines: int, folder: Path) -> float:
    simulation = load_simulation()
    folder.mkdir()
    (folder / "scratch").mkdir()
    (folder / "model.toy").write_text("TOY 1\n1 2 3\n")
    targets = {
        f"t{index:02}": {"steps": [{"stamp": {"mark": index, "delay": SECONDS}}], "hardware": "H100", "parity": False}
        for index in range(STEPS)
    }
    (folder / "r.yaml").write_text(json.dumps({"model": "model.toy", "targets": targets}))
    paths = os.pathsep.join((str(ROOT), str(ROOT / "tests" / "plugin")))
    given = {**os.environ, **simulation.ENVIRONMENT, "PYTHONPATH": paths, "MLCONVERT_CACHE": str(folder / "cache")}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with simulation.simulated(["H100"] * machines, port, given, folder / "scratch") as cluster:
        done = subprocess.run(
            [sys.executable, "-m", "mlconvert", "run", "r.yaml", "--on", "ray", "--store", "store", "--json"],
            cwd=folder,
            env={**given, "RAY_ADDRESS": cluster.address},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    seconds: float = json.loads(done.stdout)["seconds"]
    return seconds


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        one, two = (measure(machines, Path(folder) / str(machines)) for machines in (1, 2))
    load = os.getloadavg()[0]
    print(
        f"{STEPS} steps of {SECONDS:g} s: one machine {one:.1f} s, two {two:.1f} s: {one / two:.2f}x (load {load:.1f})"
    )
    return 0 if one / two >= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
