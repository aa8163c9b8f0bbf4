"""What every test stands on: no telemetry, a cache of the session's own, the fixture models, trained once a run, and
a real tritonserver.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Before anything else is imported: onnxruntime writes into the home folder at import unless it is told not to.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
_IS_WORKER = "PYTEST_XDIST_WORKER" in os.environ
if not _IS_WORKER:  # xdist's workers inherit the folder
    os.environ["MLCONVERT_CACHE"] = tempfile.mkdtemp(prefix="mlconvert-tests-")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # what a shell starts with `&` ignores it, and so would
        signal.signal(signal.SIGINT, signal.default_int_handler)  # every process here that a test presses Ctrl-C in

# `make test` installs the server there; tests that need one fail without it.
os.environ.setdefault("MLCONVERT_TRITONSERVER", str(Path(__file__).resolve().parent.parent / "build" / "tritonserver"))

import pytest  # noqa: E402 - only after the environment is set
from hypothesis import settings  # noqa: E402

# CI draws the same examples each time; at a desk new ones are tried. A busy machine is no failure.
settings.register_profile("desk", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "desk")

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
# Importing what trains these takes seconds, and training them next to nothing: one process makes them all at once.
TOGETHER = (
    ("bikes", "breast_cancer", "churn", "diabetes", "iris_xgboost", "loans", "tickets", "wine_forest"),
    ("digits", "digits_script", "tiny_transformer"),
)


def pytest_unconfigure() -> None:
    if not _IS_WORKER:
        shutil.rmtree(os.environ["MLCONVERT_CACHE"], ignore_errors=True)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function from the name of a fixture's file, `churn.skops`, to its path; it trains the model when first asked,
    and those that go together with it.

    Its samples lie beside it. The folder is shared by xdist's workers: fixtures/make.py locks.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if _IS_WORKER else base) / "trained"

    def path_of(name: str) -> Path:
        path = folder / name
        if not path.exists():  # files appear complete; asking again would only cost a process
            stem = name.partition(".")[0]
            others = next((group for group in TOGETHER if stem in group), ())
            done = subprocess.run(
                [sys.executable, str(FIXTURES / "make.py"), name, *others, "-o", str(folder)],
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


# --- a real tritonserver ---


@dataclass(frozen=True)
class TritonServer:
    """A running server of this worker's own, in explicit mode; `root` is its repository, empty between tests."""

    server: Any  # mlconvert.serving.server.Server
    root: Path
    clients: tuple[Any, Any]  # HTTP, gRPC

    def has_ended(self) -> bool:
        try:
            self.server.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            return False
        return True

    def drop(self, *names: str) -> None:
        """Unload the models, and remove their folders once that is done.

        Triton 24.10 dies by a signal now and then, where models come and go while others are still being unloaded.
        """
        http = self.clients[0]
        for name in names:
            http.unload(name)
        deadline = time.monotonic() + 20
        while any(row.name in names and row.state in ("READY", "LOADING", "UNLOADING") for row in http.index()):
            assert time.monotonic() < deadline, f"the server still has one of {', '.join(names)}"
            time.sleep(0.02)
        for name in names:
            shutil.rmtree(self.root / name, ignore_errors=True)


@pytest.fixture(scope="session")
def triton_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], TritonServer]]:
    """A function that gives the real tritonserver of that name, auto-complete off, started once per worker."""
    from mlconvert.serving.client import connect_both
    from mlconvert.serving.home import find_server
    from mlconvert.serving.server import started

    running: dict[str, TritonServer] = {}
    with contextlib.ExitStack() as stack:

        def server(name: str) -> TritonServer:
            if name not in running or running[name].server.process.poll() is not None:
                root = tmp_path_factory.mktemp(f"triton-{name}")
                process = stack.enter_context(started(find_server(), root))
                clients = connect_both(process.http, process.grpc, seconds=60)
                for client in clients:
                    stack.callback(client.close)
                running[name] = TritonServer(process, root, clients)
            return running[name]

        yield server


@pytest.fixture
def triton_server(triton_servers: Callable[[str], TritonServer]) -> TritonServer:
    """The one that most tests share; a new one, where a test has ended it.

    A model that it could not load makes it unready as a whole, for good.
    """
    return triton_servers("shared")


