"""The GPUs of a machine, from what CUDA and NVML say of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

from mlconvert.hardware.machine import Gpu
from mlconvert.hardware.nvml import driver_of_the_kernel
from mlconvert.hardware.readings import ALL, Library, Reading, gather

FIELDS = tuple(one.name for one in fields(Gpu) if one.name != "architecture")  # that follows from the rest
# From this compute capability on, by NVIDIA's list of CUDA GPUs. What is newer than the list has no name here.
ARCHITECTURES: tuple[tuple[tuple[int, int], str | None], ...] = (
    ((5, 0), "maxwell"),
    ((6, 0), "pascal"),
    ((7, 0), "volta"),
    ((7, 5), "turing"),
    ((8, 0), "ampere"),
    ((8, 9), "ada"),
    ((9, 0), "hopper"),
    ((10, 0), "blackwell"),
    ((13, 0), None),
)
_MIG_IN_NAME = re.compile(r"(?P<name>.*) MIG (?P<profile>\S+)")

Told = tuple[tuple[str, Reading], ...]


def merge(cuda: Library, nvml: Library) -> tuple[list[Reading], Reading]:
    """The GPUs, and the versions of driver and CUDA.

    The GPUs are those that CUDA shows to this process, in its order, which is the order in which programs number them:
    a GPU that is hidden from it (CUDA_VISIBLE_DEVICES) can run nothing here. Where CUDA does not answer, they are
    NVML's. Of a value that both tell, CUDA's is taken: TensorRT sees the same.
    """
    kernel = gather({"driver.version": driver_of_the_kernel})
    told = (("CUDA", _system(cuda)), ("NVML", _system(nvml)), ("the kernel", kernel))
    system = _first_of_each(("driver.version", "cuda.version"), told)
    if cuda.failed is None:
        gpus = [_gpu((("CUDA", one), ("NVML", _partner(one, nvml)))) for one in cuda.devices]
    elif cuda.none_visible:
        gpus = []
    else:
        gpus = [_gpu((("CUDA", _silent(cuda.failed)), ("NVML", one))) for one in nvml.devices]
    if not gpus:
        system.missing["gpus"] = "; ".join(_reasons_for_none(cuda, nvml))
    return gpus, system


def architecture_of(compute_capability: str) -> str | None:
    """NVIDIA's name of the generation, or None for one older or newer than the table."""
    major, minor = map(int, compute_capability.split("."))
    names = [name for floor, name in ARCHITECTURES if floor <= (major, minor)]
    return names[-1] if names else None


def _gpu(told: Told) -> Reading:
    gpu = _first_of_each(FIELDS, told)
    _place_architecture(gpu)
    split = [found for _, one in told if (found := _MIG_IN_NAME.fullmatch(one.values.get("name", "")))]
    _place_mig(gpu, split)
    _place_uuid(gpu, told, is_mig=bool((gpu.values.get("mig") or {}).get("enabled")))
    return gpu


def _place_architecture(gpu: Reading) -> None:
    capability = gpu.values.get("compute_capability")
    architecture = capability and architecture_of(capability)
    if architecture:
        gpu.values["architecture"] = architecture
    elif capability:
        gpu.missing["architecture"] = f"this mlconvert has no name for compute capability {capability}"
    else:
        gpu.missing["architecture"] = gpu.missing["compute_capability"]


def _place_mig(gpu: Reading, split: Sequence[re.Match[str]]) -> None:
    """Take the profile out of the name, where drivers put it; only NVML tells the slices."""
    if split:
        gpu.values["name"] = split[0]["name"]
        if "mig" not in gpu.values:
            why = gpu.missing.pop("mig")
            gpu.values["mig"] = {"enabled": True}
            gpu.missing.update({"mig.gpu_slices": why, "mig.compute_slices": why})
        gpu.values["mig"] = {**gpu.values["mig"], "profile": split[0]["profile"]}
    elif (gpu.values.get("mig") or {}).get("enabled"):
        gpu.missing["mig.profile"] = "this driver's name of the device does not tell it"


def _place_uuid(gpu: Reading, told: Told, *, is_mig: bool) -> None:
    """NVML's spelling where it tells one; CUDA gives the bare bytes."""
    cuda, nvml = (one.values.get("uuid") for _, one in told)
    if nvml is not None:
        gpu.values["uuid"] = nvml
    elif cuda is not None:
        gpu.values["uuid"] = f"{'MIG' if is_mig else 'GPU'}-{cuda}"


def _partner(one: Reading, nvml: Library) -> Reading:
    """NVML's reading of the GPU that CUDA shows: by UUID, else by the place on the bus where that is unambiguous."""
    if nvml.failed is not None:
        return _silent(nvml.failed)
    uuid, pci = one.values.get("uuid"), one.values.get("pci")
    same = [other for other in nvml.devices if uuid and re.sub("^(GPU|MIG)-", "", other.values.get("uuid", "")) == uuid]
    same = same or [other for other in nvml.devices if pci and other.values.get("pci") == pci]
    if len(same) == 1:
        return same[0]
    return _silent("several MIG devices have that place on the bus" if same else "it does not list this GPU")


def _silent(why: str) -> Reading:
    return Reading(missing={ALL: why})


def _system(library: Library) -> Reading:
    if library.failed is None or library.system.values:
        return library.system
    return _silent(library.failed)


def _first_of_each(names: Iterable[str], told: Told) -> Reading:
    """Of each field the first value that is told; where there is none, what everyone said instead."""
    chosen = Reading()
    for name in names:
        values: list[Any] = [one.values[name] for _, one in told if name in one.values]
        if values:
            chosen.values[name] = values[0]
        else:
            reasons = [f"{who}: {why}" for who, one in told if (why := one.missing.get(name) or one.missing.get(ALL))]
            chosen.missing[name] = "; ".join(reasons) or "nothing here tells it"
    for _, one in told:  # of parts of a field
        for name, why in one.missing.items():
            if name.startswith("mig."):
                chosen.missing[name] = why
    return chosen


def _reasons_for_none(cuda: Library, nvml: Library) -> Iterable[str]:
    yield f"CUDA: {cuda.failed}"
    if nvml.failed is not None:
        yield f"NVML: {nvml.failed}"
    else:
        names = ", ".join(one.values.get("name", "a GPU") for one in nvml.devices)
        yield f"NVML lists {names}, hidden from CUDA in this process (CUDA_VISIBLE_DEVICES?)"
