"""GPUs as NVML, the library behind nvidia-smi, shows them: what CUDA does not tell, and all where CUDA does not answer.

Source of names, numbers and structures: NVIDIA's NVML API reference and nvml.h. They were held against the header of
CUDA 12.9, by stub libraries compiled with it, and against NVIDIA's Python bindings (nvidia-ml-py 13.615.71). NVML has
no count of multiprocessors for a whole GPU.
"""

from __future__ import annotations

import ctypes
import platform
from pathlib import Path
from typing import Any

from mlconvert.hardware.cuda import written
from mlconvert.hardware.readings import ALL, Library, Reading, Unreadable, call, gather, load, positive, version

LIBRARIES = {"Linux": "libnvidia-ml.so.1", "Windows": "nvml.dll"}
KERNEL_MODULE = Path("/sys/module/nvidia/version")
NOT_SUPPORTED, NOT_FOUND = 3, 6
CLOCK_SM, CLOCK_MEM = 1, 2
VIRTUALIZATION = ("none", "passthrough", "vgpu", "host-vgpu", "host-vsga")  # by NVML_GPU_VIRTUALIZATION_MODE_*
OF_THE_WHOLE = "tells it of the whole GPU only, not of a MIG device"
TEXT_BYTES = 96  # the longest that NVML writes


class Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


class PciInfo(ctypes.Structure):
    _fields_ = (
        ("bus_id_legacy", ctypes.c_char * 16),
        ("domain", ctypes.c_uint),
        ("bus", ctypes.c_uint),
        ("device", ctypes.c_uint),
        ("device_id", ctypes.c_uint),
        ("subsystem_id", ctypes.c_uint),
        ("bus_id", ctypes.c_char * 32),
    )


class Attributes(ctypes.Structure):
    _fields_ = (
        ("multiprocessors", ctypes.c_uint),
        ("copy_engines", ctypes.c_uint),
        ("decoders", ctypes.c_uint),
        ("encoders", ctypes.c_uint),
        ("jpeg", ctypes.c_uint),
        ("optical_flow", ctypes.c_uint),
        ("gpu_slices", ctypes.c_uint),
        ("compute_slices", ctypes.c_uint),
        ("memory_mib", ctypes.c_ulonglong),
    )


def find() -> Any:
    """NVML's library. Raises Unreadable where there is none, or it cannot be loaded."""
    name = LIBRARIES.get(platform.system())
    if name is None:
        raise Unreadable(f"NVML does not run on {platform.system()}")
    return load(name, "no NVIDIA driver")


def read(library: Any) -> Library:
    """What NVML says of all GPUs of the machine, in the order of the PCI bus; a GPU that is split, part by part."""
    library.nvmlErrorString.restype = ctypes.c_char_p
    try:
        _call(library, "nvmlInit_v2")
    except Unreadable as error:
        return Library(failed=str(error))
    try:
        return _read(library)
    finally:
        library.nvmlShutdown()


def _read(library: Any) -> Library:
    system = gather({"driver.version": lambda: _driver(library), "cuda.version": lambda: _cuda(library)})
    count = ctypes.c_uint()
    try:
        _call(library, "nvmlDeviceGetCount_v2", ctypes.byref(count))
    except Unreadable as error:
        return Library(system=system, failed=str(error))
    devices = [device for index in range(count.value) for device in _devices(library, index)]
    failed = None if devices else "NVML lists no GPU that a program could use"
    return Library(system=system, devices=tuple(devices), failed=failed, none_visible=not devices)


def _devices(library: Any, index: int) -> list[Reading]:
    """The GPU itself; where it is split, its MIG devices in its place."""
    handle = ctypes.c_void_p()
    try:
        _call(library, "nvmlDeviceGetHandleByIndex_v2", index, ctypes.byref(handle))
    except Unreadable as error:
        return [Reading(missing={ALL: str(error)})]
    whole = gather(
        {
            "name": lambda: _text(library, "nvmlDeviceGetName", handle),
            "uuid": lambda: _text(library, "nvmlDeviceGetUUID", handle),
            "compute_capability": lambda: _capability(library, handle),
            "memory_bytes": lambda: _memory(library, handle),
            "memory_bus_bits": lambda: positive(_number(library, "nvmlDeviceGetMemoryBusWidth", handle)),
            "cores": lambda: positive(_number(library, "nvmlDeviceGetNumGpuCores", handle)),
            "max_sm_clock_mhz": lambda: _clock(library, handle, CLOCK_SM),
            "max_memory_clock_mhz": lambda: _clock(library, handle, CLOCK_MEM),
            "pci": lambda: _pci(library, handle),
            "mig": lambda: {"enabled": _mig_is_on(library, handle)},
            "virtualization": lambda: _virtualization(library, handle),
            "power_limit_watts": lambda: positive(_number(library, "nvmlDeviceGetEnforcedPowerLimit", handle)) / 1000,
        }
    )
    whole.missing["multiprocessors"] = "tells no count of multiprocessors"
    if not whole.values.get("mig", {}).get("enabled"):
        return [whole]
    try:
        most = _number(library, "nvmlDeviceGetMaxMigDeviceCount", handle)
    except Unreadable as error:
        return [Reading(missing={ALL: f"the GPU is split, and its MIG devices are not to be read: {error}"})]
    parts = [_part(library, handle, place, whole) for place in range(most)]
    return [part for part in parts if part is not None]


