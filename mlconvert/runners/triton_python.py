"""Runs a model.py as Triton's python backend would, with a stand-in for the module that the backend gives it.

Running a model.py runs code. One that is, byte for byte, what mlconvert writes holds our code only; then what counts is
the model's file, by the rules of its own format: a .skops file of trusted types, TorchScript and an ExportedProgram are
opened, a pickle on trust only. Any other model.py is run on trust only.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mlconvert.converter import Session
from mlconvert.errors import ConversionFailed, MlconvertError, UsageError
from mlconvert.formats.served_python import ServedModel, parse_served, read_served
from mlconvert.python_backend import double
from mlconvert.python_backend.code import is_ours, joins
from mlconvert.signature import Signature, TensorSpec

if TYPE_CHECKING:
    import numpy as np

    from mlconvert.artifact import Artifact

_TRUST = "add --trust if you trust its author"
# Of an estimator: what only computes an answer from a table.
_METHODS = frozenset({"decision_function", "predict", "predict_proba", "transform"})


def signature(artifact: Artifact) -> Signature:
    """Read from the constants of model.py, which is not run. Raises ConversionFailed when they cannot be read."""
    return read_served(artifact.path).signature


def load(artifact: Artifact) -> Session:
    """Run model.py, and let its TritonPythonModel load the model.

    Raises UsageError for what runs code and was not trusted; ConversionFailed when the code or the model fails.
    """
    path = artifact.path
    text = path.read_text(encoding="utf-8")
    served = parse_served(text, path)
    if not artifact.trusted:
        _check_code(text, served, artifact)
        _check_model(served, artifact)
    known = served.signature
    with double.importable(), _quiet(served), _failing(f"{path.name} does not load", artifact):
        module = ModuleType("model")
        module.__file__ = str(path)
        exec(compile(text, str(path), "exec", dont_inherit=True), vars(module))  # noqa: S102 - what was checked above
        model = module.TritonPythonModel()
        model.initialize(_arguments(artifact, known))
    split = joins(served)

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        with double.importable(), _failing(f"{path.name} fails", artifact):
            return _answers(model, known, inputs, artifact, split=split)

    return Session(known, run)


# --- what may be run ---


def _check_code(text: str, served: ServedModel, artifact: Artifact) -> None:
    methods = set(served.constants.get("METHODS", {}).values())
    if not is_ours(text) or not methods <= _METHODS:
        what = f"{artifact.path.name} is not as this mlconvert writes it, and running it would run its author's code"
        raise UsageError(what, where=artifact.location, hint=f"convert the model again, or {_TRUST}")


def _check_model(served: ServedModel, artifact: Artifact) -> None:
    """Raise UsageError or ConversionFailed unless the model's file can be opened without trust."""
    file = artifact.path.with_name(served.model_file)
    inner = replace(artifact, location=str(file), files=(file,))
    if served.kind == "torchscript":
        return  # as its own runner has it
    if served.kind == "exported-program":
        from mlconvert.readers.torch_archives import load_exported_program

        load_exported_program(replace(inner, format="exported-program"))
        return
    if file.suffix == ".skops":
        from mlconvert.readers.estimators import load_estimator
        from mlconvert.readers.trusted_types import not_trusted

        if foreign := not_trusted(served.constants.get("TRUSTED", ())):
            what = f"{artifact.path.name} trusts types that are not on mlconvert's list: {', '.join(foreign)}"
            raise UsageError(what, where=artifact.location, hint=f"{_TRUST} and these types")
        load_estimator(replace(inner, format="sklearn"))  # its types are checked, and the indices inside
        return
    what = f"{file.name} is a pickle, which can run code when it is opened, so it is opened only on your word"
    raise UsageError(what, where=artifact.location, hint=_TRUST)


def _quiet(served: ServedModel) -> contextlib.AbstractContextManager[None]:
    if served.kind not in ("torchscript", "exported-program"):
        return contextlib.nullcontext()
    from mlconvert.readers.torch_archives import quiet_torch

    return quiet_torch()


