"""model_warmup: what the server runs before it calls a model ready, made of the rows that the record keeps.

Real rows are valid inputs: known categories, tokens of the vocabulary, numbers in their range. Random ones are not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from mlconvert.errors import MlconvertError, NotVerified, RepositoryInvalid, UsageError
from mlconvert.repositories.kept_rows import inputs_of, sample
from mlconvert.repositories.triton import config as cfg
from mlconvert.repositories.triton.description import Draft, digest_name
from mlconvert.repositories.triton.sections.batching import check_sizes

if TYPE_CHECKING:
    import numpy as np

FOLDER = "warmup"  # where the server looks for the files that a configuration names


def warmup(
    draft: Draft,
    *,
    warmup: Annotated[
        bool | None, "run rows of the record's before the model is called ready (default: where the record keeps any)"
    ] = None,
    warmup_batch_sizes: Annotated[
        tuple[int, ...], "batch sizes to run (default: 1 and max_batch_size, or those of the engine's profiles)"
    ] = (),
    warmup_count: Annotated[int, "how many times to run each"] = 1,
) -> None:
    """For engines with optimisation profiles: each profile's smallest, best and largest shapes."""
    cfg.positive("warmup_count", warmup_count)
    if warmup is False:
        if warmup_batch_sizes:
            raise UsageError("warmup_batch_sizes contradicts warmup=no", hint="leave one of them out")
        return
    asked = warmup or bool(warmup_batch_sizes)
    rows = (draft.record or {}).get("rows")
    if not rows or draft.config.HasField("sequence_batching"):
        if asked:
            raise _impossible(draft, rows)
        return
    batches = draft.config.max_batch_size
    check_sizes("warmup_batch_sizes", warmup_batch_sizes, max(batches, 1))
    try:
        row = _row(draft)
        shapes = _profile_shapes(draft, batches) if not warmup_batch_sizes else []
        if not shapes:
            sizes = warmup_batch_sizes or (1, batches)
            own = {name: values.shape for name, values in row.items()}
            shapes = [(f"batch {size}", size, own) for size in sorted(set(sizes)) if size > 0]
        for name, size, wanted in shapes:
            _add_sample(draft, row, name if batches else "sample", size, wanted, warmup_count)
    except MlconvertError as error:
        if asked:
            raise
        draft.comments.append(f"No warm-up: {error.message}.")
        del draft.config.model_warmup[:]
        for name in [name for name in draft.files if name.startswith(f"{FOLDER}/")]:
            del draft.files[name]


def _impossible(draft: Draft, rows: Any) -> MlconvertError:
    if not rows:
        return RepositoryInvalid(
            "there are no real rows to warm the model up with: its record keeps none",
            where=draft.artifact.location if draft.artifact else None,
            hint="convert it with samples and verification, which keeps rows; or publish it without warmup",
        )
    return UsageError(
        "warmup contradicts sequence_batching: the server runs warm-up rows outside of any sequence",
        hint="leave warmup out",
    )


# --- values ---


def _row(draft: Draft) -> dict[str, np.ndarray]:
    """One row of the record for each input, in its dtype and with the axes of the model's; NotVerified if none fits."""
    # A backend may have names of its own (input__0), for the same inputs in the same order.
    known = draft.artifact.signature.inputs if draft.artifact and draft.artifact.signature else ()
    return sample(inputs_of(draft.record or {}), draft.signature, known)


def _resized(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The values repeated from their start, or cut, to a shape with as many axes."""
    import numpy as np

    for axis, length in enumerate(shape):
        if values.shape[axis] != length:
            values = np.take(values, np.arange(length) % values.shape[axis], axis=axis)
    return values


def wire_bytes(values: np.ndarray) -> bytes:
    """The values as the server takes them: little-endian, row-major; each string after its length in four bytes."""
    import numpy as np

    if values.dtype.kind == "U":
        encoded = (text.encode() for text in values.reshape(-1).tolist())
        return b"".join(len(text).to_bytes(4, "little") + text for text in encoded)
    if values.dtype.name == "bfloat16":
        return values.view(np.uint16).astype("<u2").tobytes()
    return values.astype(values.dtype.newbyteorder("<")).tobytes()


# --- samples ---

Shapes = tuple[str, int, dict[str, tuple[int, ...]]]  # a sample's name, its batch size, the whole shape of each input


def _profile_shapes(draft: Draft, batches: int) -> list[Shapes]:
    """The shapes of an engine's optimisation profiles, largest batches cut to max_batch_size."""
    profiles = draft.artifact.facts.get("profiles", []) if draft.artifact else []
    names = [spec.name for spec in draft.signature.inputs]
    found: list[Shapes] = []
    for number, profile in enumerate(profiles):
        for point in ("min", "opt", "max"):
            shapes = {name: _profile_shape(profile, name, point, number) for name in names}
            sizes = {shape[0] for shape in shapes.values() if shape}
            size = min(max(sizes, default=1), batches) if batches else 1
            found.append(
                (f"profile {number} {point}", size, {n: (1, *s[1:]) if batches else s for n, s in shapes.items()})
            )
    return found


def _profile_shape(profile: Any, name: str, point: str, number: int) -> tuple[int, ...]:
    try:
        return tuple(int(length) for length in profile[name][point])
    except (KeyError, TypeError, ValueError) as error:
        raise NotVerified(f"the engine's profile {number} lacks the {point} shape of input '{name}'") from error


def _add_sample(
    draft: Draft, row: Mapping[str, np.ndarray], name: str, size: int, shapes: Mapping[str, tuple[int, ...]], count: int
) -> None:
    """`size` requests of one row each, as the server makes them of a sample."""
    batches = draft.config.max_batch_size > 0
    added = draft.config.model_warmup.add()
    added.name = name
    added.batch_size = size
    added.count = count
    for spec in draft.signature.inputs:
        values = _resized(row[spec.name], shapes[spec.name])
        content = wire_bytes(values)
        path = digest_name(FOLDER, content, spec.name)
        draft.files[path] = content
        tensor = added.inputs[spec.name]
        tensor.data_type = cfg.data_type_number(spec.dtype)
        tensor.dims.extend((values.shape[1:] if batches else values.shape) or (1,))
        tensor.input_data_file = path.removeprefix(f"{FOLDER}/")
