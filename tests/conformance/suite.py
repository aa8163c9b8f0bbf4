"""The ONNX backend test suite through SavedModels: lowered, saved, loaded in a fresh process, called, compared."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from mlconvert.signature import Signature, TensorSpec

KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator")
AT_ONCE = 200
LOADER = Path(__file__).with_name("loader.py")


@dataclass(frozen=True)
class Case:
    name: str
    kind: str
    model: onnx.ModelProto
    data: tuple[tuple[list[Any], list[Any]], ...]  # inputs and outputs of each set, in the graph's order
    rtol: float
    atol: float
    mode: str = "stated"
    """Lengths as the case states them; "dynamic": none is known at conversion; "double": float32 as double."""

    @property
    def folder(self) -> str:
        return f"{self.name}-{self.mode}"

    @property
    def domain(self) -> str:
        """The domain that it is a test of: one other than ai.onnx, where it uses one."""
        domains = {node.domain for node in self.model.graph.node} - {"", "ai.onnx"}
        return next(iter(sorted(domains)), "ai.onnx")


@dataclass(frozen=True)
class Result:
    case: str
    domain: str
    kind: str
    mode: str
    problem: str | None  # None: passed


def cases(kinds: Sequence[str] = KINDS) -> Iterator[Case]:
    """All cases that the installed onnx package has, in the order of their names."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's, on the suite's own NaNs
        for kind in kinds:
            for test in sorted(load_model_tests(kind=kind), key=lambda test: test.name):
                yield _case(test, kind)


def _case(test: Any, kind: str) -> Case:
    if test.model is not None:
        data = tuple(([_array(one) for one in ins], [_array(one) for one in outs]) for ins, outs in test.data_sets)
        return Case(test.name, kind, test.model, data, test.rtol, test.atol)
    folder = Path(test.model_dir)
    model = onnx.load(folder / "model.onnx")
    sets = []
    for data in sorted(folder.glob("test_data_set_*")):
        sides = []
        for side, specs in (("input", model.graph.input), ("output", model.graph.output)):
            found = sorted(data.glob(f"{side}_*.pb"), key=lambda path: int(path.stem.rpartition("_")[2]))
            sides.append([_read(path, spec) for path, spec in zip(found, specs, strict=False)])
        sets.append((sides[0], sides[1]))
    return Case(test.name, kind, model, tuple(sets), test.rtol, test.atol)


def _array(value: Any) -> Any:
    """Types that numpy lacks come as messages."""
    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else value


def _read(path: Path, spec: onnx.ValueInfoProto) -> Any:
    kind = spec.type.WhichOneof("value")
    if kind == "tensor_type":
        return numpy_helper.to_array(TensorProto.FromString(path.read_bytes()))
    return kind  # a sequence or an optional, which a SavedModel's signature cannot have


def as_dynamic(case: Case) -> Case:
    return replace(case, mode="dynamic")


def as_double(case: Case) -> Case | None:
    """The case in double, where all its floats are float32 and ONNX takes that; None where not."""
    model = copy.deepcopy(case.model)
    text = str(model)
    if "elem_type: 1\n" not in text or any(node.op_type in ("Cast", "CastLike") for node in model.graph.node):
        return None
    for value in (*model.graph.input, *model.graph.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE
    del model.graph.value_info[:]
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t") and attribute.t.data_type == TensorProto.FLOAT:
                attribute.t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(attribute.t).astype(np.float64)))
            if attribute.HasField("g") or (attribute.name == "dtype" and attribute.i == TensorProto.FLOAT):
                return None
    try:
        onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError):
        return None
    data = tuple(tuple([_wide(one) for one in side] for side in one) for one in case.data)
    return replace(case, model=model, data=data, mode="double")  # type: ignore[arg-type]


def _wide(array: Any) -> Any:
    return array.astype(np.float64) if getattr(array, "dtype", None) == np.float32 else array


def run(wanted: Sequence[Case]) -> Iterator[Result]:
    """Each case's result, in order."""
    for begin in range(0, len(wanted), AT_ONCE):
        with tempfile.TemporaryDirectory() as scratch:
            yield from _run(wanted[begin : begin + AT_ONCE], Path(scratch))


