"""skl2onnx, told what it does not do by itself.

Trees get the cast to float32 where the libraries have it and thresholds that float32 rows can be compared with;
LightGBM's and XGBoost's wrappers are converted by onnxmltools; SimpleImputer works in float64; no ZipMap.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlconvert.converters import classical_graph
from mlconvert.errors import ConversionFailed
from mlconvert.readers import estimators

if TYPE_CHECKING:
    import onnx

# Modules whose estimators are ensembles of trees that cast to float32 (or whose stock ONNX does).
TREE_MODULES = (
    "catboost.", "lightgbm.", "sklearn.ensemble._forest", "sklearn.ensemble._gb", "sklearn.ensemble._hist",
    "sklearn.ensemble._iforest", "sklearn.tree.", "xgboost.",
)  # fmt: skip
DEFAULT_TOKENS = r"(?u)\b\w\w+\b"
TOKENS = {
    "tokenexp": r"[\pL\pN_][\pL\pN_]+",
    "locale": "C.UTF-8",
}  # the same in ONNX's syntax


def is_trees(estimator: Any) -> bool:
    """Whether nothing but an ensemble of trees works on the input."""
    while hasattr(estimator, "steps"):
        used = [step for _, step in estimator.steps if step not in (None, "passthrough")]
        if len(used) != 1:
            return False
        estimator = used[0]
    return type(estimator).__module__.startswith(TREE_MODULES)


def to_onnx(estimator: Any, inputs: Mapping[str, tuple[int, int]], opset: int, where: str) -> onnx.ModelProto:
    """What skl2onnx makes of an estimator, for inputs name -> (element type, width); it changes the loaded estimator.

    Raises ConversionFailed, naming the part of the estimator where skl2onnx has no converter for one.
    """
    import warnings

    from onnx import TensorProto
    from skl2onnx import convert_sklearn
    from skl2onnx.common import data_types as types
    from skl2onnx.common.exceptions import MissingConverter, MissingShapeCalculator

    kinds = {
        TensorProto.FLOAT: types.FloatTensorType,
        TensorProto.DOUBLE: types.DoubleTensorType,
        TensorProto.INT64: types.Int64TensorType,
        TensorProto.BOOL: types.BooleanTensorType,
        TensorProto.STRING: types.StringTensorType,
    }
    floats = all(element == TensorProto.FLOAT for element, _ in inputs.values())
    _prepare_trees(estimator)
    _register_boosters(estimator)
    _register_imputer()
    try:
        with (
            classical_graph.stock_errors(f"skl2onnx cannot convert the {type(estimator).__name__}", where),
            warnings.catch_warnings(),
        ):
            # Deprecations of numpy, onnx and scikit-learn that the stock converters have not followed yet.
            warnings.filterwarnings("ignore", module=r"(onnx|onnxmltools|skl2onnx|sklearn)\.")
            return convert_sklearn(
                estimator,
                initial_types=[(name, kinds[element]([None, width])) for name, (element, width) in inputs.items()],
                target_opset={"": opset, "ai.onnx.ml": classical_graph.ONNX_ML_OPSET},
                options=_options(estimator),
                custom_parsers=None if floats else _parsers(estimator),
            )
    except ConversionFailed as error:
        if isinstance(error.__cause__, (MissingConverter, MissingShapeCalculator)):
            raise _unsupported(estimator, str(error.__cause__), where) from error.__cause__
        raise


def _unsupported(estimator: Any, message: str, where: str) -> ConversionFailed:
    found = re.search(r"<class '([^']+)'>", message)
    cls = found.group(1) if found else estimators.type_name(estimator)
    places = [place for place, part in estimators.walk(estimator) if estimators.type_name(part) == cls]
    place = f" (at {places[0]})" if places and places[0] else ""
    what = f"skl2onnx has no converter for {cls}{place}"
    return ConversionFailed(what, where=where, hint="replace this step by one that skl2onnx supports")


def _options(estimator: Any) -> dict[int, dict[str, Any]]:
    """For every part: no ZipMap, scores instead of made-up probabilities, and scikit-learn's way to cut text."""
    from skl2onnx._supported_operators import sklearn_operator_name_map
    from skl2onnx.common._registration import _converter_pool

    options: dict[int, dict[str, Any]] = {}
    for _, part in estimators.walk(estimator):
        registered = _converter_pool.get(sklearn_operator_name_map.get(type(part)))
        allowed = (registered.get_allowed_options() if registered else None) or {}
        chosen: dict[str, Any] = {}
        if "zipmap" in allowed and not hasattr(part, "steps"):  # a pipeline would hand it to whatever is its last step
            chosen["zipmap"] = False
        if "raw_scores" in allowed and not estimators.has_probabilities(part):
            chosen["raw_scores"] = True
        if "tokenexp" in allowed and part.token_pattern == DEFAULT_TOKENS and part.analyzer == "word":
            chosen |= TOKENS
        if chosen:
            options[id(part)] = chosen
    return options


