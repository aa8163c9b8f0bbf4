"""config.pbtxt's head: names, backend, platform, and the parts that stand on their own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlconvert.errors import RepositoryInvalid, suggest
from mlconvert.repositories.findings import Finding
from mlconvert.repositories.names import check_name
from mlconvert.repositories.triton.backends import BACKENDS
from mlconvert.repositories.triton.checksums import AGENT
from mlconvert.repositories.triton.labels import labels_of
from mlconvert.repositories.triton.lint.model import ModelFolder

# Backends that exist and that mlconvert does not publish for: there is nothing of theirs that lint could read.
OTHERS = ("dali", "identity", "repeat", "square", "tensorrtllm", "vllm")

# Only these are held against `platform` by the server; of others it takes any.
_BOUND = ("onnxruntime", "pytorch", "tensorrt", "tensorflow")

_ON_GPU, _ON_CPU = ("tensorrt", "auto_mixed_precision", "gpu_io", "cuda"), ("openvino",)

TENSORFLOW_LEFT, AOTI_CAME = "25.03", "26.03"

# Fields that the configuration of 24.10 does not have yet: its server cannot read a file with them at all.
_NOT_IN_24_10 = ("model_metrics", "ensemble_scheduling.max_inflight_requests")


def name(model: ModelFolder) -> Iterator[Finding]:
    told = model.config.name
    if told and told != model.name:
        fix = f'write name: "{model.name}", or rename the folder to {told}'
        yield model.error("name-mismatch", "name", f"the name is '{told}', and the folder '{model.name}'", fix)
    try:
        check_name(model.name)
    except RepositoryInvalid as error:
        fix = f"rename the folder: {error.hint.removeprefix('--name ')}" if error.hint else "choose a shorter name"
        yield model.warning("name-unusual", None, error.message, fix, file="")


def backend(model: ModelFolder) -> Iterator[Finding]:
    config = model.config
    told, platform = config.backend, config.platform
    if model.is_ensemble:
        return
    known = [row.name for row in BACKENDS if row.name != "ensemble"]
    if not told and not platform:
        if model.backend_name:
            what = f"no backend: the server guesses '{model.backend_name}' from the file's name"
            yield model.warning("backend-missing", "backend", what, f'write backend: "{model.backend_name}"')
        else:
            fix = f'write backend: "…", one of {", ".join(known)}'
            yield model.error("backend-missing", "backend", "there is no backend, and no file to guess one from", fix)
    elif not told and model.backend is None and not platform.startswith("tensorflow_"):
        platforms = [each for row in BACKENDS for each in row.platforms]
        what = f"the platform '{platform}' does not exist.{suggest(platform, platforms)}"
        yield model.error("platform-unknown", "platform", what, f'write backend: "…", one of {", ".join(known)}')
    elif told and platform and told in _BOUND:
        platforms = next((list(row.platforms) for row in BACKENDS if row.name == told), [])
        if platform not in platforms and told != "tensorflow":
            what = f"the platform '{platform}' is not one of the backend '{told}'"
            yield model.error("platform-mismatch", "platform", what, f'remove platform: "{platform}"')
    if told == "tensorflow" or platform.startswith("tensorflow_"):
        yield from _tensorflow(model)
    elif told and model.backend is None:
        yield from _unknown_backend(model, known)
    if platform == "torch_aoti" and model.release is not None and model.release < AOTI_CAME:
        what = f"torch_aoti came with Triton {AOTI_CAME}; {model.release} cannot load it"
        yield model.error("release-backend", "platform", what, "convert the model to torchscript or onnx")


def _tensorflow(model: ModelFolder) -> Iterator[Finding]:
    if model.release is None or model.release >= TENSORFLOW_LEFT:
        what = f"the TensorFlow backend left Triton with {TENSORFLOW_LEFT}"
        fix = "serve the SavedModel with the openvino backend, or convert it to ONNX"
        level = model.warning if model.release is None else model.error
        yield level("release-backend", "backend", what, fix)
    yield model.finding(
        "unchecked", "backend-not-checked", "backend", "mlconvert cannot read TensorFlow models", "check it on a server"
    )


def _unknown_backend(model: ModelFolder, known: list[str]) -> Iterator[Finding]:
    told = model.config.backend
    library = f"libtriton_{told}.so"
    places = [model.path, *(model.path / version.name for version in model.versions)]
    if told in OTHERS or any((place / library).exists() for place in places):
        what = f"mlconvert does not know what the backend '{told}' loads: its files were not looked at"
        fix = "load it into a server that has the backend: mlconvert lint REPOSITORY --serve --server FOLDER"
        yield model.finding("unchecked", "backend-not-checked", "backend", what, fix)
    else:
        what = f"the backend '{told}' is not one of Triton's.{suggest(told, [*known, *OTHERS])}"
        yield model.error("backend-unknown", "backend", what, f'write backend: "…", one of {", ".join(known)}')


def numbers(model: ModelFolder) -> Iterator[Finding]:
    rows = model.config.max_batch_size
    if rows < 0:
        what = f"max_batch_size is {rows}"
        yield model.error("batch-size-negative", "max_batch_size", what, "write max_batch_size: 0 for no batching")


def libraries(model: ModelFolder) -> Iterator[Finding]:
    config = model.config
    runtime = config.runtime
    usual = (f"libtriton_{model.backend_name}.so", "model.py", "")
    places = [model.path, *(model.path / version.name for version in model.versions)]
    if runtime not in usual and not any((place / runtime).exists() for place in places):
        what = f"the backend's library '{runtime}' is not in the model's folder, and no usual name"
        yield model.error(
            "runtime-missing", "runtime", what, "remove runtime, or put the library into the model's folder"
        )
    for library in config.model_operations.op_library_filename:
        field = "model_operations"
        if not library.startswith("/"):
            what = f"the library '{library}' is looked for in the folder that the server was started in"
            yield model.error("operations-file-missing", field, what, "write its whole path on the server")
        else:
            what = f"the library '{library}' has to be on the server's disk"
            yield model.warning("operations-file-missing", field, what, "put it into the server's image")


def caches(model: ModelFolder) -> Iterator[Finding]:
    config = model.config
    if not config.response_cache.enable:
        return
    fix = "remove response_cache"
    if config.model_transaction_policy.decoupled:
        what = "a decoupled model's answers cannot be cached"
        yield model.error("cache-decoupled", "response_cache", what, fix)
    if config.HasField("sequence_batching"):
        what = "the answers of a sequence cannot be cached"
        yield model.error("cache-sequence", "response_cache", what, fix)


def transactions(model: ModelFolder) -> Iterator[Finding]:
    if model.config.model_transaction_policy.decoupled and model.backend_name in ("onnxruntime", "openvino", "fil"):
        what = f"the backend '{model.backend_name}' gives one answer to a request: it cannot be decoupled"
        yield model.warning("decoupled", "model_transaction_policy", what, "remove model_transaction_policy")


def agents(model: ModelFolder) -> Iterator[Finding]:
    for agent in model.config.model_repository_agents.agents:
        if agent.name != AGENT:
            what = f"the agent '{agent.name}' is no part of Triton: the server needs its library"
            fix = f"put libtritonrepoagent_{agent.name}.so into the server's repoagents folder"
            yield model.warning("agent-library", "model_repository_agents", what, fix)


def labels(model: ModelFolder) -> Iterator[Finding]:
    try:
        found = labels_of(model.config)
    except RepositoryInvalid as error:
        yield model.error(
            "label-version", "parameters", error.message, f"mlconvert labels {model.repository} {model.name}"
        )
        return
    there = {version.number for version in model.versions if version.plain}
    for label, number in found.items():
        field = f"parameters 'mlconvert.label.{label}'"
        if number not in there:
            what = f"the label '{label}' is of version {number}, which is not there"
            yield model.error("label-version", field, what, f"give the label to one of {sorted(there)}, or remove it")
        elif number not in model.live:
            what = f"the label '{label}' is of version {number}, which the version policy does not serve"
            yield model.error("label-version", field, what, f"add {number} to version_policy {{ specific }}")


def release(model: ModelFolder) -> Iterator[Finding]:
    if model.release == "24.10":
        for path in _NOT_IN_24_10:
            if _has(model.config, path):
                what = f"Triton 24.10 does not know {path}, and cannot read a configuration with it"
                yield model.error("release-field", path, what, f"remove {path}, or serve it with a newer release")


def _has(message: Any, path: str) -> bool:
    first, _, rest = path.partition(".")
    field = message.DESCRIPTOR.fields_by_name.get(first)
    if field is None:
        return False
    if rest:
        return message.HasField(first) and _has(getattr(message, first), rest)
    return any(listed.name == first for listed, _ in message.ListFields())


def parameters(model: ModelFolder) -> Iterator[Finding]:
    """Whole numbers that the onnxruntime backend reads, and fails to load when they are none."""
    if model.backend_name != "onnxruntime":
        return
    for key in ("intra_op_thread_count", "inter_op_thread_count", "execution_mode"):
        text = model.config.parameters[key].string_value if key in model.config.parameters else "0"
        bad = not re.fullmatch(r"\s*[+-]?[0-9]+.*", text) if key != "execution_mode" else text not in ("0", "1")
        if bad:
            fix = "write 0 or 1" if key == "execution_mode" else "write a whole number"
            yield model.error("parameter-value", f"parameters '{key}'", f"'{text}' is not a number that it can be", fix)


def accelerators(model: ModelFolder) -> Iterator[Finding]:
    if model.backend_name != "onnxruntime":
        return
    placed = model.config.optimization.execution_accelerators
    for side, known in (("gpu_execution_accelerator", _ON_GPU), ("cpu_execution_accelerator", _ON_CPU)):
        for row in getattr(placed, side):
            if row.name not in known:
                what = f"onnxruntime has no accelerator '{row.name}' there.{suggest(row.name, known)}"
                fix = f"write one of {', '.join(known)}, or remove it"
                yield model.error("accelerator-unknown", f"optimization {side}", what, fix)


def engine_cache(model: ModelFolder) -> Iterator[Finding]:
    """Where TensorRT under ONNX Runtime keeps the engines that it builds on the server itself."""
    if model.backend_name != "onnxruntime":
        return
    field = "optimization gpu_execution_accelerator 'tensorrt' trt_engine_cache_path"
    for row in model.config.optimization.execution_accelerators.gpu_execution_accelerator:
        if row.name != "tensorrt":
            continue
        enabled = row.parameters.get("trt_engine_cache_enable", "0").lower() not in ("", "0", "false")
        place = row.parameters.get("trt_engine_cache_path", "")
        if not enabled:
            what = "engines are built again at every load, which takes minutes: no cache is enabled"
            what += ", so its path does nothing" if place else ""
        elif not place:
            what = "engines are kept in whatever folder the server was started in: there is no path"
        elif not place.startswith("/"):
            what = f"'{place}' is relative to whatever folder the server was started in"
        elif Path(place).resolve().is_relative_to(model.repository.resolve()):
            what = f"'{place}' is in the repository: a server that polls takes an engine for a change, or for a model"
        else:
            continue
        fix = 'write trt_engine_cache_enable "1", and a folder of the server\'s own, such as "/var/cache/engines"'
        yield model.warning("engine-cache", field, what, fix)


RULES = (
    name, backend, numbers, libraries, caches, transactions, agents, labels, release, parameters, accelerators,
    engine_cache,
)  # fmt: skip
