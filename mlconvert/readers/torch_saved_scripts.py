"""Writing TorchScript for a server: without a trace of this machine, with what it takes and gives on record."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlconvert.artifact import Artifact
from mlconvert.errors import ConversionFailed
from mlconvert.readers import torch_axes as ax
from mlconvert.readers.torch_runs import call, output_shapes
from mlconvert.readers.torch_tensors import to_tensor
from mlconvert.signature import Signature, TensorSpec

if TYPE_CHECKING:
    import numpy as np
    import torch


def save_script(module: torch.jit.ScriptModule, target: Path) -> None:
    """Write a module without its debugging information, which has local paths: the same module, the same bytes."""
    import torch

    saved = io.BytesIO()
    torch.jit.save(module, saved)  # a path's own name would go into the archive
    saved.seek(0)
    reader = torch._C.PyTorchFileReader(saved)
    with io.BytesIO() as stream:
        writer = torch._C.PyTorchFileWriter(stream)
        for name in reader.get_all_records():
            if name.endswith(".debug_pkl") or name in ("version", ".data/serialization_id", ".data/version"):
                continue
            record = reader.get_record(name)
            writer.write_record(name, record, len(record))
        writer.write_end_of_file()
        target.write_bytes(stream.getvalue())


def script_artifact(
    module: torch.jit.ScriptModule,
    target: Path,
    examples: Mapping[str, np.ndarray],
    axes: ax.Axes,
    known: ax.Axes,
    where: str,
) -> Artifact:
    """The artifact of a module that `save_script` wrote: signature from a run, and what forward takes and returns.

    Raises ConversionFailed when the written file answers with other shapes than the module did (`known`).
    """
    import torch

    written = torch.jit.load(str(target), map_location="cpu").eval()
    found = ax.output_axes(lambda arrays: output_shapes(run_named(written, arrays, where)), examples, axes)
    if found != dict(known):
        wrong = next((name for name in known if found.get(name) != known[name]), next(iter(found), "?"))
        was, is_now = _shown(known.get(wrong)), _shown(found.get(wrong))
        what = f"the output '{wrong}' is {is_now} in TorchScript and {was} in the model: tracing fixed its shape"
        hint = "mend the model's code, or export it with torch.export (--to exported-program)"
        raise ConversionFailed(what, where=where, hint=hint)
    answers = run_named(written, examples, where)
    inputs = tuple(TensorSpec(name, values.dtype.name, axes[name]) for name, values in examples.items())
    outputs = tuple(
        TensorSpec(name, str(tensor.dtype).removeprefix("torch."), found[name]) for name, tensor in answers.items()
    )
    return Artifact("torchscript", str(target), (target,), Signature(inputs, outputs), facts=_facts(module))


def run_named(module: torch.jit.ScriptModule, arrays: Mapping[str, np.ndarray], where: str) -> dict[str, torch.Tensor]:
    tensors = {name: to_tensor(name, values) for name, values in arrays.items()}
    return call(lambda: module(**tensors), arrays, where)


def _facts(module: torch.jit.ScriptModule) -> dict[str, Any]:
    schema = module.forward.schema
    kind = schema.returns[0].type.kind() if schema.returns else "NoneType"
    return {
        "arguments": [argument.name for argument in list(schema.arguments)[1:]],
        "returns": kind.removesuffix("Type"),
    }


def _shown(axes: Any) -> str:
    return "missing" if axes is None else f"[{', '.join('?' if axis is None else str(axis) for axis in axes)}]"
