"""Stands in for Triton's onnxruntime backend where a server lacks it: a backend in Python, of any model's own files.

It is as strict as the real one about what it loads, in the real one's words: numbers, names, dtypes and shapes of the
tensors, batching, reshape. It runs the graph with the onnxruntime package that is installed, on the CPU. It answers
each request by itself, where the real one joins the requests of a batch. `limits.json` beside it may say what the
release that it stands in for can load at most.

The server imports this file by itself, so that it knows nothing of mlconvert.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found, unused-ignore]

# ONNX Runtime's name of an element type -> the configuration's. bfloat16, the 8-bit floats and complex have none.
TYPES = {
    "tensor(bool)": "TYPE_BOOL",
    "tensor(uint8)": "TYPE_UINT8",
    "tensor(uint16)": "TYPE_UINT16",
    "tensor(uint32)": "TYPE_UINT32",
    "tensor(uint64)": "TYPE_UINT64",
    "tensor(int8)": "TYPE_INT8",
    "tensor(int16)": "TYPE_INT16",
    "tensor(int32)": "TYPE_INT32",
    "tensor(int64)": "TYPE_INT64",
    "tensor(float16)": "TYPE_FP16",
    "tensor(float)": "TYPE_FP32",
    "tensor(double)": "TYPE_FP64",
    "tensor(string)": "TYPE_STRING",
}
KINDS = {"seq": "ONNX_TYPE_SEQUENCE", "map": "ONNX_TYPE_MAP", "sparse_tensor": "ONNX_TYPE_SPARSETENSOR"}
LEVELS = {-1: "ORT_ENABLE_BASIC", 0: "ORT_ENABLE_ALL", 1: "ORT_ENABLE_EXTENDED", 2: "ORT_DISABLE_ALL"}
CONTROLS = ("CONTROL_SEQUENCE_START", "CONTROL_SEQUENCE_END", "CONTROL_SEQUENCE_READY", "CONTROL_SEQUENCE_CORRID")
UNABLE = "mlconvert's stand-in for onnxruntime cannot do this: "
PROVIDER = "CPUExecutionProvider"

Infos = dict[str, tuple[str, list[int]]]
"""Name of a tensor -> its element type in ONNX Runtime's words, and its shape, -1 for a dynamic axis."""


