"""Memory of the GPU, through the driver's own library: allocate, copy, free. No package is needed for it.

The calls are those of the CUDA driver API (cuda.h), whose names and arguments do not change; the device is the first
that CUDA shows, in its primary context, which is the one that TensorRT works in.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mlconvert.errors import HardwareMismatch, MlconvertError, OutOfResources

_OUT_OF_MEMORY = 2  # CUDA_ERROR_OUT_OF_MEMORY
_HINT = "run it on a machine with an NVIDIA GPU and its driver: mlconvert fingerprint shows what is found"


def load_driver() -> Any:
    """The library that comes with NVIDIA's driver. Raises HardwareMismatch where there is none."""
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise HardwareMismatch(f"there is no NVIDIA driver here: {error}", hint=_HINT) from error


class Device:
    """The first GPU. What `allocated` gives is freed at the end of its block."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        self._check("cuInit", 0)
        device, context, stream = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_void_p()
        self._check("cuDeviceGet", ctypes.byref(device), 0)
        self._check("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self._check("cuCtxSetCurrent", context)
        self._check("cuStreamCreate", ctypes.byref(stream), 0)
        self._stream = stream

    @property
    def stream(self) -> int:
        """The handle of the one stream that everything runs on."""
        return int(self._stream.value or 0)

    @contextmanager
    def allocations(self) -> Iterator[Allocations]:
        held = Allocations(self)
        try:
            yield held
        finally:
            held.free()

    def copy_in(self, address: int, data: Any) -> None:
        """Copy an array (contiguous) to the GPU."""
        if data.nbytes:
            self._check("cuMemcpyHtoD_v2", ctypes.c_uint64(address), ctypes.c_void_p(data.ctypes.data),
                        ctypes.c_size_t(data.nbytes))  # fmt: skip

    def copy_out(self, data: Any, address: int) -> None:
        """Fill an array (contiguous) from the GPU."""
        if data.nbytes:
            self._check("cuMemcpyDtoH_v2", ctypes.c_void_p(data.ctypes.data), ctypes.c_uint64(address),
                        ctypes.c_size_t(data.nbytes))  # fmt: skip

    def wait(self) -> None:
        """Until all that was asked of the stream is done; what went wrong there is raised here."""
        self._check("cuStreamSynchronize", self._stream)

    def allocate(self, size: int) -> int:
        address = ctypes.c_uint64()
        self._check("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(max(size, 1)))
        return address.value

    def free(self, address: int) -> None:
        self._check("cuMemFree_v2", ctypes.c_uint64(address))

    def _check(self, name: str, *arguments: Any) -> None:
        code = getattr(self._driver, name)(*arguments)
        if not code:
            return
        text = ctypes.c_char_p()
        self._driver.cuGetErrorString(code, ctypes.byref(text))
        why = f"{name}: {(text.value or b'unknown error').decode()} (CUDA error {code})"
        if code == _OUT_OF_MEMORY:
            raise OutOfResources(f"the GPU's memory ran out: {why}", hint="end what else uses the GPU")
        if name in ("cuInit", "cuDeviceGet", "cuDevicePrimaryCtxRetain"):
            raise HardwareMismatch(f"no GPU can be used here: {why}", hint=_HINT)
        raise MlconvertError(f"the GPU failed: {why}")


class Allocations:
    """Memory that is freed together."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._held: list[int] = []

    def allocate(self, size: int) -> int:
        self._held.append(self._device.allocate(size))
        return self._held[-1]

    def free(self) -> None:
        while self._held:
            self._device.free(self._held.pop())
