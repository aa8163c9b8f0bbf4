"""Multi-layer perceptrons."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from mlconvert.pipelines.classes import both_classes, label_by_probability
from mlconvert.pipelines.functions import sigmoid, softmax

if TYPE_CHECKING:
    from mlconvert.pipelines.build import Build, Columns
    from mlconvert.pipelines.graph import Tensor

# neural_network/_base.py
_ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda x: x,
    "exp": lambda x: x.apply("Exp"),
    "logistic": sigmoid,
    "relu": lambda x: x.apply("Relu"),
    "softmax": softmax,
    "tanh": lambda x: x.apply("Tanh"),
}


def _forward(build: Build, part: Any, given: Columns) -> Tensor:
    x = build.numbers(given)
    last = len(part.coefs_) - 1
    for layer, (weights, bias) in enumerate(zip(part.coefs_, part.intercepts_, strict=True)):
        x = _ACTIVATIONS[part.out_activation_ if layer == last else part.activation](x @ weights + bias)
    return x


def perceptron_classifier(build: Build, part: Any, method: str, given: Columns) -> Tensor:
    if part._label_binarizer.y_type_.startswith("multilabel"):
        raise build.refused("it gives several labels a row")
    likely = _forward(build, part, given)
    if part.n_outputs_ == 1:
        if method == "predict_proba":
            return both_classes(likely)
        return build.labels(part.classes_, (likely > 0.5).cast("int64").flat())
    return likely if method == "predict_proba" else label_by_probability(build, part.classes_, likely)


def perceptron_regressor(build: Build, part: Any, given: Columns) -> Tensor:
    answer = _forward(build, part, given)
    return answer.flat() if answer.width == 1 else answer