class TritonPythonModel:
    def initialize(self, args: Mapping[str, str]) -> None:
        self.config: dict[str, Any] = json.loads(args["model_config"])
        self.name = args["model_name"]
        self.batches = self.config.get("max_batch_size", 0) > 0
        _refuse_what_is_not_stood_in_for(self.config)
        path = _model_file(args, self.config)
        _check_limits(path, json.loads(Path(__file__).with_name("limits.json").read_text("utf-8")))
        self.session = _open(path, self.config)
        self.inputs = _infos(self.session.get_inputs())
        self.outputs = _infos(self.session.get_outputs())
        self._check_inputs()
        self._check_outputs()
        self.asked = [output["name"] for output in self.config["output"]]

    # --- loading: the checks of the real backend, in its order and its words ---

    def _check_inputs(self) -> None:
        configured = self.config["input"]
        expected = sum(not tensor.get("optional", False) for tensor in configured) + self._check_controls()
        if len(self.inputs) != expected:
            raise self._unable(f"configuration expects {expected} inputs, model provides {len(self.inputs)}")
        self.inputs |= _infos(self.session.get_overridable_initializers())
        for tensor in configured:
            name = tensor["name"]
            if tensor.get("optional", False) and self.batches:
                raise self._unable(f"optional input '{name}' is not supported for models that support batching")
            _check_known("input", name, self.inputs)
            self._check_type("input", tensor, self.inputs[name][0])
            self._check_shape(tensor, self.inputs[name][1], exact=False)

    def _check_outputs(self) -> None:
        for tensor in self.config["output"]:
            _check_known("output", tensor["name"], self.outputs)
            kind, shape = self.outputs[tensor["name"]]
            self._check_type("output", tensor, kind)
            self._check_shape(tensor, shape, exact=True)

    def _check_controls(self) -> int:
        """The control tensors of a sequence are inputs of the graph, of one element; how many there are."""
        found = 0
        for row in self.config.get("sequence_batching", {}).get("control_input", []):
            for control in row.get("control", []):
                if control.get("kind") not in CONTROLS:
                    continue
                found += 1
                name = row["name"]
                if name not in self.inputs:
                    raise _error(
                        f"configuration specified sequence control '{name}', but model does not provide that input"
                    )
                kind, shape = self.inputs[name]
                inner = shape[1:] if self.batches else shape
                if inner != [1]:
                    raise self._unable(
                        f"sequence control '{name}' in model has dims {_text(inner)} but dims [1] is expected"
                    )
                wanted = _control_type(control)
                if wanted != TYPES.get(kind):
                    raise self._unable(
                        f"sequence control '{name}', the model expects data-type {TYPES.get(kind, kind)} but the "
                        f"model configuration specifies data-type {wanted}"
                    )
        return found

    def _check_type(self, side: str, tensor: Mapping[str, Any], kind: str) -> None:
        name, wanted = tensor["name"], tensor["data_type"]
        if wanted not in TYPES.values():
            raise _error(f"unsupported datatype {wanted} for {side} '{name}' for model '{self.name}'")
        if wanted != TYPES.get(kind):
            provided = {"TYPE_STRING": "TYPE_BYTES"}.get(TYPES.get(kind, ""), TYPES.get(kind, "TYPE_<invalid>"))
            raise self._unable(
                f"configuration expects datatype {wanted} for {side} '{name}', model provides {provided}"
            )

    def _check_shape(self, tensor: Mapping[str, Any], shape: list[int], *, exact: bool) -> None:
        """`exact`: the configuration must have the graph's shape; else it may be narrower."""
        name = tensor["name"]
        reshape = tensor.get("reshape")
        dims = [int(dim) for dim in (tensor["dims"] if reshape is None else reshape.get("shape", []))]
        if not shape:
            if any(dim != 1 for dim in dims):
                raise self._unable(
                    f"scalar tensor '{name}', should only provide 1 in the model configuration when the model "
                    f"doesn't support batching. Model configuration provided: {_text(dims)}."
                )
            return
        if self.batches and shape[0] != -1:
            raise _error(
                f"model '{self.name}', tensor '{name}': for the model to support batching the shape should have at "
                "least 1 dimension and the first dimension must be -1; but shape expected by the model is "
                f"{_text(shape)}"
            )
        full = [-1, *dims] if self.batches else dims
        fits = len(full) == len(shape) and all(
            own == dim or (own == -1 and not exact) for own, dim in zip(shape, full, strict=True)
        )
        if not fits:
            what = (
                f"(an initial batch dimension because max_batch_size > 0 followed by the explicit tensor shape, "
                f"making complete shape {_text(full)})"
                if self.batches
                else f"(shape {_text(full)})"
            )
            raise _error(
                f"model '{self.name}', tensor '{name}': the model expects {len(shape)} dimensions (shape "
                f"{_text(shape)}) but the model configuration specifies {len(full)} dimensions {what}"
            )

    def _unable(self, why: str) -> Exception:
        return _error(f"unable to load model '{self.name}', {why}")

    # --- answering ---

    def execute(self, requests: Iterable[Any]) -> list[Any]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        try:
            wanted = [name for name in self.asked if name in set(request.requested_output_names())]
            feeds = {}
            for name, (kind, shape) in self.inputs.items():
                tensor = pb_utils.get_input_tensor_by_name(request, name)
                if tensor is not None:
                    feeds[name] = _as_fed(tensor.as_numpy(), kind, shape)
            arrays = self.session.run(wanted, feeds)
            tensors = [
                pb_utils.Tensor(name, self._as_answered(name, array))
                for name, array in zip(wanted, arrays, strict=True)
            ]
            return pb_utils.InferenceResponse(tensors)
        except Exception as error:  # noqa: BLE001 - the request's own failure: the others of the batch are answered
            return pb_utils.InferenceResponse([], pb_utils.TritonError(f"onnx runtime error: {error}"))

    def _as_answered(self, name: str, array: np.ndarray) -> np.ndarray:
        if not self.outputs[name][1]:  # a scalar of the graph has the configured number of ones as its shape
            array = np.reshape(array, [1] * max(1, np.ndim(array)))
        if array.dtype == object:
            array = np.array([text.encode("utf-8") for text in array.reshape(-1)], object).reshape(array.shape)
        return np.ascontiguousarray(array)


def _refuse_what_is_not_stood_in_for(config: Mapping[str, Any]) -> None:
    """What the real backend does and this one does not: to load it here would prove nothing."""
    sequence = config.get("sequence_batching", {})
    for field, used in (
        ("implicit state of sequences", sequence.get("state")),
        ("batch_input", config.get("batch_input")),
        ("batch_output", config.get("batch_output")),
        ("allow_ragged_batch", any(tensor.get("allow_ragged_batch") for tensor in config["input"])),
    ):
        if used:
            raise _error(f"{UNABLE}{field}")


def _model_file(args: Mapping[str, str], config: Mapping[str, Any]) -> Path:
    """`model.onnx`, or what the configuration names; a folder of that name holds a `model.onnx` of its own."""
    named = config.get("default_model_filename") or "model.onnx"
    path = Path(args["model_repository"]) / args["model_version"] / named
    if path.is_dir():
        path /= "model.onnx"
    if not path.exists():
        raise _error(f"unable to find '{path}' for model instance '{args['model_name']}'")
    return path


