"""ONNX Runtime (with and without IO binding), OpenVINO and TensorFlow, called as a service in Python calls them."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlconvert.artifact import Artifact
from mlconvert.benchmarking.turns import Feed, Model
from mlconvert.benchmarking.ways import sessions
from mlconvert.benchmarking.ways.threads import limit_tensorflow
from mlconvert.errors import NotVerified
from mlconvert.registry import registry

BFLOAT16 = "tensor(bfloat16)"
UNBOUND = ("tensor(string)", BFLOAT16)


def onnx_run(artifact: Artifact, threads: int) -> Model:
    session = _onnx_session(artifact, threads)
    if BFLOAT16 in {tensor.type for tensor in (*session.get_inputs(), *session.get_outputs())}:
        return sessions.session(artifact, threads)  # numpy has no such numbers: the runner knows the way
    names = [output.name for output in session.get_outputs()]

    def read(told: list[Any]) -> dict[str, np.ndarray]:
        return {name: _text(array) for name, array in zip(names, told, strict=True)}

    return Model("session.run", lambda feed: feed, lambda feed: session.run(names, feed), read)


def onnx_bound(artifact: Artifact, threads: int) -> Model:
    """Inputs are copied into memory that is bound already, outputs go to memory that ONNX Runtime keeps.

    Raises NotVerified for a model of strings or of bfloat16: neither is bound from numpy.
    """
    from onnxruntime import OrtValue

    session = _onnx_session(artifact, threads)
    names = [output.name for output in session.get_outputs()]
    for tensor in (*session.get_inputs(), *session.get_outputs()):
        if tensor.type in UNBOUND:
            what = f"'{tensor.name}' is a {tensor.type}, which cannot be bound"
            raise NotVerified(what, where=artifact.location)
    bound: dict[tuple[Any, ...], tuple[Any, dict[str, Any]]] = {}

    def prepare(feed: Feed) -> tuple[Any, list[tuple[Any, np.ndarray]]]:
        shapes = tuple(array.shape for array in feed.values())
        if shapes not in bound:
            binding, values = session.io_binding(), {}
            for name, array in feed.items():
                values[name] = OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))
                binding.bind_ortvalue_input(name, values[name])
            for name in names:
                binding.bind_output(name)
            bound[shapes] = binding, values
        binding, values = bound[shapes]
        return binding, [(values[name], np.ascontiguousarray(array)) for name, array in feed.items()]

    def run(prepared: tuple[Any, list[tuple[Any, np.ndarray]]]) -> Any:
        binding, inputs = prepared
        for value, array in inputs:
            value.update_inplace(array)
        session.run_with_iobinding(binding)
        return binding

    def read(binding: Any) -> dict[str, np.ndarray]:
        return dict(zip(names, binding.copy_outputs_to_cpu(), strict=True))

    return Model("run_with_iobinding", prepare, run, read)


def openvino(artifact: Artifact, threads: int) -> Model:
    from mlconvert.readers.openvino_files import import_openvino, openvino_signature

    names = [spec.name for spec in openvino_signature(artifact.path).outputs]
    core = import_openvino().Core()
    model = core.read_model(str(artifact.path), str(artifact.path.with_suffix(".bin")))
    hints = {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
    }  # fmt: skip
    compiled = core.compile_model(model, "CPU", hints)
    request = compiled.create_infer_request()

    def read(told: Any) -> dict[str, np.ndarray]:
        return {name: np.array(told[name]) for name in names}

    return Model("infer_request.infer", lambda feed: feed, request.infer, read)


def saved_model(artifact: Artifact, threads: int) -> Model:
    limit_tensorflow(threads)
    run = registry().runner(artifact.format).load(artifact).run
    return Model("serving_default(**tensors)", lambda feed: feed, run, lambda told: told)


def _onnx_session(artifact: Artifact, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(artifact.path.absolute()), options, providers=["CPUExecutionProvider"])


def _text(array: np.ndarray) -> np.ndarray:
    return array.astype(np.str_) if array.dtype == object else array
