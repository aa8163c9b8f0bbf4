"""What a machine is described by: GPUs, driver, CUDA, TensorRT, host and container.

Every field that could not be read is None, and `missing` has the reason under its path, such as
`gpus[0].multiprocessors`. MIG that is off has no profile, and a process outside a container no image: those are None
without a reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

NO_CONTAINER = "none"
NO_REASON = "the fingerprint does not say why"


@dataclass(frozen=True)
class Mig:
    """Multi-Instance GPU: whether the GPU is split, and which part of it this one is.

    `profile` is NVIDIA's name of the part, `3g.40gb`: slices of compute and memory.
    """

    enabled: bool
    profile: str | None = None
    gpu_slices: int | None = None
    compute_slices: int | None = None


@dataclass(frozen=True)
class Gpu:
    """One GPU, or one MIG device, as CUDA shows it to a process; `name` is without the MIG profile."""

    name: str | None = None
    uuid: str | None = None
    compute_capability: str | None = None
    architecture: str | None = None
    multiprocessors: int | None = None
    memory_bytes: int | None = None
    memory_bus_bits: int | None = None
    l2_bytes: int | None = None
    cores: int | None = None
    max_sm_clock_mhz: int | None = None
    max_memory_clock_mhz: int | None = None
    pci: str | None = None
    mig: Mig | None = None
    virtualization: str | None = None
    power_limit_watts: float | None = None


@dataclass(frozen=True)
class Driver:
    """NVIDIA's kernel driver."""

    version: str | None = None


@dataclass(frozen=True)
class Cuda:
    """The newest CUDA that the driver runs, `13.1`; not the toolkit or runtime that a package brings."""

    version: str | None = None


@dataclass(frozen=True)
class TensorRT:
    """The TensorRT that a process here would load, all four numbers: `11.4.0.106`."""

    version: str | None = None


@dataclass(frozen=True)
class Host:
    """The operating system and the processor; instruction sets have the names of /proc/cpuinfo."""

    os: str | None = None
    architecture: str | None = None
    distribution: str | None = None
    kernel: str | None = None
    glibc: str | None = None
    cpu_model: str | None = None
    instruction_sets: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Container:
    """What the process runs in: `none`, `docker`, `podman`, `kubernetes` and so on; the image where it can be read."""

    kind: str | None = None
    image: str | None = None
    image_digest: str | None = None


@dataclass(frozen=True)
class Fingerprint:
    """A machine. The GPUs are in CUDA's order, which is how an engine's record numbers them.

    `packages` has the versions of the libraries beside TensorRT that load hardware-bound artifacts, by the name that
    pip knows them under; one that is not there is not installed.
    """

    gpus: tuple[Gpu, ...] = ()
    driver: Driver = Driver()
    cuda: Cuda = Cuda()
    tensorrt: TensorRT = TensorRT()
    host: Host = Host()
    container: Container = Container()
    packages: Mapping[str, str] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)


def unknown(fingerprint: Fingerprint) -> Iterator[str]:
    """The paths of all that is None and has to have a reason; `gpus` where there is none."""
    if not fingerprint.gpus:
        yield "gpus"
    for index, gpu in enumerate(fingerprint.gpus):
        yield from _none_in(gpu, f"gpus[{index}]")
        if gpu.mig is not None and gpu.mig.enabled:
            yield from _none_in(gpu.mig, f"gpus[{index}].mig")
    for name in ("driver", "cuda", "tensorrt", "host"):
        yield from _none_in(getattr(fingerprint, name), name)
    if fingerprint.container.kind != NO_CONTAINER:
        yield from _none_in(fingerprint.container, "container")


def _none_in(part: Any, path: str) -> Iterator[str]:
    for one in fields(part):
        if getattr(part, one.name) is None:
            yield f"{path}.{one.name}"


def with_reasons(fingerprint: Fingerprint, reasons: Mapping[str, str]) -> Fingerprint:
    """The fingerprint with a reason for each field that is None, and for no other."""
    parts = {one.name: getattr(fingerprint, one.name) for one in fields(fingerprint)}
    parts["missing"] = {path: reasons.get(path) or NO_REASON for path in unknown(fingerprint)}
    return Fingerprint(**parts)
