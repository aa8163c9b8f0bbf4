"""Parts that skl2onnx converts rightly, one by one: its graph becomes a piece of ours."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from mlconvert.errors import ConversionFailed
from mlconvert.pipelines.classes import flat_if_one
from mlconvert.pipelines.graph import OF_ELEMENT, Tensor
from mlconvert.pipelines.loading import check_loads

if TYPE_CHECKING:
    import onnx

    from mlconvert.pipelines.build import Build, Columns

ML_OPSET = 3  # what skl2onnx knows of ai.onnx.ml


def stock(build: Build, part: Any, method: str, given: Columns) -> Tensor:
    """What skl2onnx makes of a part that stands alone. Refuses a part that holds others, and one it does not know."""
    from mlconvert.readers.estimators import type_name, walk

    name = type_name(part)
    if not _is_known(part):
        raise build.refused(f"there is no converter for {name}", "use another estimator in its place")
    if any(inner is not part and hasattr(inner, "predict") for _, inner in walk(part)):
        raise build.refused(f"{name} holds other models, and has no exact ONNX form here")
    x = build.matrix(given)
    if x.dtype not in ("float32", "float64", "string"):
        x = x.cast(build.floats)
    scores = method == "decision_function"
    kind = "scores" if scores else "stock"
    outputs = build.once(part, kind, (x,), lambda: _inlined(build, _converted(build, part, x, scores=scores), x))
    if method in ("predict", "transform") and len(outputs) == 1:
        return flat_if_one(outputs[0]) if method == "predict" else outputs[0]
    if method == "predict":
        return outputs[0].flat() if outputs[0].width is not None else outputs[0]
    if len(outputs) < 2:
        raise build.refused_method(method)
    answer = outputs[1]
    if scores and answer.width == 2 and len(getattr(part, "classes_", ())) == 2:
        return answer.columns([1]).flat()  # skl2onnx writes one for both signs
    return flat_if_one(answer) if scores else answer


def _is_known(part: Any) -> bool:
    from skl2onnx._supported_operators import sklearn_operator_name_map

    return type(part) in sklearn_operator_name_map


def _converted(build: Build, part: Any, x: Tensor, *, scores: bool) -> onnx.ModelProto:
    from skl2onnx import convert_sklearn
    from skl2onnx._supported_operators import sklearn_operator_name_map
    from skl2onnx.common import data_types as types
    from skl2onnx.common._registration import _converter_pool

    kinds = {
        "float32": types.FloatTensorType,
        "float64": types.DoubleTensorType,
        "string": types.StringTensorType,
    }
    registered = _converter_pool.get(sklearn_operator_name_map.get(type(part)))
    allowed = (registered.get_allowed_options() if registered else None) or {}
    options: dict[str, Any] = {"zipmap": False} if "zipmap" in allowed else {}
    if scores and "raw_scores" in allowed:
        options["raw_scores"] = True
    try:
        with warnings.catch_warnings():
            # Deprecations of numpy, onnx and scikit-learn that the stock converters have not followed yet.
            warnings.filterwarnings("ignore", module=r"(onnx|skl2onnx|sklearn)\.")
            model = convert_sklearn(
                part,
                initial_types=[("input", kinds[x.dtype]([None, x.width]))],
                target_opset={"": build.graph.opset, "ai.onnx.ml": ML_OPSET},
                options={id(part): options} if options else None,
            )
    except Exception as error:  # it raises RuntimeError, ValueError, KeyError, … as it comes
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ConversionFailed(f"{build.here}: skl2onnx cannot convert it: {lines[0]}", where=build.where) from error
    check_loads(model, build.where, f"what skl2onnx made of {build.here}")
    return model


def _inlined(build: Build, model: onnx.ModelProto, x: Tensor) -> list[Tensor]:
    """Add the nodes of a model with one input, which x becomes; its outputs."""
    from onnx import compose

    from mlconvert.onnx_model.files import rename_tensors

    graph = build.graph
    prefix = graph.name("stock") + "/"
    (taken,) = model.graph.input
    compose.add_prefix(model, prefix, inplace=True)
    rename_tensors(model, {prefix + taken.name.removeprefix(prefix): x.name})
    graph.nodes.extend(model.graph.node)
    graph.initializers.extend(model.graph.initializer)
    found = []
    for value in model.graph.output:
        kind = value.type.tensor_type
        width = kind.shape.dim[1].dim_value if len(kind.shape.dim) > 1 else None
        found.append(Tensor(graph, value.name, OF_ELEMENT[kind.elem_type], width, exact=False))
    return found
