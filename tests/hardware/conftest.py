"""Machines and plans that tests of hardware share. The plans have a header, and nothing behind it that would run."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from mlconvert import records
from mlconvert.artifact import Artifact, file_sha256
from mlconvert.hardware.fingerprint import Cuda, Driver, Fingerprint, Gpu, Host, Mig, TensorRT, as_json

LATEST = (11, 4, 0, 106)


def plan(version: tuple[int, int, int, int] = LATEST, *, body: bytes = b"engine" * 11, platform: int = 2) -> bytes:
    begins = 32 + 24
    head = b"ftrt" + struct.pack("<IIIQ", 0, 1, 0, begins + len(body)) + bytes((*version, platform, 0, 0, 0))
    return head + struct.pack("<4sIQQ", b"NGNE", 0, begins, len(body)) + body


def wrapped(text: bytes = b'{"stride": 32}', content: bytes | None = None) -> bytes:
    """As Ultralytics writes its engines."""
    return struct.pack("<I", len(text)) + text + (plan() if content is None else content)


def fingerprint(
    name: str = "NVIDIA H100 80GB HBM3",
    capability: str = "9.0",
    multiprocessors: int = 132,
    *,
    version: str = "11.4.0.106",
    count: int = 1,
) -> Fingerprint:
    gpu = Gpu(
        name=name, uuid="GPU-1", compute_capability=capability, architecture="hopper",
        multiprocessors=multiprocessors, memory_bytes=80 << 30, memory_bus_bits=5120, l2_bytes=50 << 20,
        max_sm_clock_mhz=1980, max_memory_clock_mhz=2619, mig=Mig(enabled=False),
    )  # fmt: skip
    return Fingerprint(
        gpus=(gpu,) * count,
        driver=Driver("580.82.07"),
        cuda=Cuda("13.0"),
        tensorrt=TensorRT(version),
        host=Host("linux", "x86_64", "Ubuntu 24.04", "6.8", "2.39", "Xeon", ("avx2", "avx512f", "fma", "sse4_2")),
        packages={"torch": "2.9.1", "onnxruntime": "1.23.2"},
    )


def engine(path: Path, built_on: Fingerprint | None, content: bytes | None = None, **hardware: object) -> Artifact:
    """A plan in a file, and its record beside it unless `built_on` is None."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(plan() if content is None else content)
    artifact = Artifact("tensorrt", str(path), (path,))
    if built_on is None:
        return artifact
    told = {"kind": "tensorrt", "tensorrt_version": built_on.tensorrt.version, "flags": ["TF32"],
            "hardware_compatibility": "none", "gpu": 0, "plugins": {}, **hardware}  # fmt: skip
    record = {
        "schema": records.SCHEMA,
        "path": path.name,
        "format": "tensorrt",
        "files": records.described_files(artifact, {path.name: file_sha256(path)}),
        "facts": {"hardware": told},
        "fingerprint": as_json(built_on),
    }
    records.write_json(path.parent / records.IN_FOLDER, record)
    return artifact


@pytest.fixture
def make_plan() -> Callable[..., bytes]:
    return plan


@pytest.fixture
def wrap_plan() -> Callable[..., bytes]:
    return wrapped


@pytest.fixture
def machine() -> Callable[..., Fingerprint]:
    return fingerprint


@pytest.fixture
def make_engine() -> Callable[..., Artifact]:
    return engine
