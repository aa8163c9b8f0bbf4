"""`mlconvert check` of a repository with 200 engines, Python's start included: at most 1 second, no framework imported.

    python tests/benchmarks/bench_check.py

The engines have the header of a real plan and 1 MiB behind it, which is not read; each has a record and a
configuration. Half of them is held against the machine that built them, half against another one, of eight GPUs.
"""

from __future__ import annotations

import json
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mlconvert import records
from mlconvert.artifact import Artifact, file_sha256
from mlconvert.hardware.fingerprint import from_json

ENGINES, RUNS, LIMIT = 200, 5, 1.0
FINGERPRINTS = Path(__file__).parents[1] / "hardware" / "fingerprints"
HEAVY = ("google.protobuf", "numpy", "onnx", "onnxruntime", "tensorrt", "torch", "tritonclient")
BODY = bytes(1 << 20)
COUNTED = """
import sys
from mlconvert.cli import main
status = main(sys.argv[1:])
print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)
sys.exit(status)
"""


def make_repository(folder: Path, machine: dict[str, object]) -> Path:
    version = tuple(map(int, machine["tensorrt"]["version"].split(".")))  # type: ignore[index]
    head = b"ftrt" + struct.pack("<IIIQ", 0, 1, 0, 56 + len(BODY)) + bytes((*version, 2, 0, 0, 0))
    plan = head + struct.pack("<4sIQQ", b"NGNE", 0, 56, len(BODY)) + BODY
    for number in range(ENGINES):
        model = folder / "models" / f"model-{number}"
        path = model / "1" / "model.plan"
        path.parent.mkdir(parents=True)
        path.write_bytes(plan)
        artifact = Artifact("tensorrt", str(path), (path,))
        record = {
            "schema": records.SCHEMA,
            "path": path.name,
            "format": "tensorrt",
            "files": records.described_files(artifact, {path.name: file_sha256(path)}),
            "facts": {"hardware": {"kind": "tensorrt", "gpu": 0, "flags": ["TF32"]}},
            "fingerprint": machine,
        }
        records.write_json(path.parent / records.IN_FOLDER, record)
        (model / "config.pbtxt").write_text(
            f'name: "{model.name}"\nbackend: "tensorrt"\nmax_batch_size: 8\n'
            'input { name: "x" data_type: TYPE_FP32 dims: [ 4 ] }\n'
            'output { name: "y" data_type: TYPE_FP32 dims: [ 4 ] }\n'
            "instance_group [ { count: 1 kind: KIND_GPU } ]\n"
        )
    return folder / "models"


def main() -> int:
    machine = json.loads((FINGERPRINTS / "h100.json").read_text())
    eight = {**machine, "gpus": [machine["gpus"][0]] * 8}
    from_json(eight, where="h100.json")  # that it is one
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        repository = make_repository(folder, machine)
        (folder / "eight.json").write_text(json.dumps(eight))
        # As it is where it was installed: the code is compiled before, by the first run that is not counted.
        surroundings = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        surroundings["PYTHONPYCACHEPREFIX"] = str(folder / "compiled")
        worst = 0.0
        for told, on, expected in (
            ("the same machine", folder / "eight.json", 0),
            ("another machine", FINGERPRINTS / "a100.json", 7),
        ):
            taken = []
            for _ in range(RUNS + 1):
                command = [sys.executable, "-c", COUNTED.format(heavy=HEAVY), "check", str(repository), "--on", str(on)]
                began = time.monotonic()
                done = subprocess.run(command, capture_output=True, text=True, env=surroundings)
                taken.append(time.monotonic() - began)
                assert (done.returncode, done.stderr.strip()) == (expected, "[]"), done.stderr
            worst = max(worst, statistics.median(taken[1:]))
            sys.stdout.write(f"check of {ENGINES} engines against {told}: {statistics.median(taken[1:]):.2f} s\n")
        sys.stdout.write(f"limit {LIMIT:g} s; imported of {', '.join(HEAVY)}: none\n")
    return 0 if worst <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
