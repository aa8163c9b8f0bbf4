"""ONNX to ONNX: int8 weights and activations in QDQ form, calibrated on samples (ONNX Runtime's quantize_static)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from mlconvert.artifact import Artifact
from mlconvert.errors import ConversionFailed, UsageError
from mlconvert.onnx_model.files import read_onnx
from mlconvert.onnx_model.passes import contained, interface_of, write_pass
from mlconvert.onnx_model.quantization import check_quantised, preprocess
from mlconvert.signature import Signature

if TYPE_CHECKING:
    import numpy as np

BATCH = 16  # at most this many rows a calibration step, where the model leaves the number open


def convert(
    source: Artifact,
    target: Path,
    *,
    samples: Mapping[str, np.ndarray],
    method: Annotated[Literal["minmax", "entropy", "percentile"], "how the ranges of activations are found"] = "minmax",
    per_channel: Annotated[bool, "one scale a channel of the weights instead of one a tensor"] = False,
    activations: Annotated[
        Literal["int8", "uint8"], "the type of activations; uint8 suits x86 CPUs without VNNI"
    ] = "int8",
    symmetric: Annotated[bool, "activations around zero, as TensorRT wants them"] = False,
    quantize_bias: Annotated[bool, "biases as int32, too; TensorRT wants them as they are"] = True,
    reduce_range: Annotated[bool, "7-bit weights, for CPUs without VNNI"] = False,
    rows: Annotated[int, "at most this many rows of the samples are used"] = 512,
    operators: Annotated[tuple[str, ...], "only these operators; by default all that can be quantised"] = (),
    keep_nodes: Annotated[tuple[str, ...], "names of nodes that are not quantised"] = (),
) -> Artifact:
    """Raises UsageError without samples that fit the model, ConversionFailed when nothing could be quantised."""
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    graph = read_onnx(source.path, external_data=False)
    before = interface_of(graph)
    batches = _batches(before.signature, samples, rows)
    methods = {
        "minmax": CalibrationMethod.MinMax,
        "entropy": CalibrationMethod.Entropy,
        "percentile": CalibrationMethod.Percentile,
    }
    with contained(target) as folder:
        prepared = preprocess(source.path, folder, keep_nodes)
        result = folder / "quantised.onnx"
        try:
            quantize_static(
                prepared,
                result,
                _reader(iter(batches)),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(operators),
                per_channel=per_channel,
                reduce_range=reduce_range,
                activation_type=QuantType.QInt8 if activations == "int8" else QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=list(keep_nodes),
                use_external_data_format=True,
                calibrate_method=methods[method],
                # Not CalibMaxIntermediateOutputs: at that count ONNX Runtime 1.32 forgets what it has collected.
                extra_options={"ActivationSymmetric": symmetric, "QuantizeBias": quantize_bias},
            )
        except Exception as error:
            raise ConversionFailed(f"ONNX Runtime's quantize_static failed: {error}", where=source.location) from error
        model = read_onnx(result)
    used = sum(max(len(array) for array in batch.values()) for batch in batches)
    facts = {**check_quantised(graph, model, source.location), "calibration_rows": used, "calibration_method": method}
    return write_pass(model, target, before, "ONNX Runtime's quantize_static", facts=facts)


def _batches(signature: Signature, samples: Mapping[str, np.ndarray], rows: int) -> list[dict[str, np.ndarray]]:
    """The samples (views, not copies) in batches that the model takes."""
    hint = "give rows that the model will really see: --samples FILE"
    if not samples:
        raise UsageError("int8-static is calibrated on samples, and there are none", hint=hint)
    names = [spec.name for spec in signature.inputs]
    for name in names:
        if name not in samples:
            raise UsageError(f"the samples have no '{name}', an input of the model", hint=hint)
    count = min([rows, *(len(samples[name]) for name in names)])
    fixed = {spec.shape[0] for spec in signature.inputs if spec.shape and isinstance(spec.shape[0], int)}
    # Batches of one size: a fixed model takes no smaller rest, and ONNX Runtime's histograms cannot stack one.
    divisors = [size for size in range(1, BATCH + 1) if count % size == 0]
    size = max((axis for axis in fixed if isinstance(axis, int)), default=max(divisors))
    starts = range(0, count - size + 1, size)
    batches = [{name: samples[name][start : min(start + size, count)] for name in names} for start in starts]
    if not batches:
        raise UsageError(f"int8-static needs {size if fixed else 1} rows of samples, and there are {count}", hint=hint)
    return batches


def _reader(batches: Iterator[dict[str, np.ndarray]]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc, unused-ignore]
        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(batches, None)

    return Reader()
