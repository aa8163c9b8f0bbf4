"""The table of converters. A row names a module, which is imported when the row is used."""

from __future__ import annotations

from mlconvert import packages as p
from mlconvert.converter import Converter

CONVERTERS: tuple[Converter, ...] = (
    # --- to ONNX ---
    Converter(
        "catboost", "onnx", "onnx", "mlconvert.converters.catboost_to_onnx", (p.CATBOOST, p.ONNX),
        title="CatBoost's own ONNX export",
    ),
    Converter(
        "exported-program", "onnx", "onnx", "mlconvert.converters.exported_program_to_onnx",
        (p.TORCH, p.ONNX, p.ONNXSCRIPT),
        title="torch.onnx.export of an ExportedProgram",
    ),
    Converter(
        "lightgbm", "onnx", "onnx", "mlconvert.converters.lightgbm_to_onnx", (p.LIGHTGBM, p.LIGHTGBM_ONNX, p.ONNX),
        title="onnxmltools, from LightGBM's text file",
    ),
    Converter(
        "sklearn", "onnx", "onnx", "mlconvert.converters.sklearn_to_onnx", (p.SKLEARN, p.SKL2ONNX, p.ONNX),
        title="skl2onnx, from a fitted scikit-learn estimator", uses_samples=True,
    ),
    Converter(
        "torch", "onnx", "onnx", "mlconvert.converters.torch_to_onnx", (p.TORCH, p.ONNX, p.ONNXSCRIPT),
        title="torch.onnx.export of a module that a factory builds", uses_samples=True,
    ),
    Converter(
        "torchscript", "onnx", "onnx", "mlconvert.converters.torchscript_to_onnx", (p.TORCH, p.ONNX),
        title="the legacy exporter, from TorchScript", uses_samples=True,
    ),
    Converter(
        "xgboost", "onnx", "onnx", "mlconvert.converters.xgboost_to_onnx", (p.XGBOOST, p.XGBOOST_ONNX, p.ONNX),
        title="onnxmltools, from XGBoost's json or ubj file",
    ),
    # --- ONNX to ONNX ---
    Converter(
        "onnx", "onnx", "bfloat16", "mlconvert.converters.onnx_bfloat16", (p.ONNX,),
        title="weights and arithmetic in bfloat16", precision="bfloat16",
    ),
    Converter(
        "onnx", "onnx", "float16", "mlconvert.converters.onnx_float16", (p.ONNX, p.ONNXRUNTIME),
        title="weights and arithmetic in float16", precision="float16",
    ),
    Converter(
        "onnx", "onnx", "int8-dynamic", "mlconvert.converters.onnx_int8_dynamic", (p.ONNX, p.ONNXRUNTIME),
        title="int8 weights, activations quantised as they come", precision="int8",
    ),
    Converter(
        "onnx", "onnx", "int8-static", "mlconvert.converters.onnx_int8_static", (p.ONNX, p.ONNXRUNTIME),
        title="int8 weights and activations, calibrated on the samples", uses_samples=True, precision="int8",
    ),
    Converter(
        "onnx", "onnx", "lower", "mlconvert.converters.onnx_lower", (p.ONNX,),
        title="an older opset and IR version, for an older server",
    ),
    Converter(
        "onnx", "onnx", "optimize", "mlconvert.converters.onnx_optimize", (p.ONNX, p.ONNXSLIM, p.ONNXSCRIPT),
        title="fold constants and drop what is unused (onnxslim; onnx-ir above 2 GB)",
    ),
    Converter(
        "onnx", "onnx", "simplify", "mlconvert.converters.onnx_simplify", (p.ONNX, p.ONNXSIM),
        title="onnxsim: needs six times the model's size in memory",
    ),
)  # fmt: skip