@contextlib.contextmanager
def _failing(what: str, artifact: Artifact) -> Iterator[None]:
    try:
        yield
    except (MlconvertError, MemoryError):
        raise
    except Exception as error:  # a model's code is anyone's
        reason = f"{what}: {type(error).__name__}: {error}"
        raise ConversionFailed(reason, where=artifact.location) from error


# --- as the server calls it ---


def _arguments(artifact: Artifact, known: Signature) -> dict[str, str]:
    """What the backend hands to `initialize`: all of it text, the configuration as JSON."""
    config = {
        "name": "model",
        "backend": "python",
        "max_batch_size": 0,
        "input": [_tensor_config(spec) for spec in known.inputs],
        "output": [_tensor_config(spec) for spec in known.outputs],
    }
    return {
        "model_config": json.dumps(config),
        "model_instance_kind": "CPU",
        "model_instance_name": "model_0_0",
        "model_instance_device_id": "0",
        "model_repository": str(artifact.path.parent),
        "model_version": "1",
        "model_name": "model",
    }


def _tensor_config(spec: TensorSpec) -> dict[str, Any]:
    dims = [axis if isinstance(axis, int) else -1 for axis in spec.shape]
    data_type = double.TRITON_TYPES["object" if spec.dtype == "string" else spec.dtype]
    return {"name": spec.name, "data_type": data_type, "dims": dims}


def _answers(
    model: Any, known: Signature, inputs: Mapping[str, np.ndarray], artifact: Artifact, *, split: bool
) -> dict[str, np.ndarray]:
    """The answers to one batch. Where the model joins requests it comes in two, so that joining is proven as well."""
    import numpy as np

    rows = min(len(values) for values in inputs.values()) if split else 0
    cuts = [(0, rows // 3), (rows // 3, rows)] if rows >= 3 else [(None, None)]
    names = [spec.name for spec in known.outputs]
    requests = [
        double.InferenceRequest([_tensor(name, values[start:stop]) for name, values in inputs.items()], names)
        for start, stop in cuts
    ]
    responses = model.execute(requests)
    if len(responses) != len(requests):
        what = f"execute gave {len(responses)} responses to {len(requests)} requests"
        raise ConversionFailed(what, where=artifact.location)
    parts = [_outputs(response, known, artifact) for response in responses]
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


def _tensor(name: str, values: np.ndarray) -> double.Tensor:
    import numpy as np

    if values.dtype.kind == "U":
        encoded = np.empty(values.shape, dtype=object)
        encoded.reshape(-1)[:] = [text.encode() for text in values.reshape(-1)]
        return double.Tensor(name, encoded)
    return double.Tensor(name, np.ascontiguousarray(values))


def _outputs(response: Any, known: Signature, artifact: Artifact) -> dict[str, np.ndarray]:
    if response.has_error():
        raise ConversionFailed(f"{artifact.path.name}: {response.error().message()}", where=artifact.location)
    given = {tensor.name(): tensor.as_numpy() for tensor in response.output_tensors()}
    outputs = {}
    for spec in known.outputs:
        if spec.name not in given:
            raise ConversionFailed(f"{artifact.path.name} gives no '{spec.name}'", where=artifact.location)
        values = _decoded(given[spec.name])
        dtype = "string" if values.dtype.kind == "U" else values.dtype.name
        if dtype != spec.dtype or not _fits(values.shape, spec):
            what = f"{artifact.path.name} gives '{spec.name}' as {dtype}{list(values.shape)} and promises {spec}"
            raise ConversionFailed(what, where=artifact.location)
        outputs[spec.name] = values
    return outputs


def _decoded(values: np.ndarray) -> np.ndarray:
    import numpy as np

    if values.dtype != object:
        return values
    texts = [text.decode() if isinstance(text, bytes) else str(text) for text in values.reshape(-1)]
    return np.array(texts, dtype=np.str_).reshape(values.shape)


def _fits(shape: tuple[int, ...], spec: TensorSpec) -> bool:
    return len(shape) == len(spec.shape) and all(
        wanted == length for wanted, length in zip(spec.shape, shape, strict=True) if isinstance(wanted, int)
    )
