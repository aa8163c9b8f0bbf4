"""onnx -> openvino: the graph as OpenVINO reads it, in model.xml, and its weights in model.bin."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from mlconvert.artifact import Artifact
from mlconvert.errors import ConversionFailed, UsageError, suggest
from mlconvert.onnx_model.files import onnx_signature, read_outline
from mlconvert.onnx_model.graphs import nodes_of, tensors_of
from mlconvert.onnx_model.opsets import ML
from mlconvert.readers.openvino_files import import_openvino, openvino_signature, reason
from mlconvert.signature import Axis, Signature

if TYPE_CHECKING:
    import onnx

_HALF = ("FLOAT16", "BFLOAT16")
_AUTOMATIC = re.compile(r"[A-Za-z0-9]+_\d+")  # OpenVINO numbers nodes without a name over the whole process


def convert(
    source: Artifact,
    target: Path,
    *,
    compress_to_fp16: Annotated[
        bool, "keep large weights in float16, half the size; they are computed in float32"
    ] = False,
    float64: Annotated[
        Literal["float32", "keep"],
        "what becomes of float64 inputs and outputs: OpenVINO computes in float32 in any case, and Triton's backend "
        "takes no float64",
    ] = "float32",
    shapes: Annotated[
        dict[str, tuple[str, ...]] | None, "for each input its axes: a length fixes the axis, _ leaves it as it is"
    ] = None,
) -> Artifact:
    """Raises ConversionFailed, naming them, for operators that OpenVINO does not have; UsageError for wrong shapes."""
    model = read_outline(source.path)
    told = onnx_signature(model)
    _check_operators(model, source)
    _check_types(told, source)
    ov = import_openvino()

    try:
        graph = ov.Core().read_model(str(source.path))
    except RuntimeError as error:
        hint = "serve the model with ONNX Runtime: --to onnx"
        raise ConversionFailed(
            f"OpenVINO cannot convert the model: {reason(error)}", where=source.location, hint=hint
        ) from error
    if float64 == "float32":
        graph = _with_float32(graph, told)
    fixed = _reshape(graph, told, shapes or {})
    axes = _axes(graph, fixed, source)
    if compress_to_fp16:
        from openvino._offline_transformations import compress_model_transformation

        compress_model_transformation(graph)
    _rename_nodes(graph)
    graph.set_rt_info(json.dumps(axes, ensure_ascii=False), ["mlconvert", "axes"])
    weights = target.with_suffix(".bin")
    ov.serialize(graph, str(target), str(weights))
    facts: dict[str, Any] = {"openvino": ov.get_version().split("-")[0]}
    if compress_to_fp16 or _computes_double(model):
        facts["precision"] = "float16" if compress_to_fp16 else "float32"
    return Artifact("openvino", str(target), (target, weights), openvino_signature(target), facts=facts)


# --- what OpenVINO cannot do ---


def _check_operators(model: onnx.ModelProto, source: Artifact) -> None:
    found = sorted({node.op_type for node in nodes_of(model) if node.domain == ML})
    if found:
        trees = any(name.startswith("TreeEnsemble") for name in found)
        other = (
            "Trees can also go to Triton's FIL backend, as LightGBM's, XGBoost's or treelite's own file."
            if trees
            else ""
        )
        raise ConversionFailed(
            f"OpenVINO has none of the operators of ONNX-ML, and the model uses {', '.join(found)}",
            where=source.location,
            hint=f"serve the model with ONNX Runtime: --to onnx. {other}".strip(),
        )


def _check_types(signature: Signature, source: Artifact) -> None:
    for side, specs in (("input", signature.inputs), ("output", signature.outputs)):
        for spec in specs:
            if spec.dtype in ("string", "bfloat16"):
                raise ConversionFailed(
                    f"the {side} '{spec.name}' is {spec.dtype}, which OpenVINO cannot pass to its callers safely",
                    where=source.location,
                    hint="serve the model with ONNX Runtime: --to onnx",
                )


def _computes_double(model: onnx.ModelProto) -> bool:
    """Whether a model that was exact to float64 no longer is; one of lower precision keeps what it had."""
    import onnx

    name = onnx.TensorProto.DataType.Name
    values = [value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)]
    types = {name(number) for number in (*values, *(tensor.data_type for tensor in tensors_of(model)))}
    quantised = any("Quantize" in node.op_type or node.op_type.endswith("Integer") for node in nodes_of(model))
    return "DOUBLE" in types and not quantised and not types.intersection(_HALF)


# --- the graph ---


def _with_float32(graph: Any, signature: Signature) -> Any:
    """The graph with float32 where it took and gave float64."""
    ov = import_openvino()

    wide = [[spec.name for spec in specs if spec.dtype == "float64"] for specs in (signature.inputs, signature.outputs)]
    if not any(wide):
        return graph
    steps = ov.preprocess.PrePostProcessor(graph)
    for name in wide[0]:
        steps.input(name).tensor().set_element_type(ov.Type.f32)
    for name in wide[1]:
        steps.output(name).tensor().set_element_type(ov.Type.f32)
    return steps.build()


def _reshape(graph: Any, signature: Signature, shapes: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[Axis, ...]]:
    """Fix the axes that the option says, and give the axes of every tensor as the ONNX model has them then."""
    ov = import_openvino()

    axes = {spec.name: spec.shape for spec in (*signature.inputs, *signature.outputs)}
    inputs = {spec.name: spec for spec in signature.inputs}
    wanted = {}
    for name, asked in shapes.items():
        if name not in inputs:
            raise UsageError(f"option shapes: the model has no input '{name}'.{suggest(name, inputs)}")
        shape = inputs[name].shape
        if len(asked) != len(shape):
            raise UsageError(f"option shapes gives '{name}' {len(asked)} axes, and the model has {len(shape)}")
        for axis, length in zip(shape, asked, strict=True):
            if length != "_" and not (length.isdecimal() and int(length) > 0):
                raise UsageError(f"option shapes: '{length}' is neither a length nor _")
            if length != "_" and isinstance(axis, int) and axis != int(length):
                raise UsageError(f"option shapes: an axis of '{name}' is fixed at {axis}, and cannot be {length}")
        wanted[name] = [int(length) if length != "_" else axis for axis, length in zip(shape, asked, strict=True)]
        axes[name] = tuple(wanted[name])
    if wanted:
        try:
            graph.reshape(
                {
                    name: ov.PartialShape([one if isinstance(one, int) else -1 for one in shape])
                    for name, shape in wanted.items()
                }
            )
        except RuntimeError as error:
            raise ConversionFailed(f"OpenVINO cannot fix the shapes: {reason(error)}") from error
    return axes


def _axes(graph: Any, axes: Mapping[str, tuple[Axis, ...]], source: Artifact) -> dict[str, list[Axis]]:
    """Give each input and output its one name, and what is known of the axes of each.

    Raises ConversionFailed when OpenVINO lost one, or knows less of its axes than ONNX does.
    """
    found: dict[str, list[Axis]] = {}
    for port in (*graph.inputs, *graph.outputs):
        names = [name for name in port.get_names() if name in axes]
        if not names:
            what = f"OpenVINO's graph has '{min(port.get_names(), default='?')}', which the ONNX model does not"
            raise ConversionFailed(what, where=source.location)
        name = min(names)
        shape = port.get_partial_shape()
        if shape.rank.is_dynamic:
            what = f"OpenVINO does not know how many axes '{name}' has"
            raise ConversionFailed(
                what, where=source.location, hint="fix the shapes: --set openvino.shapes='INPUT=1,_'"
            )
        port.get_tensor().set_names({name})
        told = axes[name] if len(axes[name]) == len(shape) else (None,) * len(shape)
        found[name] = [dim.get_length() if dim.is_static else axis for dim, axis in zip(shape, told, strict=True)]
    if missing := [name for name in axes if name not in found]:
        raise ConversionFailed(f"OpenVINO's graph lost '{missing[0]}'", where=source.location)
    return found


def _rename_nodes(graph: Any) -> None:
    """Number the nodes that OpenVINO named by itself: its own numbers count all that the process ever made."""
    nodes = graph.get_ordered_ops()
    taken = {node.friendly_name for node in nodes if not _AUTOMATIC.fullmatch(node.friendly_name)}
    number = 0
    for node in nodes:
        if _AUTOMATIC.fullmatch(node.friendly_name):
            while (name := f"{node.get_type_name()}_{number}") in taken:
                number += 1
            number += 1
            node.friendly_name = name