def _parsers(estimator: Any) -> dict[type, Any]:
    """Parsers that put the cast to float32 before each ensemble of trees, where the libraries have it."""
    import numpy as np
    from skl2onnx._parse import _parse_sklearn_simple_model, sklearn_parsers_map
    from skl2onnx.common.data_types import FloatTensorType
    from skl2onnx.sklapi import CastTransformer

    def in_float32(scope: Any, model: Any, inputs: list[Any], custom_parsers: Any = None) -> Any:
        # Whatever type the input claims: types behind a ColumnTransformer are not known until later.
        if len(inputs) == 1:
            cast = scope.declare_local_operator("SklearnCastTransformer", CastTransformer(dtype=np.float32))
            cast.inputs.append(inputs[0])
            cast.outputs.append(scope.declare_local_variable("as_float32", FloatTensorType()))
            inputs = list(cast.outputs)
        parser = sklearn_parsers_map.get(type(model), _parse_sklearn_simple_model)
        return parser(scope, model, inputs, custom_parsers=custom_parsers)

    parts = (part for _, part in estimators.walk(estimator))
    return {type(part): in_float32 for part in parts if type(part).__module__.startswith(TREE_MODULES)}


def _prepare_trees(estimator: Any) -> None:
    """Round the float64 thresholds of LightGBM and HistGradientBoosting down to float32, in the loaded estimator.

    The stock converters round them to the nearest, and rows of float32 on a threshold go the wrong way.
    """
    import numpy as np

    from mlconvert.converters.lightgbm_to_onnx import with_float32_thresholds

    floor = np.vectorize(classical_graph.floor_float32, otypes=[np.float64])
    for _, part in list(estimators.walk(estimator)):
        if type(part).__name__.startswith("HistGradientBoosting"):
            for predictor in (predictor for round_ in part._predictors for predictor in round_):
                predictor.nodes["num_threshold"] = floor(predictor.nodes["num_threshold"])
        elif type(part).__module__.startswith("lightgbm."):
            part._Booster = with_float32_thresholds(part.booster_)


def _register_boosters(estimator: Any) -> None:
    """Tell skl2onnx of onnxmltools' converters, for the libraries whose wrappers are in the estimator."""
    from skl2onnx import update_registered_converter
    from skl2onnx.common.shape_calculator import (
        calculate_linear_classifier_output_shapes as classes,
    )
    from skl2onnx.common.shape_calculator import (
        calculate_linear_regressor_output_shapes as values,
    )

    from mlconvert.packages import LIGHTGBM_ONNX, XGBOOST_ONNX, require

    zipmap = {"zipmap": [True, False, "columns"], "nocl": [True, False]}
    for _, part in list(estimators.walk(estimator)):
        library, name = type(part).__module__.partition(".")[0], type(part).__name__
        if library == "lightgbm":
            require((LIGHTGBM_ONNX,), "converting LightGBM")
            from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm as stock
        elif library == "xgboost":
            require((XGBOOST_ONNX,), "converting XGBoost")
            from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost as stock

            from mlconvert.converters.xgboost_to_onnx import forget_columns

            forget_columns(part.get_booster())
        else:
            continue
        if name.endswith("Classifier"):
            update_registered_converter(type(part), f"{library}{name}", classes, stock, options=zipmap)
        elif name.endswith("Regressor") or name == "LGBMRanker":
            update_registered_converter(type(part), f"{library}{name}", values, stock)


def _register_imputer() -> None:
    """Give skl2onnx a SimpleImputer of float64: ONNX's own Imputer, which it writes, knows float32 only."""
    import numpy as np
    from onnx import TensorProto
    from skl2onnx import update_registered_converter
    from skl2onnx.common.data_types import DoubleTensorType
    from skl2onnx.operator_converters.common import concatenate_variables
    from skl2onnx.operator_converters.imputer_op import convert_sklearn_imputer
    from skl2onnx.shape_calculators.imputer import calculate_sklearn_imputer_output_shapes
    from sklearn.impute import SimpleImputer

    def impute(scope: Any, operator: Any, container: Any) -> None:
        part = operator.raw_operator
        missing = isinstance(part.missing_values, float) and np.isnan(part.missing_values)
        if not isinstance(operator.inputs[0].type, DoubleTensorType) or not missing:
            convert_sklearn_imputer(scope, operator, container)
            return
        values = np.asarray(part.statistics_, dtype=np.float64)
        if np.isnan(values).any():
            raise RuntimeError("SimpleImputer met a column without values, and drops it")
        joined = concatenate_variables(scope, operator.inputs, container)
        mask, fill = scope.get_unique_variable_name("is_missing"), scope.get_unique_variable_name("fill")
        container.add_initializer(fill, TensorProto.DOUBLE, [1, len(values)], values)
        container.add_node("IsNaN", [joined], [mask], op_version=13)
        container.add_node("Where", [mask, fill, joined], [operator.outputs[0].full_name], op_version=9)

    update_registered_converter(SimpleImputer, "SklearnSimpleImputer", calculate_sklearn_imputer_output_shapes, impute)
