"""What every pass from ONNX to ONNX does before and after its own work.

A pass may change everything in a model but its inputs and outputs: their names, order, dtypes and axes. `Interface`
remembers them, `write_pass` puts back what tools drop (unused inputs, names of axes), refuses what cannot be put
back, writes the result and loads it once with ONNX Runtime.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from mlconvert.artifact import Artifact
from mlconvert.errors import ConversionFailed, NotVerified
from mlconvert.onnx_model.files import external_bytes, onnx_artifact, onnx_signature, read_outline, write_onnx
from mlconvert.onnx_model.sessions import open_session
from mlconvert.signature import Signature

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class Interface:
    """The inputs (those without a default value) and outputs of a model, as they were before a pass."""

    inputs: tuple[onnx.ValueInfoProto, ...]
    outputs: tuple[onnx.ValueInfoProto, ...]
    signature: Signature


def interface_of(model: onnx.ModelProto) -> Interface:
    signature = onnx_signature(model)
    public = {spec.name for spec in signature.inputs}
    inputs = tuple(_copy(value) for value in model.graph.input if value.name in public)
    return Interface(inputs, tuple(_copy(value) for value in model.graph.output), signature)


def write_pass(
    model: onnx.ModelProto,
    target: Path,
    before: Interface,
    what: str,
    *,
    dtypes: bool = True,
    weights_of: Path | None = None,
    facts: Mapping[str, Any] = MappingProxyType({}),
) -> Artifact:
    """Write the result of a pass, read it back, compare its interface and load it.

    `what` names the pass's tool in messages; `dtypes=False` lets float inputs and outputs change their width. Raises
    ConversionFailed when the interface changed or ONNX Runtime refuses the model. A model that the CPU provider has
    no kernels for passes: verification says so, unless it was switched off.
    """
    keep_interface(model, before, what, dtypes=dtypes)
    files = write_onnx(model, target, weights_of=weights_of)
    written = read_outline(target)
    artifact = onnx_artifact(target, files, model=written, facts=facts)
    assert artifact.signature is not None
    same_interface(before.signature, artifact.signature, what, dtypes=dtypes)
    with contextlib.suppress(NotVerified):
        open_session(target, external_bytes(written))
    return artifact


def keep_interface(model: onnx.ModelProto, before: Interface, what: str, *, dtypes: bool = True) -> None:
    """Give inputs and outputs their order and axes again, and add unused inputs that a tool dropped, in place."""
    values = {tensor.name for tensor in model.graph.initializer}
    for side, old, field in (
        ("inputs", before.inputs, model.graph.input),
        ("outputs", before.outputs, model.graph.output),
    ):
        now = {value.name: _copy(value) for value in field}
        names = [value.name for value in old]
        added = [name for name in now if name not in names and name not in values]
        lost = [name for name in names if name not in now]
        if added or (lost and side == "outputs"):
            changes = ", ".join([f"without '{name}'" for name in lost] + [f"with '{name}'" for name in added])
            raise ConversionFailed(f"{what} changed the model's {side}: {changes}")
        rest = [now[name] for name in now if name not in names]
        del field[:]
        for value in old:
            kept, current = _copy(value), now.get(value.name, value).type.tensor_type
            if not dtypes:
                kept.type.tensor_type.elem_type = current.elem_type
            elif current.elem_type != kept.type.tensor_type.elem_type:
                raise ConversionFailed(f"{what} changed the type of '{value.name}', one of the model's {side}")
            if not _agree(value.type.tensor_type, current):
                raise ConversionFailed(f"{what} changed the shape of '{value.name}', one of the model's {side}")
            field.append(kept)
        field.extend(rest)


def same_interface(before: Signature, after: Signature, what: str, *, dtypes: bool = True) -> None:
    """Raise ConversionFailed where names, order, axes or (unless they may change) dtypes are not the same."""
    for side in ("inputs", "outputs"):
        old, new = getattr(before, side), getattr(after, side)
        same = [(spec.name, spec.shape) for spec in old] == [(spec.name, spec.shape) for spec in new]
        if not same or (dtypes and [spec.dtype for spec in old] != [spec.dtype for spec in new]):
            was, became = ("; ".join(str(spec) for spec in specs) for specs in (old, new))
            raise ConversionFailed(f"{what} changed the model's {side}: {was} became {became}")


@contextlib.contextmanager
def contained(target: Path) -> Iterator[Path]:
    """Run a noisy library: what it prints goes to stderr, its temporary files to a folder that is removed.

    The folder, which it gives, is beside `target`: on the same filesystem, where there is room for a model.
    """
    sys.stdout.flush()
    kept_stdout, kept_tempdir = os.dup(1), tempfile.tempdir
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
        try:
            os.dup2(2, 1)  # for what native code prints
            tempfile.tempdir = folder
            with contextlib.redirect_stdout(sys.stderr):
                yield Path(folder)
        finally:
            tempfile.tempdir = kept_tempdir
            os.dup2(kept_stdout, 1)
            os.close(kept_stdout)


def _agree(one: onnx.TypeProto.Tensor, other: onnx.TypeProto.Tensor) -> bool:
    """Whether two shapes may be those of one value: dynamic axes agree with everything, so do shapes not given."""
    if not (one.HasField("shape") and other.HasField("shape")):
        return True
    axes = [[dim.dim_value if dim.HasField("dim_value") else -1 for dim in kind.shape.dim] for kind in (one, other)]
    return len(axes[0]) == len(axes[1]) and all(a == b or min(a, b) < 0 for a, b in zip(*axes, strict=True))


def _copy(value: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    import onnx

    copied = onnx.ValueInfoProto()
    copied.CopyFrom(value)
    return copied