def _check_limits(path: Path, limits: Mapping[str, Any]) -> None:
    """Refuse what the release's own ONNX Runtime would refuse, where those limits were given."""
    if not limits:
        return
    import onnx

    failed = f"onnx runtime error 1: Load model from {path} failed:"
    model = onnx.load(str(path), load_external_data=False)
    if model.ir_version > limits["ir"]:
        raise _error(
            f"{failed} Unsupported model IR version: {model.ir_version}, max supported IR version: {limits['ir']}"
        )
    highest = {"ai.onnx": limits["opset"], "ai.onnx.ml": limits["ml_opset"]}
    for row in model.opset_import:
        domain = row.domain or "ai.onnx"
        if row.version > highest.get(domain, row.version):
            raise _error(
                f"{failed} ONNX Runtime only *guarantees* support for models stamped with official released onnx "
                f"opset versions. Opset {row.version} is under development and support for this is limited. Current "
                f"official support for domain {domain} is till opset {highest[domain]}."
            )
    trees = {node.name for node in model.graph.node if node.domain == "ai.onnx.ml" and node.op_type == "TreeEnsemble"}
    if trees and limits["trees"] < 5:
        raise _error(
            f"onnx runtime error 9: Could not find an implementation for TreeEnsemble(5) node with name '{min(trees)}'"
        )


def _open(path: Path, config: Mapping[str, Any]) -> Any:
    options = onnxruntime.SessionOptions()
    level = int(config.get("optimization", {}).get("graph", {}).get("level", 0))
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, LEVELS.get(level, "ORT_ENABLE_ALL"))
    parameters = {key: row.get("string_value", "") for key, row in config.get("parameters", {}).items()}
    mode = parameters.get("execution_mode", "0")
    if mode not in ("0", "1"):
        raise _error(
            "Invalid configuration value provided. Expected values for  execution_mode are 0 or 1 but got "
            + mode
            + " ."
        )
    if mode == "1":
        options.execution_mode = onnxruntime.ExecutionMode.ORT_PARALLEL
    options.intra_op_num_threads = _whole(parameters, "intra_op_thread_count")
    options.inter_op_num_threads = _whole(parameters, "inter_op_thread_count")
    for library in config.get("model_operations", {}).get("op_library_filename", []):
        options.register_custom_ops_library(library)
    for row in config.get("optimization", {}).get("execution_accelerators", {}).get("cpu_execution_accelerator", []):
        if row.get("name") != "openvino":
            raise _error(f"unknown Execution Accelerator '{row.get('name')}' is requested")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=[PROVIDER])
    except Exception as error:
        raise _error(f"onnx runtime error: {str(error).removeprefix('[ONNXRuntimeError] : ')}") from error


def _whole(parameters: Mapping[str, str], name: str) -> int:
    text = parameters.get(name, "0")
    try:
        return max(0, int(text))
    except ValueError:
        raise _error(f"failed to convert {name} '{text}' to integral number") from None


def _infos(nodes: Iterable[Any]) -> Infos:
    """The tensors of a session. What is no tensor is refused."""
    infos: Infos = {}
    for node in nodes:
        outer = node.type.partition("(")[0]
        if outer != "tensor":
            kind = KINDS.get(outer, "ONNX_TYPE_UNKNOWN")
            raise _error(f"Unsupported ONNX Type '{kind}' for I/O '{node.name}', expected 'ONNX_TYPE_TENSOR'.")
        infos[node.name] = (node.type, [axis if isinstance(axis, int) else -1 for axis in node.shape])
    return infos


def _check_known(side: str, name: str, infos: Infos) -> None:
    if name not in infos:
        raise _error(f"unexpected inference {side} '{name}', allowed {side}s are: {', '.join(sorted(infos))}")


def _control_type(control: Mapping[str, Any]) -> Any:
    for field, kind in (("int32_false_true", "TYPE_INT32"), ("fp32_false_true", "TYPE_FP32")):
        if control.get(field):
            return kind
    return "TYPE_BOOL" if control.get("bool_false_true") else control.get("data_type")


def _as_fed(array: np.ndarray, kind: str, shape: list[int]) -> np.ndarray:
    if kind == "tensor(string)":
        array = np.array([text.decode("utf-8") for text in array.reshape(-1)], object).reshape(array.shape)
    return array.reshape(()) if not shape else np.ascontiguousarray(array)


def _text(shape: Iterable[int]) -> str:
    return f"[{','.join(str(axis) for axis in shape)}]"


def _error(text: str) -> Exception:
    error: Exception = pb_utils.TritonModelException(text)
    return error
