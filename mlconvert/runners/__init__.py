"""The table of runners, one a format."""

from __future__ import annotations

from mlconvert import packages as p
from mlconvert.converter import Runner

RUNNERS: tuple[Runner, ...] = (
    Runner("aotinductor", "mlconvert.runners.aotinductor", (p.TORCH,)),
    Runner("catboost", "mlconvert.runners.catboost", (p.CATBOOST,)),
    Runner("ensemble", "mlconvert.execution.ensemble_runner", ()),
    Runner("exported-program", "mlconvert.runners.exported_program", (p.TORCH,)),
    Runner("jar", "mlconvert.runners.jar", (p.NUMPY,), java=8),
    Runner("keras", "mlconvert.runners.keras", (p.KERAS, p.TENSORFLOW)),
    Runner("lightgbm", "mlconvert.runners.lightgbm", (p.LIGHTGBM,)),
    Runner("onnx", "mlconvert.runners.onnx", (p.ONNX, p.ONNXRUNTIME)),
    Runner("openvino", "mlconvert.runners.openvino", (p.OPENVINO,)),
    Runner("pmml", "mlconvert.runners.pmml", (p.JPMML_EVALUATOR, p.PY4J, p.PANDAS), java=11),
    Runner("saved-model", "mlconvert.runners.saved_model", (p.TENSORFLOW,)),
    Runner("sklearn", "mlconvert.runners.sklearn", (p.SKLEARN,)),
    Runner("statsmodels", "mlconvert.runners.statsmodels", (p.STATSMODELS,)),
    Runner("tensorrt", "mlconvert.runners.tensorrt", (p.TENSORRT,)),
    Runner("tf-serving", "mlconvert.runners.tf_serving", (p.NUMPY,)),
    Runner("tflite", "mlconvert.runners.tflite", (p.TENSORFLOW,)),
    Runner("torch", "mlconvert.runners.torch", (p.TORCH,)),
    Runner("torchscript", "mlconvert.runners.torchscript", (p.TORCH,)),
    Runner("treelite", "mlconvert.runners.treelite", (p.TREELITE,)),
    Runner("triton-python", "mlconvert.runners.triton_python", (p.NUMPY,)),
    Runner("triton", "mlconvert.runners.triton", (p.TRITONCLIENT,)),
    Runner("xgboost", "mlconvert.runners.xgboost", (p.XGBOOST,)),
)
