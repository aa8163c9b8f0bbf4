"""From the sums of a forest to its answers: links and labels.

Links are computed in double, with operators that ONNX Runtime has double kernels for, and rounded at the end where
the answers are float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlconvert.forests.model import Float, Link, TreeModel
    from mlconvert.forests.onnx_graph import Graph

SOFTPLUS_LIMIT = 700.0


def name_of_answers(model: TreeModel) -> str:
    """The output of floats that a model has."""
    return {"value": "variable", "outlier": "scores"}.get(model.task, "probabilities")


def answers_are_sums(model: TreeModel) -> bool:
    """Whether there is nothing to compute between the sums and the answers."""
    return model.link.name == "identity" and model.task in ("value", "multiclass")


def add_answers(graph: Graph, model: TreeModel, sums: str, dtype: Float, outputs: Mapping[str, str]) -> None:
    """Nodes that make the outputs of a model of its sums [N, K], which are of the type `dtype`, as the answers are."""
    output = outputs[name_of_answers(model)]
    wide = dtype == "float64"
    if answers_are_sums(model):
        answer = shown = sums
        if output != sums:
            graph.add("Identity", sums, output=output)
    else:
        double = sums if wide else graph.cast(sums, "float64")
        link = _add_two_classes if model.task == "binary" else add_link
        answer = link(graph, model.link, double, output if wide else "")
        shown = answer if wide else graph.cast(answer, "float32", output)
    if model.task == "value":
        return
    labels = (-1, 1) if model.task == "outlier" else model.classes
    counted = labels == tuple(range(len(labels)))
    last = outputs["label"] if counted else ""
    if model.task == "multiclass":
        likely = answer if model.arithmetic == "float64" else shown
        index = graph.add("ArgMax", sums if model.label_by_sums else likely, output=last, axis=1, keepdims=0)
    else:
        above = graph.cast(graph.add("Greater", double, graph.constant(model.cut)), "int64")
        index = graph.add("Reshape", above, graph.constant([-1]), output=last)
    if not counted:
        texts = [label for label in labels if isinstance(label, str)]
        table = graph.texts(texts) if texts else graph.constant(labels, "int64")
        graph.add("Gather", table, index, output=outputs["label"], axis=0)


def add_link(graph: Graph, link: Link, sums: str, output: str = "") -> str:
    """Nodes that take sums, double [N, K], through a link; the result is named `output`, where that is given."""

    def times(factor: float) -> str:
        return sums if factor == 1 else graph.add("Mul", sums, graph.constant(factor))

    match link.name:
        case "identity":
            return graph.add("Identity", sums, output=output)
        case "sigmoid":
            # Not Sigmoid, which is as accurate, but is equal for other numbers close to 1 than the libraries' own.
            odds = graph.add("Exp", times(-link.scale))
            return graph.add("Div", graph.constant(1.0), graph.add("Add", odds, graph.constant(1.0)), output=output)
        case "softmax":
            return graph.add("Softmax", times(link.scale), output=output, axis=1)
        case "exp":
            return graph.add("Exp", sums, output=output)
        case "log1p-exp":
            # Softplus overflows above 709, where it is its argument.
            low = graph.add("Softplus", graph.add("Min", sums, graph.constant(SOFTPLUS_LIMIT)))
            return graph.add("Max", sums, low, output=output)
        case "signed-square":
            return graph.add("Mul", sums, graph.add("Abs", sums), output=output)
        case "step":
            return graph.cast(graph.add("Greater", sums, graph.constant(0.0)), "float64", output)
        case "isolation":
            power = graph.add("Pow", graph.constant(2.0), graph.add("Div", sums, graph.constant(-link.scale)))
            return graph.add("Sub", graph.constant(-link.offset), power, output=output)


def _add_two_classes(graph: Graph, link: Link, sums: str, output: str) -> str:
    """The probabilities [N, 2] of sums [N, 1]."""
    if link.name == "sigmoid":  # 1 - sigmoid(x) is sigmoid(-x)
        both = graph.add("Mul", sums, graph.constant([-link.scale, link.scale]))
        return graph.add("Sigmoid", both, output=output)
    second = add_link(graph, link, sums)
    return graph.add("Concat", graph.add("Sub", graph.constant(1.0), second), second, output=output, axis=1)