def _part(library: Any, gpu: ctypes.c_void_p, place: int, whole: Reading) -> Reading | None:
    """A MIG device: what is its own, and of the whole GPU what is the same for each part. None: no device there."""
    handle = ctypes.c_void_p()
    try:
        _call(library, "nvmlDeviceGetMigDeviceHandleByIndex", gpu, place, ctypes.byref(handle))
    except Unreadable as error:
        return None if error.code == NOT_FOUND else Reading(missing={ALL: str(error)})
    own = gather(
        {
            "name": lambda: _text(library, "nvmlDeviceGetName", handle),
            "uuid": lambda: _text(library, "nvmlDeviceGetUUID", handle),
            "memory_bytes": lambda: _memory(library, handle),
            "multiprocessors": lambda: positive(_attributes(library, handle).multiprocessors),
            "mig": lambda: _slices(library, handle),
        }
    )
    missing = {
        **whole.missing,
        "cores": OF_THE_WHOLE,
        "memory_bus_bits": OF_THE_WHOLE,
        "power_limit_watts": OF_THE_WHOLE,
    }
    missing = {name: why for name, why in missing.items() if name not in own.values} | own.missing
    values = {name: value for name, value in whole.values.items() if name not in missing} | own.values
    if "mig" in own.missing:
        why = missing.pop("mig")
        missing |= {"mig.gpu_slices": why, "mig.compute_slices": why}
        values["mig"] = {"enabled": True}
    return Reading(values, missing)


def driver_of_the_kernel() -> str:
    """The driver's version by the kernel's own word, for where NVML does not answer. Raises Unreadable."""
    try:
        return version(KERNEL_MODULE.read_text(encoding="utf-8", errors="replace").strip())
    except OSError as error:
        raise Unreadable("it has no module of NVIDIA's driver that tells a version") from error


def _driver(library: Any) -> str:
    buffer = ctypes.create_string_buffer(TEXT_BYTES)
    _call(library, "nvmlSystemGetDriverVersion", buffer, TEXT_BYTES)
    return version(buffer.value.decode(errors="replace"))


def _cuda(library: Any) -> str:
    number = ctypes.c_int()
    _call(library, "nvmlSystemGetCudaDriverVersion_v2", ctypes.byref(number))
    return written(positive(number.value))


def _text(library: Any, function: str, handle: ctypes.c_void_p) -> str:
    buffer = ctypes.create_string_buffer(TEXT_BYTES)
    _call(library, function, handle, buffer, TEXT_BYTES)
    if not buffer.value:
        raise Unreadable(f"{function} answers with an empty text")
    return buffer.value.decode(errors="replace")


def _number(library: Any, function: str, handle: ctypes.c_void_p) -> int:
    value = ctypes.c_uint()
    _call(library, function, handle, ctypes.byref(value))
    return value.value


def _capability(library: Any, handle: ctypes.c_void_p) -> str:
    major, minor = ctypes.c_int(), ctypes.c_int()
    _call(library, "nvmlDeviceGetCudaComputeCapability", handle, ctypes.byref(major), ctypes.byref(minor))
    return f"{positive(major.value)}.{minor.value}"


def _memory(library: Any, handle: ctypes.c_void_p) -> int:
    memory = Memory()
    _call(library, "nvmlDeviceGetMemoryInfo", handle, ctypes.byref(memory))
    return positive(memory.total)


def _clock(library: Any, handle: ctypes.c_void_p, kind: int) -> int:
    mhz = ctypes.c_uint()
    _call(library, "nvmlDeviceGetMaxClockInfo", handle, kind, ctypes.byref(mhz))
    return positive(mhz.value)


def _pci(library: Any, handle: ctypes.c_void_p) -> str:
    info = PciInfo()
    _call(library, "nvmlDeviceGetPciInfo_v3", handle, ctypes.byref(info))
    return f"{info.domain:04x}:{info.bus:02x}:{info.device:02x}.0"


def _mig_is_on(library: Any, handle: ctypes.c_void_p) -> bool:
    current, pending = ctypes.c_uint(), ctypes.c_uint()
    try:
        _call(library, "nvmlDeviceGetMigMode", handle, ctypes.byref(current), ctypes.byref(pending))
    except Unreadable as error:
        if error.code == NOT_SUPPORTED:  # a GPU that cannot be split
            return False
        raise
    return current.value == 1


def _attributes(library: Any, handle: ctypes.c_void_p) -> Attributes:
    attributes = Attributes()
    _call(library, "nvmlDeviceGetAttributes_v2", handle, ctypes.byref(attributes))
    return attributes


def _slices(library: Any, handle: ctypes.c_void_p) -> dict[str, Any]:
    attributes = _attributes(library, handle)
    slices = {"gpu_slices": attributes.gpu_slices, "compute_slices": attributes.compute_slices}
    return {"enabled": True, **{name: positive(count) for name, count in slices.items()}}


def _virtualization(library: Any, handle: ctypes.c_void_p) -> str:
    mode = _number(library, "nvmlDeviceGetVirtualizationMode", handle)
    if mode >= len(VIRTUALIZATION):
        raise Unreadable(f"NVML answers {mode}, which this mlconvert does not know")
    return VIRTUALIZATION[mode]


def _call(library: Any, function: str, *arguments: Any) -> None:
    def say(code: int) -> str:
        text: bytes = library.nvmlErrorString(code) or b"unknown error"
        return text.decode(errors="replace")

    call(library, function, say, *arguments)
