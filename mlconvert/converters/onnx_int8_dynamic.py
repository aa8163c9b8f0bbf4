"""ONNX to ONNX: int8 weights, activations quantised as they come (ONNX Runtime's quantize_dynamic).

For matrix products (transformers, MLPs, LSTMs), a quarter of the size. Convolutions are left alone unless asked for:
ONNX Runtime's CPU has an integer convolution for uint8 weights only, and static quantisation serves them better.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from mlconvert.artifact import Artifact
from mlconvert.errors import ConversionFailed, UsageError, suggest
from mlconvert.onnx_model.files import read_onnx
from mlconvert.onnx_model.passes import contained, interface_of, write_pass
from mlconvert.onnx_model.quantization import DYNAMIC_OPERATORS, check_quantised, preprocess


def convert(
    source: Artifact,
    target: Path,
    *,
    weights: Annotated[Literal["int8", "uint8"], "the type of the weights"] = "int8",
    per_channel: Annotated[bool, "one scale a column of the weights instead of one a matrix"] = False,
    reduce_range: Annotated[bool, "7-bit weights, for CPUs without VNNI"] = False,
    operators: Annotated[tuple[str, ...], "only these operators; by default all but convolutions"] = (),
    keep_nodes: Annotated[tuple[str, ...], "names of nodes that are not quantised"] = (),
) -> Artifact:
    """Raises ConversionFailed when nothing in the model could be quantised."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    for name in operators:
        if name not in (*DYNAMIC_OPERATORS, "Conv"):
            raise UsageError(f"operators: '{name}' cannot be quantised dynamically.{suggest(name, DYNAMIC_OPERATORS)}")
    graph = read_onnx(source.path, external_data=False)
    before = interface_of(graph)
    with contained(target) as folder:
        prepared = preprocess(source.path, folder, keep_nodes)
        result = folder / "quantised.onnx"
        try:
            quantize_dynamic(
                prepared,
                result,
                op_types_to_quantize=list(operators or DYNAMIC_OPERATORS),
                per_channel=per_channel,
                reduce_range=reduce_range,
                weight_type=QuantType.QInt8 if weights == "int8" else QuantType.QUInt8,
                nodes_to_exclude=list(keep_nodes),
                use_external_data_format=True,
                extra_options={"EnableSubgraph": True},
            )
        except Exception as error:
            raise ConversionFailed(f"ONNX Runtime's quantize_dynamic failed: {error}", where=source.location) from error
        model = read_onnx(result)
    facts = check_quantised(graph, model, source.location)
    return write_pass(model, target, before, "ONNX Runtime's quantize_dynamic", facts=facts)
