"""LightGBM's text file to ONNX, through onnxmltools.

The result takes float32 features. Thresholds are rounded down to float32, not to the nearest as onnxmltools would: a
float32 is at most the threshold exactly when it is at most the threshold rounded down. What onnxmltools is known to
convert wrongly without a word is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from mlconvert.converters import classical_graph
from mlconvert.errors import ConversionFailed
from mlconvert.readers import classical_outputs
from mlconvert.readers.boosters import CATEGORICAL, LightGbmText, load_lightgbm

if TYPE_CHECKING:
    from mlconvert.artifact import Artifact


def convert(
    source: Artifact,
    target: Path,
    *,
    opset: Annotated[int, "version of the ai.onnx operators"] = 18,
) -> Artifact:
    """Write an ONNX model with the input `input`, float32 [batch, F]; outputs as the runner of LightGBM names them.

    Raises ConversionFailed for a damaged file, an objective that onnxmltools does not know, and the kinds of models
    that it converts wrongly: random forests, linear trees, zero_as_missing, and others by name.
    """
    booster, text = load_lightgbm(source.path)
    refuse_lightgbm(text, source.location)
    task = classical_outputs.task_of(classical_outputs.LIGHTGBM, text.objective, "LightGBM", source.location)
    with classical_graph.stock_errors("onnxmltools cannot convert the LightGBM model", source.location):
        model = _stock(with_float32_thresholds(booster), len(text.feature_names), opset)
    classes = text.num_class if task == "multiclass" else 2
    outputs = classical_graph.task_outputs(task, classes)
    return classical_graph.finish(model, target, opset=opset, outputs=outputs)


def _stock(booster: Any, features: int, opset: int) -> Any:
    from onnxmltools.convert.common.data_types import FloatTensorType
    from onnxmltools.convert.lightgbm import convert as stock

    # A loaded booster has no parameters; with them, onnxmltools reads the objective from what the user once wrote.
    return stock(
        booster,
        initial_types=[("input", FloatTensorType([None, features]))],
        target_opset=min(opset, classical_graph.ONNXMLTOOLS_OPSET),
        zipmap=False,
    )


def with_float32_thresholds(booster: Any) -> Any:
    """A copy of a booster whose numeric thresholds are rounded down to float32; category sets stay."""
    import lightgbm

    head, *trees = booster.model_to_string().split("Tree=")  # up to the best iteration, if known
    if not trees:
        return booster
    last, end, rest = trees[-1].partition("end of trees")
    blocks = ["Tree=" + _floored(tree) for tree in (*trees[:-1], last)]
    sizes = " ".join(str(len(block.encode("utf-8"))) for block in blocks)
    lines = [f"tree_sizes={sizes}" if line.startswith("tree_sizes=") else line for line in head.split("\n")]
    return lightgbm.Booster(model_str="".join(("\n".join(lines), *blocks, end, rest)))


def _floored(tree: str) -> str:
    from mlconvert.converters.classical_graph import floor_float32

    lines = tree.split("\n")
    fields = {line.partition("=")[0]: index for index, line in enumerate(lines)}
    if "threshold" not in fields:  # a single leaf
        return tree
    values = lines[fields["threshold"]].partition("=")[2].split()
    kinds = lines[fields["decision_type"]].partition("=")[2].split()
    rounded = [
        value if int(kind) & CATEGORICAL else repr(floor_float32(float(value)))
        for value, kind in zip(values, kinds, strict=True)
    ]
    lines[fields["threshold"]] = "threshold=" + " ".join(rounded)
    return "\n".join(lines)


def refuse_lightgbm(text: LightGbmText, where: str) -> None:
    """Raise ConversionFailed for what onnxmltools is known to convert wrongly without saying so."""
    parameters = dict(parameter.partition(":")[::2] for parameter in text.parameters)
    wrong = {
        "boosting=rf": text.averaged,
        "linear_tree": text.linear,
        "zero_as_missing": text.zero_as_missing,
        "the objective multiclassova": text.objective == "multiclassova",
        "reg_sqrt": "sqrt" in parameters,
        "a sigmoid other than 1": text.objective == "binary" and float(parameters.get("sigmoid", 1)) != 1,
    }
    for what, present in wrong.items():
        if present:
            raise ConversionFailed(f"LightGBM with {what} would be converted wrongly by onnxmltools", where=where)
