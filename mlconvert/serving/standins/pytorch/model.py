"""Stands in for Triton's pytorch backend where a server lacks it, for TorchScript: a backend in Python.

It maps tensors to forward's arguments and to places as the real one does, checks what that checks when it loads, and
runs the module with the torch package that is installed, on the CPU. AOTInductor packages it leaves to the real one.

The server imports this file by itself, so that it knows nothing of mlconvert.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found, unused-ignore]

TYPES = {
    "TYPE_BOOL": torch.bool,
    "TYPE_UINT8": torch.uint8,
    "TYPE_INT8": torch.int8,
    "TYPE_INT16": torch.int16,
    "TYPE_INT32": torch.int32,
    "TYPE_INT64": torch.int64,
    "TYPE_FP16": torch.float16,
    "TYPE_FP32": torch.float32,
    "TYPE_FP64": torch.float64,
}
UNABLE = "mlconvert's stand-in for pytorch cannot do this: "


class TritonPythonModel:
    def initialize(self, args: Mapping[str, str]) -> None:
        self.config: dict[str, Any] = json.loads(args["model_config"])
        self.name = args["model_name"]
        if self.config.get("platform") == "torch_aoti":
            raise _error(f"{UNABLE}AOTInductor packages (platform torch_aoti)")
        if self.config.get("sequence_batching", {}).get("state"):
            raise _error(f"{UNABLE}implicit state of sequences")
        named = self.config.get("default_model_filename") or "model.pt"
        path = Path(args["model_repository"]) / args["model_version"] / named
        if not path.exists():
            raise _error(f"unable to find '{path}' for model instance '{self.name}'")
        try:
            self.module = torch.jit.load(str(path), map_location="cpu").eval()
        except RuntimeError as error:
            raise _error(f"failed to load model '{self.name}': {error}") from error
        for side in ("input", "output"):
            if not self.config.get(side):
                raise _error(f"model configuration must contain at least one {side}, none were specified.")
            for tensor in self.config[side]:
                if tensor["data_type"] not in TYPES:
                    raise _error(
                        f"unsupported datatype {tensor['data_type']} for {side} '{tensor['name']}' for model "
                        f"'{self.name}'"
                    )
        self.inputs = self._inputs()
        self.outputs = _places([tensor["name"] for tensor in self.config["output"]])

    def _inputs(self) -> dict[str, int]:
        """Input name -> its place among forward's arguments."""
        arguments = [one for one in self.module.forward.schema.arguments if one.type.kind() != "ClassType"]
        names = [tensor["name"] for tensor in self.config["input"]]
        for argument in arguments:
            if argument.type.kind() == "DictType":
                raise _error(f"{UNABLE}a dict as input")
            if argument.type.kind() != "TensorType":
                raise _error(
                    f"An input of type '{argument.type}' was detected in the model. Only a single input of type "
                    "Dict(str, Tensor) or input(s) of type Tensor are supported."
                )
        if len(arguments) != len(names):
            raise _error(
                f"unable to load model '{self.name}', configuration expects {len(names)} inputs, model provides "
                f"{len(arguments)}"
            )
        known = [argument.name for argument in arguments]
        return {name: known.index(name) for name in names} if set(names) <= set(known) else _places(names)

    def execute(self, requests: Iterable[Any]) -> list[Any]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        try:
            arguments: list[Any] = [None] * len(self.inputs)
            for name, place in self.inputs.items():
                arguments[place] = torch.from_numpy(pb_utils.get_input_tensor_by_name(request, name).as_numpy().copy())
            with torch.inference_mode():
                answer = self.module(*arguments)
            answers = self._placed(answer)
            names = request.requested_output_names()
            tensors = [pb_utils.Tensor(name, answers[self.outputs[name]].contiguous().numpy()) for name in names]
            return pb_utils.InferenceResponse(tensors)
        except Exception as error:  # noqa: BLE001 - the request's own failure
            return pb_utils.InferenceResponse([], pb_utils.TritonError(f"PyTorch execute failure: {error}"))

    def _placed(self, answer: Any) -> list[Any]:
        answers = list(answer) if isinstance(answer, tuple) else [answer]
        if not all(isinstance(one, torch.Tensor) for one in answers):
            raise TypeError("output must be of type Tensor, List[str] or Tuple containing one of these two types.")
        for name, place in self.outputs.items():
            if place >= len(answers):
                raise IndexError(f"The output {name} refers to an output index which doesn't exist.")
        return answers


def _places(names: list[str]) -> dict[str, int]:
    """By the number after the first `__`, if every name has one; else in the order of the configuration."""
    numbers = [name.partition("__")[2] if "__" in name else "-" for name in names]
    if all(number == "" or number.isdecimal() for number in numbers):
        return {name: int(number or 0) for name, number in zip(names, numbers, strict=True)}
    return {name: place for place, name in enumerate(names)}


def _error(text: str) -> Exception:
    error: Exception = pb_utils.TritonModelException(text)
    return error
