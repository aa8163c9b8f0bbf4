"""Ensembles of trees inside a larger graph: the nodes are those of a file of trees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mlconvert.errors import UsageError
from mlconvert.forests.estimators import text_columns
from mlconvert.forests.model import TreeModel
from mlconvert.forests.onnx_nodes import LEAST_OPSET, tree_nodes
from mlconvert.pipelines.classes import flat_if_one
from mlconvert.pipelines.graph import Dtype, Tensor

if TYPE_CHECKING:
    from mlconvert.pipelines.build import Build, Columns


def add_trees(model: TreeModel, x: Tensor, outputs: Sequence[str]) -> dict[str, Tensor]:
    """Outputs of a TreeModel (`label`, `probabilities`, `variable`, `scores`, `raw_scores`) for the matrix x."""
    graph = x.graph
    if graph.opset < LEAST_OPSET:
        raise UsageError(f"opset {graph.opset} is out of range", hint=f"trees and tables need {LEAST_OPSET} or more")
    prefix = graph.name("trees") + "/"
    names = {output: prefix + output for output in outputs}
    made = tree_nodes(model, x.name, names, dtype=graph.floats, operators=graph.operators, prefix=prefix)
    graph.nodes.extend(made.node_protos())
    graph.initializers.extend(made.tensor_protos())
    floats: Dtype = "float32" if "float32" in (graph.floats, model.arithmetic) else "float64"
    texts = bool(model.classes) and isinstance(model.classes[0], str)
    widths = {"label": None, "probabilities": max(2, model.outputs)}
    return {
        output: Tensor(
            graph,
            name,
            ("string" if texts else "int64") if output == "label" else floats,
            widths.get(output, model.outputs),
            exact=False,  # sums, in an order of ONNX Runtime's
        )
        for output, name in names.items()
    }


def tree_ensemble(build: Build, part: Any, model: TreeModel, method: str, given: Columns) -> Tensor:
    """A method's answer of an estimator that is a TreeModel."""
    if model.arithmetic == "float32":
        build.rounds(f"{type(part).__name__} adds up in float32")
    coded = _coded(build, part, given)
    own = {"value": "variable", "outlier": "scores"}.get(model.task, "probabilities")
    outputs = [own] if model.task == "value" else ["label", own]
    if model.task in ("binary", "multiclass"):
        outputs.append("raw_scores")
    made = build.once(part, "trees", (coded,), lambda: add_trees(model, coded, outputs))
    if method == "predict":
        answer = made[outputs[0]]
        return flat_if_one(answer) if model.task == "value" else answer
    if method == "predict_proba" and own == "probabilities":
        return made[own]
    if method == "decision_function" and hasattr(part, method):
        answer = made["raw_scores" if own == "probabilities" else own]
        return flat_if_one(answer)
    raise build.refused_method(method)


def _coded(build: Build, part: Any, given: Columns) -> Tensor:
    """The columns as a matrix, with the codes of texts in the place of columns of text."""
    columns = {found.column: found.categories for found in text_columns(part, build.where)}
    if not columns:
        return build.numbers(given)
    found: list[Tensor] = []
    for index, column in enumerate(build.each(given)):
        if index not in columns:
            found.append(build.numbers(column))
            continue
        if column.dtype != "string":
            raise build.wrong_type(column, "holds numbers", "was fitted on text in its place")
        categories = columns[index]
        code = build.graph.op(
            "LabelEncoder",
            column,
            dtype="int64",
            domain="ai.onnx.ml",
            keys_strings=list(categories),
            values_int64s=list(range(len(categories))),
            default_int64=len(categories),
        )
        codes = np.append(np.arange(len(categories), dtype=np.float64), np.nan).astype(build.floats)
        found.append(build.graph.gather(codes, code))
    return build.graph.concat(found)
