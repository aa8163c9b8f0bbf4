"""Runs TensorRT's engines: native code, which is loaded only where it is trusted and where it was built for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlconvert import records
from mlconvert.artifact import Artifact
from mlconvert.converter import Session
from mlconvert.errors import ConversionFailed, NotVerified, UsageError
from mlconvert.hardware.plans import refitting
from mlconvert.readers import cuda_memory
from mlconvert.readers.hardware_builds import require_fits
from mlconvert.readers.tensorrt_engines import load_engine
from mlconvert.readers.tensorrt_messages import failure, import_tensorrt
from mlconvert.signature import Signature

if TYPE_CHECKING:
    import numpy as np

_NUMPY = {
    "FLOAT": "float32", "HALF": "float16", "INT8": "int8", "INT32": "int32", "INT64": "int64", "BOOL": "bool",
    "UINT8": "uint8",
}  # fmt: skip


def signature(artifact: Artifact) -> Signature | None:
    """What the record says; None for a plan without one: TensorRT alone could read it, by loading its code."""
    if artifact.signature is not None:
        return artifact.signature
    found = records.find(artifact.path)
    told = found[0].get("signature") if found else None
    return Signature.from_json(told) if told else None


def load(artifact: Artifact) -> Session:
    """Raises UsageError for a plan that is not trusted, HardwareMismatch for one that does not run here, NotVerified
    for one that no record describes or that holds no weights.
    """
    where = artifact.location
    if not artifact.trusted:
        what = "a TensorRT plan is native code, and loading it runs it"
        raise UsageError(what, where=where, hint="add --trust if you made the file yourself")
    if "fingerprint" not in artifact.facts:  # those are of an engine that this very run built, on this machine
        found = records.find(artifact.path)
        require_fits(artifact, found[0] if found else None)
    known = signature(artifact)
    if known is None:
        what = "the plan does not say what it takes: mlconvert did not make it, or its record is gone"
        raise NotVerified(what, where=where, hint="build the engine with mlconvert: --to tensorrt")
    built = artifact.facts.get("hardware", {})
    if "STRIP_PLAN" in built.get("flags", ()):
        what = "the engine holds no weights, so that it cannot be run before it gets them"
        fresh = "fingerprint" in artifact.facts
        hint = f"where it is served: {refitting() if fresh else refitting(where)}"
        raise NotVerified(what, where=where, hint=f"build it with --no-verify; {hint}" if fresh else hint)
    return Session(known, _Running(artifact, known, built).run)


class _Running:
    """An engine on the first GPU."""

    def __init__(self, artifact: Artifact, known: Signature, built: Mapping[str, Any]) -> None:
        self._where = where = artifact.location
        self._names = [spec.name for spec in known.inputs], [spec.name for spec in known.outputs]
        self._by_rows = all(spec.shape[:1] in ((None,), ("batch",)) for spec in (*known.inputs, *known.outputs))
        self._trt = import_tensorrt()
        self._device = cuda_memory.Device(cuda_memory.load_driver())
        self._runtime, self._engine, self._log = load_engine(artifact, built)
        self._check_names()
        if "WEIGHT_STREAMING" in built.get("flags", ()):  # else it has to fit as a whole
            self._engine.weight_streaming_budget_v2 = self._engine.get_weight_streaming_automatic_budget()
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise failure("TensorRT cannot run the plan", self._log.errors, where=where)
        self._ranges = self._profile_ranges()

    def _check_names(self) -> None:
        engine, modes = self._engine, self._trt.TensorIOMode
        names = [engine.get_tensor_name(number) for number in range(engine.num_io_tensors)]
        for mode, told in zip((modes.INPUT, modes.OUTPUT), self._names, strict=True):
            found = sorted(name for name in names if engine.get_tensor_mode(name) == mode)
            if found != sorted(told):
                what = f"the engine has {', '.join(found) or 'none'} as {mode.name.lower()}s, and its record other ones"
                raise ConversionFailed(what, where=self._where, hint="is this the record of this plan?")

    def _profile_ranges(self) -> list[dict[str, tuple[tuple[int, ...], tuple[int, ...]]]]:
        """For each profile the least and the largest shape of each input."""
        ranges = []
        for number in range(self._engine.num_optimization_profiles):
            found = {}
            for name in self._names[0]:
                least, _, most = self._engine.get_tensor_profile_shape(name, number)
                found[name] = tuple(least), tuple(most)
            ranges.append(found)
        return ranges

    def run(self, samples: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """All rows, in as few calls as the engine's profiles allow.

        Where it takes more rows than there are the last one is repeated, and what it answers to that is left out.
        """
        import numpy as np

        profile, bounds = self._call_for({name: samples[name].shape for name in self._names[0]})
        if bounds is None:
            return self._call(profile, samples)
        least, most = bounds
        parts = []
        for start in range(0, len(next(iter(samples.values()))), most):
            part = {name: array[start : start + most] for name, array in samples.items()}
            count = len(next(iter(part.values())))
            if count < least:
                part = {name: np.concatenate([rows, rows[-1:].repeat(least - count, 0)]) for name, rows in part.items()}
            parts.append({name: rows[:count] for name, rows in self._call(profile, part).items()})
        return {name: np.concatenate([part[name] for part in parts]) for name in self._names[1]}

    def _call_for(self, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, tuple[int, int] | None]:
        """The profile for such inputs, and how few and how many rows it takes at once (None: them all as they are)."""
        for number, ranges in enumerate(self._ranges):
            if all(_within(shape, *ranges[name]) for name, shape in shapes.items()):
                return number, None
        for number, ranges in enumerate(self._ranges if self._by_rows else ()):
            low, high = max(least[0] for least, _ in ranges.values()), min(most[0] for _, most in ranges.values())
            cut = {name: (min(max(shape[0], low), high), *shape[1:]) for name, shape in shapes.items()}
            if low <= high and all(_within(shape, *ranges[name]) for name, shape in cut.items()):
                return number, (low, high)
        listed = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
        what = f"no profile of the engine takes {listed}; it has {self._ranges}"
        raise NotVerified(what, where=self._where, hint="give samples of the shapes that the engine was built for")

    def _call(self, profile: int, samples: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        import numpy as np

        context, device = self._context, self._device
        self._log.errors.clear()
        if context.active_optimization_profile != profile:
            self._must(context.set_optimization_profile_async(profile, device.stream), "take the profile")
        with device.allocations() as memory:
            held = []
            for name in self._names[0]:
                array = np.ascontiguousarray(samples[name])
                held.append(array)  # until the call is done
                if self._engine.get_tensor_location(name) == self._trt.TensorLocation.HOST:
                    address = array.ctypes.data
                else:
                    address = memory.allocate(array.nbytes)
                    device.copy_in(address, array)
                self._must(context.set_input_shape(name, tuple(array.shape)), f"take the shape of '{name}'")
                self._must(context.set_tensor_address(name, address), f"take the input '{name}'")
            if lacking := context.infer_shapes():
                raise ConversionFailed(f"the engine does not know the shape of {', '.join(lacking)}", where=self._where)
            outputs = {name: self._placed(name, memory) for name in self._names[1]}
            self._must(context.execute_async_v3(device.stream), "run")
            device.wait()
            return {name: output.read() for name, output in outputs.items()}

    def _placed(self, name: str, memory: Any) -> _Output:
        """Memory for an output; one whose shape depends on the values asks for it while it runs."""
        dtype = _dtype(self._engine.get_tensor_dtype(name).name, name, self._where)
        shape = tuple(self._context.get_tensor_shape(name))
        output = _Output(self._device, dtype, shape, 0)
        if min(shape, default=0) < 0:
            self._must(
                self._context.set_output_allocator(name, _new_allocator(self._trt, output, memory)),
                f"take the output '{name}'",
            )
        else:
            output.address = memory.allocate(math.prod(shape) * dtype.itemsize)
            self._must(self._context.set_tensor_address(name, output.address), f"take the output '{name}'")
        return output

    def _must(self, done: bool, what: str) -> None:
        if not done:
            raise failure(f"the engine does not {what}", self._log.errors, where=self._where)


class _Output:
    """Where an output lies on the GPU."""

    def __init__(self, device: cuda_memory.Device, dtype: np.dtype[Any], shape: tuple[int, ...], address: int) -> None:
        self._device, self._dtype, self.shape, self.address = device, dtype, shape, address

    def read(self) -> np.ndarray:
        import numpy as np

        array = np.empty(self.shape, self._dtype)
        self._device.copy_out(array, self.address)
        return array


def _new_allocator(trt: Any, output: _Output, memory: Any) -> Any:
    class Allocator(trt.IOutputAllocator):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IOutputAllocator.__init__(self)

        # As TensorRT calls it: tensor, memory so far, bytes, alignment, stream.
        def reallocate_output_async(self, _name: str, _memory: int, size: int, _alignment: int, _stream: int) -> int:
            output.address = memory.allocate(size)  # aligned to 256 bytes
            return output.address

        def notify_shape(self, _name: str, shape: Any) -> None:
            output.shape = tuple(shape)

    return Allocator()


def _dtype(name: str, tensor: str, where: str) -> np.dtype[Any]:
    import numpy as np

    if name == "BF16":
        import ml_dtypes

        bfloat16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return bfloat16
    if name not in _NUMPY:
        raise NotVerified(f"the output '{tensor}' is {name}, which numpy has no type for", where=where)
    return np.dtype(_NUMPY[name])


def _within(shape: tuple[int, ...], least: tuple[int, ...], most: tuple[int, ...]) -> bool:
    return len(shape) == len(least) and all(
        low <= length <= high for low, length, high in zip(least, shape, most, strict=True)
    )
