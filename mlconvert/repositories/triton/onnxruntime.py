"""Models that Triton's onnxruntime backend serves: their configuration and their place in a version folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from mlconvert.artifact import Artifact
from mlconvert.errors import RepositoryInvalid, UsageError
from mlconvert.formats import external_files
from mlconvert.repositories.triton.config import TYPES, Contradiction, contradictions, model_config, positive, shape_of
from mlconvert.signature import Signature, TensorSpec

BACKEND = "onnxruntime"
PLATFORM = "onnxruntime_onnx"
MODEL_FILE = "model.onnx"
MAX_BATCH_SIZE = 64


def describe(
    signature: Signature,
    name: str,
    *,
    max_batch_size: Annotated[
        int | None,
        f"most rows in one batch; 0: no batching (default: {MAX_BATCH_SIZE} where every tensor's first axis is the "
        "same named dynamic axis, else 0)",
    ] = None,
    dynamic_batching: Annotated[
        bool | None, "let the server join requests into batches (default: where it batches)"
    ] = None,
    preferred_batch_sizes: Annotated[tuple[int, ...], "batch sizes that the server waits to fill"] = (),
    max_queue_delay_us: Annotated[int, "microseconds that a request may wait for others to join it"] = 0,
    instances: Annotated[int, "copies of the model that run at once (onnxruntime uses all cores with one)"] = 1,
    instance_kind: Annotated[Literal["auto", "cpu", "gpu"], "auto: on a GPU where the server has one"] = "auto",
    gpus: Annotated[tuple[int, ...], "numbers of the GPUs to use (default: all)"] = (),
) -> tuple[Any, tuple[str, ...]]:
    """The complete ModelConfig of a model with that signature, and comments for its head.

    Raises RepositoryInvalid for what the server would refuse, UsageError for options that contradict each other.
    """  # fmt: skip
    _check_tensors(signature)
    comments = ["Written by mlconvert. It is complete: the server's auto-complete has nothing to add."]
    hard, soft = _reasons_not_to_batch(signature)
    if max_batch_size is None:
        rows = 0 if hard or soft else MAX_BATCH_SIZE
        if rows == 0:
            comments.append(f"No batching: {(hard + soft)[0]}.")
    else:
        rows = max_batch_size
    if rows < 0:
        raise UsageError(f"max_batch_size={rows}: expected 0 (no batching) or more")
    if rows > 0 and hard:
        raise RepositoryInvalid(
            f"the model cannot batch: {hard[0]}",
            hint="convert it with a dynamic first axis, or publish it with --set max_batch_size=0",
        )

    config = model_config()
    config.name = name
    config.backend = BACKEND
    config.max_batch_size = rows
    for specs, tensors in ((signature.inputs, config.input), (signature.outputs, config.output)):
        for spec in specs:
            _fill(tensors.add(), spec, batches=rows > 0)
    config.version_policy.latest.num_versions = 1

    group = config.instance_group.add()
    group.count = positive("instances", instances)
    group.kind = type(group).Kind.Value(f"KIND_{instance_kind.upper()}")
    if gpus and (instance_kind == "cpu" or min(gpus) < 0):
        raise UsageError(f"gpus={','.join(map(str, gpus))} contradicts instance_kind={instance_kind} or is negative")
    group.gpus.extend(gpus)
    if instance_kind == "auto":
        comments.append("An instance_group without a kind runs on a GPU where the server has one, else on the CPU.")

    _fill_dynamic_batching(config, dynamic_batching, preferred_batch_sizes, max_queue_delay_us)
    return config, tuple(comments)


def _check_tensors(signature: Signature) -> None:
    for side, specs in (("input", signature.inputs), ("output", signature.outputs)):
        if not specs:
            raise RepositoryInvalid(f"the model has no {side}s: the server could not serve it")
        for spec in specs:
            if spec.dtype == "bfloat16" or spec.dtype not in TYPES:
                raise RepositoryInvalid(
                    f"{side} '{spec.name}' is {spec.dtype}, which the server's onnxruntime backend does not take",
                    hint="convert the model with float32 inputs and outputs",
                )
            if spec.dtype == "string" and not spec.shape:
                raise RepositoryInvalid(f"{side} '{spec.name}' is a scalar string, which the server cannot pass on")
            if 0 in spec.shape:
                raise RepositoryInvalid(f"{side} '{spec.name}' has an axis of length 0: {spec}")


def _reasons_not_to_batch(signature: Signature) -> tuple[list[str], list[str]]:
    """Why requests cannot be joined along the first axes: what the server refuses (or answers wrongly), and doubts."""
    tensors = [("input", spec) for spec in signature.inputs] + [("output", spec) for spec in signature.outputs]
    hard, soft = [], []
    for side, spec in tensors:
        if not spec.shape:
            hard.append(f"{side} '{spec.name}' is a scalar")
        elif isinstance(spec.shape[0], int):
            hard.append(f"the first axis of {side} '{spec.name}' is fixed at {spec.shape[0]}")
    first = {spec.shape[0] for _, spec in tensors if spec.shape}
    for side, spec in tensors:
        # Rows of such a tensor depend on who else is in the batch (a matrix of similarities): joining would leak them.
        again = [axis for axis in spec.shape[1:] if isinstance(axis, str) and axis in first]
        if again:
            hard.append(f"{side} '{spec.name}' has the batch axis '{again[0]}' a second time")
    if not hard and len(first) > 1:
        names = ", ".join(sorted({f"'{axis}'" if axis else "unnamed" for axis in first}))
        soft.append(f"the first axes are not the same one ({names})")
    elif not hard and first == {None}:
        soft.append("the first axes have no name that shows them to be the same one")
    return hard, soft


def _fill(tensor: Any, spec: TensorSpec, *, batches: bool) -> None:
    tensor.name = spec.name
    tensor.data_type = tensor.DESCRIPTOR.fields_by_name["data_type"].enum_type.values_by_name[TYPES[spec.dtype]].number
    dims = shape_of(spec)[1:] if batches else shape_of(spec)
    if batches and not dims:
        # The server has no empty dims: a row is one number to its clients and no axis at all to the graph.
        tensor.reshape.SetInParent()
    tensor.dims.extend(dims or [1])  # likewise for a scalar without batching, which needs no reshape


def _fill_dynamic_batching(config: Any, asked: bool | None, preferred: tuple[int, ...], delay_us: int) -> None:
    rows = config.max_batch_size
    wanted = rows > 1 if asked is None else asked
    if not wanted:
        if preferred or delay_us:
            raise UsageError(
                "preferred_batch_sizes and max_queue_delay_us are for dynamic batching, which is off here",
                hint="add --set dynamic_batching=yes and --set max_batch_size=N",
            )
        return
    if rows == 0:
        raise RepositoryInvalid("dynamic batching needs a model that batches", hint="add --set max_batch_size=N")
    if any(not 1 <= size <= rows for size in preferred):
        raise UsageError(
            f"preferred_batch_sizes={','.join(map(str, preferred))}: expected 1 to max_batch_size ({rows})"
        )
    if delay_us < 0:
        raise UsageError(f"max_queue_delay_us={delay_us}: expected 0 or more")
    config.dynamic_batching.SetInParent()
    config.dynamic_batching.preferred_batch_size.extend(sorted(set(preferred)))
    config.dynamic_batching.max_queue_delay_microseconds = delay_us


# --- the model's files ---


def placed_files(artifact: Artifact) -> dict[str, Path]:
    """Where each file goes in a version folder (relative path -> source), the main file first.

    A model with external data becomes a folder `model.onnx/`, in which its data keeps the name that the graph has
    for it. Raises ConversionFailed when the file cannot be read, RepositoryInvalid when the artifact's files are not
    those that the graph names.
    """
    main = artifact.path
    data = external_files(main)
    listed = {path.resolve() for path in artifact.files}
    strays = listed - {path.resolve() for path in (main, *data)}
    if strays:
        raise RepositoryInvalid(f"the graph does not use '{min(strays).name}'", where=str(main))
    if not data:
        return {MODEL_FILE: main}
    placed = {f"{MODEL_FILE}/{MODEL_FILE}": main}
    for path in data:
        target = f"{MODEL_FILE}/{path.relative_to(main.parent).as_posix()}"
        if target in placed:
            raise RepositoryInvalid(
                f"the external data is called '{MODEL_FILE}', the name that the server expects of the graph",
                where=str(path),
                hint="save the model with another name for its external data",
            )
        placed[target] = path
    return placed


def signature_of(artifact: Artifact) -> Signature:
    """The artifact's signature, else the graph's own. Raises ConversionFailed when the file cannot be read."""
    return artifact.signature or _graph_signature(artifact.path)


def published_signature(version_folder: Path) -> Signature | None:
    """The signature of the model in a version folder, or None when there is none that this backend would load."""
    path = version_folder / MODEL_FILE
    main = path / MODEL_FILE if path.is_dir() else path
    return _graph_signature(main) if main.is_file() else None


def _graph_signature(path: Path) -> Signature:
    from mlconvert.onnx_model.files import onnx_signature, read_outline

    return onnx_signature(read_outline(path))


def misfits(config: Any, signature: Signature, name: str) -> list[Contradiction]:
    """Where a configuration does not fit a model that this module would place."""
    found = []
    if config.name and config.name != name:
        found.append(Contradiction("name", f"'{config.name}'", f"'{name}'"))
    if config.backend != BACKEND and config.platform != PLATFORM:
        found.append(Contradiction("backend", f"'{config.backend or config.platform}'", f"'{BACKEND}'"))
    if config.default_model_filename not in ("", MODEL_FILE):
        found.append(Contradiction("default_model_filename", f"'{config.default_model_filename}'", f"'{MODEL_FILE}'"))
    return found + contradictions(config, signature)
