"""Stands in for Triton's FIL backend where a server lacks it: a backend in Python, of any model's own files.

It reads the same files with treelite, whose reference library answers in place of FIL's kernels, from rows in float32.
So shapes, parameters and the meaning of the answers are FIL's, and the last digits are not.

The server imports this file by itself, so that it knows nothing of mlconvert.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import treelite
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found, unused-ignore]

FILES = {
    "xgboost_json": "xgboost.json",
    "xgboost_ubj": "xgboost.ubj",
    "lightgbm": "model.txt",
    "treelite_checkpoint": "checkpoint.tl",
}


class TritonPythonModel:
    def initialize(self, args: Mapping[str, str]) -> None:
        self.config: dict[str, Any] = json.loads(args["model_config"])
        told = {key: row.get("string_value", "") for key, row in self.config.get("parameters", {}).items()}
        kind = told.get("model_type", "xgboost")
        if kind not in FILES:
            raise _error(f"Unknown serialization format {kind}")
        classifier = told.get("output_class") or told.get("is_classifier")
        if classifier not in ("true", "false"):
            raise _error("config parameter 'is_classifier' is required")
        self.classifier = classifier == "true"
        if self.classifier and "threshold" not in told:
            raise _error("config parameter 'threshold' is required for classifiers")
        self.threshold = float(told.get("threshold", "0.5"))
        self.probabilities = told.get("predict_proba", "false") == "true"
        named = self.config.get("default_model_filename") or FILES[kind]
        path = Path(args["model_repository"]) / args["model_version"] / named
        try:
            self.model = _load(path, kind)
        except (treelite.TreeliteError, OSError) as error:
            raise _error(f"{error}") from error
        self._check("input", "input__0", int(self.model.num_feature))
        self._check("output", "output__0", None)

    def _check(self, side: str, name: str, width: int | None) -> None:
        tensors = self.config.get(side, [])
        if [tensor["name"] for tensor in tensors] != [name]:
            raise _error(f"FIL knows one {side}, {name}")
        if tensors[0]["data_type"] != "TYPE_FP32":
            raise _error(f"{side} {name} must be TYPE_FP32")
        dims = [int(dim) for dim in tensors[0]["dims"]]
        classes = int(self.model.get_header_accessor().get_field("num_class")[0])
        allowed = [[width]] if width is not None else [[1]]
        if side == "output" and self.classifier and self.probabilities:
            allowed = [[classes]] if classes > 1 else [[1], [2]]
        if dims not in allowed or self.config.get("max_batch_size", 0) < 1:
            raise _error(f"{side} {name} has dims {dims}, and the model {allowed[-1]} behind a batch axis")

    def execute(self, requests: Iterable[Any]) -> list[Any]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        try:
            rows = pb_utils.get_input_tensor_by_name(request, "input__0").as_numpy()
            # A row is float32 when it comes; the comparison is made in the type of the thresholds.
            matrix = rows.astype(self.model.input_type)
            answers = treelite.gtil.predict(self.model, matrix, nthread=1).reshape(len(rows), -1)
            width = int(self.config["output"][0]["dims"][0])
            if self.classifier and not self.probabilities:
                single = answers.shape[1] == 1
                label = answers[:, 0] > self.threshold if single else answers.argmax(axis=1)
                answers = label.reshape(-1, 1)
            elif self.classifier and width == 2 and answers.shape[1] == 1:
                answers = np.concatenate([1 - answers, answers], axis=1)
            tensor = pb_utils.Tensor("output__0", np.ascontiguousarray(answers, dtype=np.float32))
            return pb_utils.InferenceResponse([tensor])
        except Exception as error:  # noqa: BLE001 - the request's own failure
            return pb_utils.InferenceResponse([], pb_utils.TritonError(str(error)))


def _load(path: Path, kind: str) -> Any:
    if not path.exists():
        raise _error(f"unable to find '{path}'")
    if kind == "lightgbm":
        return treelite.frontend.load_lightgbm_model(str(path))
    if kind == "treelite_checkpoint":
        return treelite.Model.deserialize(str(path))
    choice = "json" if kind == "xgboost_json" else "ubjson"
    return treelite.frontend.load_xgboost_model(str(path), format_choice=choice)


def _error(text: str) -> Exception:
    error: Exception = pb_utils.TritonModelException(text)
    return error
