"""What every test stands on: no telemetry, a cache of the session's own, and the fixture models, trained once a run."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

# Before anything else is imported: onnxruntime writes into the home folder at import unless it is told not to.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
_IS_WORKER = "PYTEST_XDIST_WORKER" in os.environ
if not _IS_WORKER:  # xdist's workers inherit the folder
    os.environ["MLCONVERT_CACHE"] = tempfile.mkdtemp(prefix="mlconvert-tests-")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # what a shell starts with `&` ignores it, and so would
        signal.signal(signal.SIGINT, signal.default_int_handler)  # every process here that a test presses Ctrl-C in

import pytest  # noqa: E402 - only after the environment is set
from hypothesis import settings  # noqa: E402

# CI draws the same examples each time; at a desk new ones are tried. A busy machine is no failure.
settings.register_profile("desk", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "desk")

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"


def pytest_unconfigure() -> None:
    if not _IS_WORKER:
        shutil.rmtree(os.environ["MLCONVERT_CACHE"], ignore_errors=True)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function from the name of a fixture's file, `churn.skops`, to its path; it trains the model when first asked.

    Its samples lie beside it. The folder is shared by xdist's workers: fixtures/make.py locks.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if _IS_WORKER else base) / "trained"

    def path_of(name: str) -> Path:
        path = folder / name
        if not path.exists():  # files appear complete; asking again would only cost a process
            done = subprocess.run(
                [sys.executable, str(FIXTURES / "make.py"), name, "-o", str(folder)],
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"fixtures/make.py {name}: {done.stderr}"
        return path

    return path_of


@pytest.fixture(scope="session")
def small_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of one Gemm and one Relu: input `x` [batch, 4], outputs `y` [batch, 3] and `sum` [batch]."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    generator = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(generator.normal(size=(4, 3)).astype(np.float32), "w"),
        numpy_helper.from_array(generator.normal(size=3).astype(np.float32), "b"),
        numpy_helper.from_array(np.array([1], np.int64), "axes"),
    ]
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h"]),
        helper.make_node("Relu", ["h"], ["y"]),
        helper.make_node("ReduceSum", ["y", "axes"], ["sum"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3]),
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, ["batch"]),
        ],
        weights,
    )
    path = tmp_path_factory.mktemp("small") / "small.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), str(path))
    return path
