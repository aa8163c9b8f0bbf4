"""GPUs as CUDA shows them, read through the driver's own library: nothing has to be installed beside the driver.

Source of names, numbers and types: NVIDIA's CUDA Driver API reference, sections Initialization, Version Management and
Device Management, and cuda.h. No context is made: no memory of a GPU is taken.
"""

from __future__ import annotations

import ctypes
import platform
from typing import Any

from mlconvert.hardware.readings import ALL, Library, Reading, Unreadable, call, gather, load, positive

LIBRARIES = {"Linux": "libcuda.so.1", "Windows": "nvcuda.dll"}
TEXT_BYTES = 256
NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE
# CUdevice_attribute
CLOCK_RATE, MULTIPROCESSOR_COUNT, MEMORY_CLOCK_RATE, GLOBAL_MEMORY_BUS_WIDTH, L2_CACHE_SIZE = 13, 16, 36, 37, 38
COMPUTE_CAPABILITY_MAJOR, COMPUTE_CAPABILITY_MINOR = 75, 76


def find() -> Any:
    """The driver's library. Raises Unreadable where there is none, or it cannot be loaded."""
    name = LIBRARIES.get(platform.system())
    if name is None:
        raise Unreadable(f"CUDA does not run on {platform.system()}")
    return load(name, "no NVIDIA driver")


def read(library: Any) -> Library:
    """What the driver says of the GPUs that it shows to this process, in its own order."""
    count = ctypes.c_int()
    try:
        _call(library, "cuInit", 0)
        _call(library, "cuDeviceGetCount", ctypes.byref(count))
    except Unreadable as error:
        return Library(failed=str(error), none_visible=error.code == NO_DEVICE)
    system = gather({"cuda.version": lambda: _version(library)})
    if count.value == 0:
        return Library(system=system, failed="CUDA shows no device", none_visible=True)
    return Library(system=system, devices=tuple(_device(library, ordinal) for ordinal in range(count.value)))


def _device(library: Any, ordinal: int) -> Reading:
    device = ctypes.c_int()
    try:
        _call(library, "cuDeviceGet", ctypes.byref(device), ordinal)
    except Unreadable as error:
        return Reading(missing={ALL: str(error)})

    def attribute(number: int) -> int:
        return _attribute(library, device, number)

    return gather(
        {
            "name": lambda: _text(library, "cuDeviceGetName", device),
            "uuid": lambda: _uuid(library, device),
            "compute_capability": lambda: (
                f"{positive(attribute(COMPUTE_CAPABILITY_MAJOR))}.{attribute(COMPUTE_CAPABILITY_MINOR)}"
            ),
            "multiprocessors": lambda: positive(attribute(MULTIPROCESSOR_COUNT)),
            "memory_bytes": lambda: _memory(library, device),
            "memory_bus_bits": lambda: positive(attribute(GLOBAL_MEMORY_BUS_WIDTH)),
            "l2_bytes": lambda: positive(attribute(L2_CACHE_SIZE)),
            "max_sm_clock_mhz": lambda: positive(attribute(CLOCK_RATE) // 1000),
            "max_memory_clock_mhz": lambda: positive(attribute(MEMORY_CLOCK_RATE) // 1000),
            "pci": lambda: _pci(library, device),
        }
    )


def _version(library: Any) -> str:
    number = ctypes.c_int()
    _call(library, "cuDriverGetVersion", ctypes.byref(number))
    return written(positive(number.value))


def written(version: int) -> str:
    """The form in which NVIDIA's libraries number CUDA, 13010, as it is written: 13.1."""
    return f"{version // 1000}.{version % 1000 // 10}"


def _attribute(library: Any, device: ctypes.c_int, number: int) -> int:
    value = ctypes.c_int()
    _call(library, "cuDeviceGetAttribute", ctypes.byref(value), number, device)
    return value.value


def _memory(library: Any, device: ctypes.c_int) -> int:
    size = ctypes.c_size_t()
    _call(library, "cuDeviceTotalMem_v2", ctypes.byref(size), device)
    return positive(size.value)


def _text(library: Any, function: str, device: ctypes.c_int) -> str:
    buffer = ctypes.create_string_buffer(TEXT_BYTES)
    _call(library, function, buffer, TEXT_BYTES, device)
    if not buffer.value:
        raise Unreadable(f"{function} answers with an empty text")
    return buffer.value.decode(errors="replace")


def _pci(library: Any, device: ctypes.c_int) -> str:
    text = _text(library, "cuDeviceGetPCIBusId", device)
    try:
        return pci_address(text)
    except ValueError as error:
        raise Unreadable(f"cuDeviceGetPCIBusId answers {text!r}") from error


def pci_address(text: str) -> str:
    """An address on the PCI bus in one spelling: NVIDIA's tools differ in case and in the width of the domain."""
    domain, bus, rest = text.split(":")
    device, function = rest.split(".")
    return f"{int(domain, 16):04x}:{int(bus, 16):02x}:{int(device, 16):02x}.{int(function, 16):x}"


def _uuid(library: Any, device: ctypes.c_int) -> str:
    """Of a MIG device its own (only version 2 of the call tells it), else the GPU's; without `GPU-` or `MIG-`."""
    buffer = (ctypes.c_ubyte * 16)()
    function = "cuDeviceGetUuid_v2" if hasattr(library, "cuDeviceGetUuid_v2") else "cuDeviceGetUuid"
    _call(library, function, ctypes.byref(buffer), device)
    digits = bytes(buffer).hex()
    if not digits.strip("0"):
        raise Unreadable(f"{function} answers with zeros")
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _call(library: Any, function: str, *arguments: Any) -> None:
    def say(code: int) -> str:
        text = ctypes.c_char_p()
        library.cuGetErrorString(code, ctypes.byref(text))
        return (text.value or b"unknown error").decode(errors="replace")

    call(library, function, say, *arguments)