@pytest.fixture(scope="session")
def on_triton(triton_servers: Callable[[str], TritonServer]) -> Callable[[Callable[[TritonServer], None]], None]:
    """A function that does something on the shared server: once more on a new one, if (and only if) it ended.

    Triton 24.10 ends by a signal once in some hundred loads, at no model in particular. What ends a server each time
    ends the second one too, and is an error.
    """

    def do(what: Callable[[TritonServer], None]) -> None:
        server = triton_servers("shared")
        try:
            what(server)
        except Exception:
            if not server.has_ended():
                raise
            what(triton_servers("shared"))

    return do


@pytest.fixture
def loads(on_triton: Callable[[Callable[[TritonServer], None]], None]) -> Callable[..., None]:
    """A function that holds a repository against the real server: each of its models loads as it lies there.

    `answers` maps a model to (inputs, outputs): then it must answer so too, over HTTP and gRPC, floats to 1e-6.
    """

    def load(
        repository: Path, *, answers: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]] | None = None
    ) -> None:
        models = [path for path in sorted(Path(repository).iterdir()) if (path / "config.pbtxt").is_file()]
        assert models, f"{repository} holds no model"
        assert set(answers or {}) <= {path.name for path in models}
        # Members before the ensembles that are made of them.
        models.sort(key=lambda path: "ensemble_scheduling" in (path / "config.pbtxt").read_text("utf-8"))
        on_triton(lambda server: _load(server, models, answers or {}))

    return load


def _load(
    server: TritonServer, models: list[Path], answers: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]]
) -> None:
    from mlconvert.serving.client import wait_ready

    http, _ = server.clients
    try:
        for path in models:
            shutil.copytree(path, server.root / path.name)
        for path in models:
            http.load(path.name)  # raises with the server's reason
            wait_ready(http, path.name, seconds=30)
        for name, (inputs, outputs) in answers.items():
            for client in server.clients:
                _check_answers(f"{name} over {client.protocol}", client.infer(name, inputs), outputs)
    finally:
        server.drop(*(path.name for path in reversed(models)))


def _check_answers(what: str, told: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    import numpy as np

    assert set(wanted) <= set(told), what
    for name, values in wanted.items():
        got, expected = told[name], np.asarray(values)
        assert got.shape == expected.shape, f"{what}: {name}"
        if expected.dtype.kind == "f":
            np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6, err_msg=f"{what}: {name}")
        else:
            np.testing.assert_array_equal(got, expected, err_msg=f"{what}: {name}")


# --- TensorFlow Serving ---


@dataclass(frozen=True)
class TfServing:
    """A running server of this worker's own (the double, where there is no real one).

    `root` is its repository, with a models.config that it reads each second.
    """

    server: Any  # mlconvert.serving.tf_serving.server.Server
    root: Path


@pytest.fixture(scope="session")
def tf_servings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., TfServing]]:
    """A function that gives the TensorFlow Serving of that name, started once per worker; further flags are its own."""
    from mlconvert.serving.tf_serving.home import find_model_server
    from mlconvert.serving.tf_serving.server import started

    running: dict[str, TfServing] = {}
    with contextlib.ExitStack() as stack:

        def server(name: str, *flags: str) -> TfServing:
            if name not in running or running[name].server.process.poll() is not None:
                root = tmp_path_factory.mktemp(f"tf-serving-{name}") / "models"
                root.mkdir()
                config = root / "models.config"
                config.write_text("model_config_list { }\n", "utf-8")
                words = [
                    f"--model_config_file={config}",
                    "--model_config_file_poll_wait_seconds=1",
                    "--allow_version_labels_for_unavailable_models=true",
                    *flags,
                ]
                process = stack.enter_context(started(find_model_server(), words))
                running[name] = TfServing(process, root)
            return running[name]

        yield server


def _write_key(folder: Path, name: str, key: Any, password: bytes | None = None) -> None:
    """A key pair as PEM files: `name`.pem, which the password seals, and `name`.pub."""
    from cryptography.hazmat.primitives import serialization as form

    sealed = form.BestAvailableEncryption(password) if password else form.NoEncryption()
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, sealed)
    public = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    (folder / f"{name}.pem").write_bytes(private)
    (folder / f"{name}.pub").write_bytes(public)


@pytest.fixture(scope="session")
def write_key() -> Callable[..., None]:
    return _write_key


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two key pairs: ours.pem and ours.pub, other.pem and other.pub."""
    from cryptography.hazmat.primitives.asymmetric import ec

    folder = tmp_path_factory.mktemp("keys")
    for name in ("ours", "other"):
        _write_key(folder, name, ec.generate_private_key(ec.SECP256R1()))
    return folder
