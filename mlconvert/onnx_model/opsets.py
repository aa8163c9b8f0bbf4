"""Moving a model to another opset, and the proof that its operators exist there.

onnx's version converter leaves operators alone that it knows nothing of, and its result may hold operators that the
target opset does not have. So every node is looked up: first to see whether anything must change at all, and again in
the result.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mlconvert.errors import ConversionFailed
from mlconvert.onnx_model.graphs import graphs_of, infer_types, inline_functions, node_name, opset_of

if TYPE_CHECKING:
    import onnx

ML = "ai.onnx.ml"


def set_opset(model: onnx.ModelProto, opset: int, path: Path) -> onnx.ModelProto:
    """The model at another opset of ai.onnx; the weights need not be loaded.

    Raises ConversionFailed, naming node and operator, where an operator has no form at that opset.
    """
    current = opset_of(model)
    if current is None or current == opset:
        return model
    if not _all_same(model, "", current, opset):
        model = _convert(inline_functions(model, path), opset, path)
    _import_version(model, "", opset)
    check_operators(model, "", opset, path)
    # Attributes and types of today's operators that the older ones do not have.
    return infer_types(model, path)


def set_ml_opset(model: onnx.ModelProto, opset: int, path: Path) -> None:
    """Lower the opset of ai.onnx.ml, in place; there is no converter, so operators must be the same in both.

    Raises ConversionFailed, naming node and operator, where one is not.
    """
    current = opset_of(model, ML)
    if current is None or current <= opset:
        return
    for node, imports in nodes_with_imports(model):
        if node.domain == ML and _since(node, min(imports.get(ML, current), current)) > opset:
            what = f"node {node_name(node)} needs ai.onnx.ml {_since(node, current)}, and {opset} is the limit"
            raise ConversionFailed(what, where=str(path), hint="export the model with an older ai.onnx.ml opset")
    _import_version(model, ML, opset)


def check_operators(model: onnx.ModelProto, domain: str, opset: int, path: Path) -> None:
    """Raise ConversionFailed, naming node and operator, unless the opset has every operator of the domain in use."""
    import onnx

    for node, _ in nodes_with_imports(model):
        if _same_domain(node.domain, domain) and _since(node, opset) == 0:
            since = [one.since_version for one in onnx.defs.get_all_schemas_with_history()
                     if one.name == node.op_type and _same_domain(one.domain, domain)]  # fmt: skip
            needs = f"needs opset {min(since)}" if since else "is not an operator of ONNX"
            what = f"node {node_name(node)} {needs}, and {opset} is the limit"
            raise ConversionFailed(what, where=str(path), hint="export the model with an older opset")


def nodes_with_imports(model: onnx.ModelProto) -> Iterator[tuple[onnx.NodeProto, dict[str, int]]]:
    """Every node, with the opsets that hold where it is: the model's, or its function's own."""
    imports = _imports(model.opset_import)
    for graph in graphs_of(model):
        for node in graph.node:
            yield node, imports
    for function in model.functions:
        for node in function.node:
            yield node, _imports(function.opset_import)


def _imports(entries: Iterable[onnx.OperatorSetIdProto]) -> dict[str, int]:
    return {("" if entry.domain == "ai.onnx" else entry.domain): int(entry.version) for entry in entries}


def _same_domain(one: str, other: str) -> bool:
    return one == other or {one, other} == {"", "ai.onnx"}


def _since(node: onnx.NodeProto, opset: int) -> int:
    """The version of the operator's definition that holds at an opset; 0 where there is none."""
    import onnx

    try:
        schema = onnx.defs.get_schema(node.op_type, opset, "" if node.domain == "ai.onnx" else node.domain)
    except onnx.defs.SchemaError:
        return 0
    return 0 if schema.deprecated else int(schema.since_version)


def _all_same(model: onnx.ModelProto, domain: str, current: int, opset: int) -> bool:
    """Whether every operator's definition is the same at both opsets, so that the number is all that changes."""
    for node, imports in nodes_with_imports(model):
        if _same_domain(node.domain, domain):
            now = _since(node, imports.get(domain, current))
            if now == 0 or now != _since(node, opset):
                return False
    return True


def _import_version(model: onnx.ModelProto, domain: str, opset: int) -> None:
    for holder in (model, *model.functions):
        for entry in holder.opset_import:
            if _same_domain(entry.domain, domain):
                entry.version = opset


def _convert(model: onnx.ModelProto, opset: int, path: Path) -> onnx.ModelProto:
    import onnx
    import onnx.version_converter

    try:
        model = _write_out(model, opset, path)
        check_operators(model, "", opset, path)
        return onnx.version_converter.convert_version(model, opset)
    except (RuntimeError, ValueError, onnx.version_converter.ConvertError) as error:
        text = " ".join(str(error).split("Assertion `false` failed: ")[-1].split())
        words = text.replace("'", " ").split()
        nodes = [node for node, _ in nodes_with_imports(model) if _same_domain(node.domain, "")]
        named = ", ".join(node_name(node) for node in nodes if node.op_type in words)
        what = f"opset {opset_of(model)} cannot become {opset}: {text}{f' (nodes: {named})' if named else ''}"
        raise ConversionFailed(what, where=str(path), hint="export the model with that opset") from error


def _write_out(model: onnx.ModelProto, opset: int, path: Path) -> onnx.ModelProto:
    """Replace the operators that the opset lacks and that ONNX defines by older ones (Gelu, LayerNormalization)."""
    import onnx
    import onnx.inliner

    for _ in range(3):  # what is written out may hold another such operator (CastLike)
        nodes = [node for node, _ in nodes_with_imports(model) if _same_domain(node.domain, "")]
        lacking = sorted({node.op_type for node in nodes if _since(node, opset) == 0})
        if not lacking:
            break
        model = infer_types(model, path)
        # The definition depends on types, which the inliner looks for among the values only.
        for tensor in model.graph.initializer:
            shape = list(tensor.dims)
            model.graph.value_info.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, shape))
        named = [("", name) for name in lacking]
        model = onnx.inliner.inline_selected_functions(model, named, inline_schema_functions=True)
        del model.graph.value_info[:]
    return model
