"""Fitted statsmodels results to ONNX: a linear predictor and its inverse link, in float64 throughout.

The answer is the mean, as `results.predict` gives it for new rows. Confidence and prediction intervals, and the
offset or exposure of the fit, are not part of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlconvert.converters.statsmodels_design import ML, ML_OPSET, DesignNodes
from mlconvert.converters.statsmodels_links import add_inverse_link
from mlconvert.converters.tree_options import Opset
from mlconvert.errors import ConversionFailed, UsageError
from mlconvert.readers.statsmodels_results import Fit, load_fit

if TYPE_CHECKING:
    import onnx

    from mlconvert.artifact import Artifact
    from mlconvert.signature import TensorSpec

LEAST_OPSET = 15
"""Of ai.onnx; the lowest in which Pow takes what is given to it here."""


def convert(source: Artifact, target: Path, *, opset: Opset = 18) -> Artifact:
    """Write an ONNX model of the mean: `variable` [N, 1], or for MNLogit `probabilities` [N, classes].

    A model of a matrix takes `input`, float64 [N, P], with the constant's column where the fit had one. A formula's
    model takes one input [N, 1] for each column of the data frame: float64, string or bool; a row with a category that
    the fit did not have, or with a missing value, is answered with NaN. Raises ConversionFailed, by name, for models,
    links and terms of formulas that are not converted.
    """
    from mlconvert.forests.onnx_graph import Graph
    from mlconvert.onnx_model import files as onnx_files
    from mlconvert.python_backend.refusals import served_as_it_is

    with served_as_it_is(lambda: _answers(source)):
        fit = load_fit(source)
    (output,) = fit.signature.outputs
    _check_names(fit, source.location)
    graph = Graph("inner/")
    if fit.design is None:
        predictor = graph.add("MatMul", "input", graph.constant(fit.parameters))
    else:
        predictor = DesignNodes(graph).linear_predictor(fit.design, fit.parameters)
    add_inverse_link(graph, fit.link, predictor, output.name)
    model = _model(graph, fit, opset)
    return onnx_files.onnx_artifact(target, onnx_files.write_onnx(model, target), model=model, facts=_facts(fit))


def _answers(source: Artifact) -> bool:
    """Whether the results answer new rows, converted or not."""
    from mlconvert.readers.statsmodels_answers import load_answering

    try:
        return bool(load_answering(source).signature.inputs)
    except ConversionFailed:
        return False


def _check_names(fit: Fit, where: str) -> None:
    taken = [spec.name for spec in fit.signature.inputs if spec.name in ("", fit.signature.outputs[0].name)]
    taken += [spec.name for spec in fit.signature.inputs if spec.name.startswith("inner/")]
    if taken:
        what = f"the column '{taken[0]}' has the name of an output, which ONNX does not allow"
        raise ConversionFailed(what, where=where, hint="rename the column, and fit the model again")


def _model(graph: Any, fit: Fit, opset: int) -> onnx.ModelProto:
    from onnx import defs, helper

    if not LEAST_OPSET <= opset <= defs.onnx_opset_version():
        raise UsageError(f"opset {opset} cannot be written: {LEAST_OPSET} to {defs.onnx_opset_version()} can")
    nodes = graph.node_protos()
    opsets = [helper.make_opsetid("", opset)]
    if any(node.domain == ML for node in nodes):
        opsets.append(helper.make_opsetid(ML, ML_OPSET))
    whole = helper.make_graph(
        nodes,
        "model",
        [_value(spec) for spec in fit.signature.inputs],
        [_value(spec) for spec in fit.signature.outputs],
        graph.tensor_protos(),
    )
    # A high one: writing lowers it to what the operators need.
    model: onnx.ModelProto = helper.make_model(whole, opset_imports=opsets, ir_version=10)
    return model


def _value(spec: TensorSpec) -> onnx.ValueInfoProto:
    from onnx import TensorProto, helper

    element = {"float64": TensorProto.DOUBLE, "string": TensorProto.STRING, "bool": TensorProto.BOOL}[spec.dtype]
    value: onnx.ValueInfoProto = helper.make_tensor_value_info(spec.name, element, spec.shape)
    return value


def _facts(fit: Fit) -> dict[str, Any]:
    facts: dict[str, Any] = {"precision": "float64", "model": fit.model, "link": fit.link.name}
    if fit.classes:
        facts["classes"] = list(fit.classes)
    if fit.ignored:
        facts["ignored"] = list(fit.ignored)
    return facts
