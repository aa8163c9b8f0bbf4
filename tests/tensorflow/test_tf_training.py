"""Steps of optimisers, several tensors at once, against ONNX's reference implementation."""

import numpy as np
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

DOMAIN = "ai.onnx.preview.training"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("count", [0, 3])
@pytest.mark.parametrize(
    ("op", "parts", "options"),
    [
        ("Adagrad", 3, {"decay_factor": 0.1, "norm_coefficient": 0.01, "epsilon": 1e-5}),
        ("Adam", 4, {"alpha": 0.8, "beta": 0.9, "norm_coefficient": 0.01, "norm_coefficient_post": 0.1}),
        ("Momentum", 3, {"alpha": 0.9, "beta": 0.5, "mode": "standard", "norm_coefficient": 0.01}),
        ("Momentum", 3, {"alpha": 0.9, "beta": 0.5, "mode": "nesterov", "norm_coefficient": 0.01}),
    ],
)
def test_steps(graph_agrees, op, parts, options, count, dtype):
    draw = np.random.default_rng(count)
    shapes = ((2, 3), (4,))
    feeds = {"rate": np.array(0.1, dtype), "count": np.array(count, np.int64)}
    for part in range(parts):
        for place, shape in enumerate(shapes):
            feeds[f"x{part}{place}"] = draw.uniform(0.1, 1, shape).astype(dtype)
    outputs = [f"y{place}" for place in range(len(shapes) * (parts - 1))]
    node = helper.make_node(op, list(feeds), outputs, domain=DOMAIN, **options)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in feeds.items()
    ]
    made = [helper.make_tensor_value_info(name, kind, None) for name in outputs]
    graph = helper.make_graph([node], "step", inputs, made)
    opsets = [helper.make_opsetid("", 22), helper.make_opsetid(DOMAIN, 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    wanted = [one.astype(dtype) for one in ReferenceEvaluator(model).run(None, feeds)]
    graph_agrees(model, feeds, wanted=wanted, rtol=1e-6)
