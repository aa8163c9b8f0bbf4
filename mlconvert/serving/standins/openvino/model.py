"""Stands in for Triton's openvino backend where a server lacks it: a backend in Python, of any model's own files.

It checks what the real one checks, in its words, and runs the graph with the openvino package that is installed, on the
CPU. Like the real one it leaves the precision to OpenVINO: on a CPU with AVX512_BF16 or AMX that is bfloat16.

The server imports this file by itself, so that it knows nothing of mlconvert.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found, unused-ignore]

# Its telemetry would write into the home folder as it is imported; without it, it does without.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
import openvino as ov  # noqa: E402

TYPES = {
    "TYPE_BOOL": "boolean",
    "TYPE_UINT8": "u8",
    "TYPE_UINT16": "u16",
    "TYPE_UINT32": "u32",
    "TYPE_UINT64": "u64",
    "TYPE_INT8": "i8",
    "TYPE_INT16": "i16",
    "TYPE_INT32": "i32",
    "TYPE_INT64": "i64",
    "TYPE_FP16": "f16",
    "TYPE_FP32": "f32",
}


class TritonPythonModel:
    def initialize(self, args: Mapping[str, str]) -> None:
        self.config: dict[str, Any] = json.loads(args["model_config"])
        self.name = args["model_name"]
        self.rows = int(self.config.get("max_batch_size", 0))
        if args.get("model_instance_kind") == "GPU":
            raise _error("unable to load model, openvino backend supports only CPU device")
        parameters = {key: row.get("string_value", "") for key, row in self.config.get("parameters", {}).items()}
        self.pads = parameters.get("ENABLE_BATCH_PADDING", "").lower() == "yes"
        named = self.config.get("default_model_filename") or "model.xml"
        path = Path(args["model_repository"]) / args["model_version"] / named
        if not path.exists():
            raise _error(f"unable to find '{path}' for model '{self.name}'")
        core = ov.Core()
        try:
            model = self._checked(core.read_model(str(path)))
            self.model = core.compile_model(model, "CPU", _properties(parameters))
        except RuntimeError as error:
            raise _error(f"openvino error in loading model : {error}") from error
        self.inputs = [tensor["name"] for tensor in self.config["input"]]
        self.outputs = {output.get_any_name(): output for output in self.model.outputs}

    def _checked(self, model: Any) -> Any:
        """The model with the configured types and batch; each static axis must be the configured one."""
        configured = self.config["input"]
        if len(model.inputs) != len(configured):
            raise _error(
                f"unable to load model '{self.name}', configuration expects {len(configured)} inputs, model provides "
                f"{len(model.inputs)}"
            )
        steps = ov.preprocess.PrePostProcessor(model)
        for tensor in configured:
            shape = self._shape("input", tensor, model.inputs)
            self._check_shape(tensor, shape, exact=False)
            steps.input(tensor["name"]).tensor().set_element_type(self._type("input", tensor))
            if self.rows:
                steps.input(tensor["name"]).tensor().set_layout(ov.Layout("N..."))
        model = steps.build()
        if self.rows:
            ov.set_batch(model, self.rows)
        steps = ov.preprocess.PrePostProcessor(model)
        for tensor in self.config["output"]:
            shape = self._shape("output", tensor, model.outputs)
            self._check_shape(tensor, shape, exact=True)
            steps.output(tensor["name"]).tensor().set_element_type(self._type("output", tensor))
        return steps.build()

    def _shape(self, side: str, tensor: Mapping[str, Any], ports: Iterable[Any]) -> list[int]:
        known = {port.get_any_name(): port for port in ports}
        if tensor["name"] not in known:
            allowed = ", ".join(sorted(known))
            raise _error(f"unexpected inference {side} '{tensor['name']}', allowed {side}s are: {allowed}")
        shape = known[tensor["name"]].get_partial_shape()
        return [dim.get_length() if dim.is_static else -1 for dim in shape]

    def _type(self, side: str, tensor: Mapping[str, Any]) -> Any:
        if tensor["data_type"] not in TYPES:
            raise _error(
                f"unsupported datatype {tensor['data_type']} for {side} '{tensor['name']}' for model '{self.name}'"
            )
        return getattr(ov.Type, TYPES[tensor["data_type"]])

    def _check_shape(self, tensor: Mapping[str, Any], shape: list[int], *, exact: bool) -> None:
        reshape = tensor.get("reshape")
        dims = [int(dim) for dim in (tensor["dims"] if reshape is None else reshape.get("shape", []))]
        full = [self.rows, *dims] if self.rows else dims
        fits = len(full) == len(shape)
        for number, (own, dim) in enumerate(zip(shape, full, strict=False)):
            asked = exact or not self.rows or (number != 0 and dim != -1)
            fits = fits and (own in (-1, dim) or not asked)
        if not fits:
            raise _error(
                f"model '{self.name}', tensor '{tensor['name']}': the model expects {len(shape)} dimensions (shape "
                f"{shape}) but the model configuration specifies {len(full)} dimensions (shape {full})"
            )

    def execute(self, requests: Iterable[Any]) -> list[Any]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        try:
            feeds = {name: pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self.inputs}
            rows = len(next(iter(feeds.values()))) if self.rows else 0
            if self.rows:
                feeds = {name: self._padded(array) for name, array in feeds.items()}
            answers = self.model(feeds)
            tensors = []
            for name in request.requested_output_names():
                array = answers[self.outputs[name]]
                array = array[:rows] if self.rows else array
                tensors.append(pb_utils.Tensor(name, np.ascontiguousarray(array)))
            return pb_utils.InferenceResponse(tensors)
        except Exception as error:  # noqa: BLE001 - the request's own failure
            return pb_utils.InferenceResponse(
                [], pb_utils.TritonError(f"openvino error in running inference : {error}")
            )

    def _padded(self, array: np.ndarray) -> np.ndarray:
        missing = self.rows - len(array)
        if missing and not self.pads:
            raise ValueError(f"expected requests with batch size '{self.rows}', got '{len(array)}'")
        return np.concatenate([array, np.zeros((missing, *array.shape[1:]), array.dtype)])


def _properties(parameters: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for name in ("INFERENCE_NUM_THREADS", "COMPILATION_NUM_THREADS"):
        if name in parameters:
            if not parameters[name].isdecimal():
                raise _error(f"expected the parameter '{name}' to be a non-negative number, got {parameters[name]}")
            found[name] = parameters[name]
    if "PERFORMANCE_HINT" in parameters:
        if parameters["PERFORMANCE_HINT"].lower() not in ("latency", "throughput", "cumulative_throughput"):
            raise _error("expected the parameter 'PERFORMANCE_HINT' to be LATENCY/THROUGHPUT/CUMULATIVE_THROUGHPUT")
        found["PERFORMANCE_HINT"] = parameters["PERFORMANCE_HINT"].upper()
    if parameters.get("HINT_BF16", "yes").lower() != "yes":
        raise _error("expected the parameter 'HINT_BF16' to be YES")
    if "HINT_BF16" in parameters:
        found["INFERENCE_PRECISION_HINT"] = "bf16"
    return found


def _error(text: str) -> Exception:
    error: Exception = pb_utils.TritonModelException(text)
    return error