def _run(wanted: Sequence[Case], scratch: Path) -> Iterator[Result]:
    problems: dict[str, str | None] = {}
    for case in wanted:
        folder = scratch / case.folder
        try:
            folder.mkdir()
            names = _save(case, folder / "model")
            sets = [dict(_stored(case, inputs, names)) for inputs, _ in case.data]
            (folder / "inputs.pickle").write_bytes(pickle.dumps(sets))
        except Exception as error:
            problems[case.folder] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            (folder / "inputs.pickle").write_bytes(pickle.dumps([]))
    done = subprocess.run([sys.executable, str(LOADER), str(scratch)], capture_output=True, text=True)
    for case in wanted:
        problem = problems.get(case.folder)
        path = scratch / case.folder / "outputs.pickle"
        if problem is None:
            problem = (
                _compared(case, pickle.loads(path.read_bytes())) if path.exists() else f"died: {done.stderr[-200:]}"
            )
        yield Result(case.name, case.domain, case.kind, case.mode, problem)


def _save(case: Case, folder: Path) -> dict[str, str]:
    from mlconvert.tensorflow.saving import save
    from mlconvert.tensorflow.support import missing_operators

    missing = missing_operators(case.model)
    if missing:
        raise NotImplementedError(f"no lowering: {', '.join(sorted(missing))}")
    signature = Signature(_specs(case.model.graph.input, case), _specs(case.model.graph.output, case))
    return save(case.model, signature, folder, read=numpy_helper.to_array, entries={})


def _specs(values: Any, case: Case) -> tuple[TensorSpec, ...]:
    held = {tensor.name for tensor in case.model.graph.initializer}
    specs = []
    for value in values:
        if value.name in held:
            continue
        if value.type.WhichOneof("value") != "tensor_type":
            raise TypeError(f"'{value.name}' is of {value.type.WhichOneof('value')}, which no signature can have")
        tensor = value.type.tensor_type
        kind = TensorProto.DataType.Name(tensor.elem_type)
        dtype = "string" if kind == "STRING" else onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
        lengths = [
            None if case.mode == "dynamic" or not dim.HasField("dim_value") else dim.dim_value
            for dim in tensor.shape.dim
        ]
        specs.append(TensorSpec(value.name, dtype, tuple(lengths)))
    return tuple(specs)


def _stored(case: Case, inputs: Sequence[Any], names: dict[str, str]) -> Iterator[tuple[str, Any]]:
    held = {tensor.name for tensor in case.model.graph.initializer}
    for spec, given in zip(case.model.graph.input, inputs, strict=False):
        if spec.name in held:
            continue
        array = np.asarray(given)
        name = names.get(spec.name, spec.name)
        if array.dtype.kind in "UOS":
            flat = [item if isinstance(item, bytes) else str(item).encode() for item in array.reshape(-1)]
            yield name, ("string", array.shape, flat)
        else:
            yield name, (array.dtype.name, array.shape, array.tobytes())


def _compared(case: Case, answers: Any) -> str | None:
    if isinstance(answers, str):
        return answers
    for (_, wanted), given in zip(case.data, answers, strict=True):
        for spec, reference in zip(case.model.graph.output, wanted, strict=False):
            problem = _difference(np.asarray(reference), given[spec.name], case)
            if problem:
                return f"{spec.name}: {problem}"
    return None


def _difference(reference: np.ndarray, given: tuple[str, tuple[int, ...], Any], case: Case) -> str | None:
    dtype, shape, values = given
    if tuple(reference.shape) != tuple(shape):
        return f"shape {tuple(shape)}, not {tuple(reference.shape)}"
    if reference.dtype.kind in "UOS":
        flat = [item if isinstance(item, bytes) else str(item).encode() for item in reference.reshape(-1)]
        return None if flat == list(values) else "other strings"
    if dtype != reference.dtype.name:
        return f"{dtype}, not {reference.dtype.name}"
    found = np.frombuffer(values, reference.dtype).reshape(shape)
    if reference.dtype.kind in "biu":
        return None if np.array_equal(found, reference) else "other values"
    a, b = found.astype(np.float64), reference.astype(np.float64)
    if np.allclose(a, b, rtol=case.rtol, atol=case.atol, equal_nan=True):
        return None
    with np.errstate(invalid="ignore"):
        return f"differs by {np.nanmax(np.abs(a - b)):.2g}"
