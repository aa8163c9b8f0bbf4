"""Writing the folder that Triton's python backend serves: model.py, the model's file, what it needs."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mlconvert.artifact import Artifact
from mlconvert.errors import ConversionFailed
from mlconvert.formats.served_python import NO_CACHE, REQUIREMENTS, ServedModel
from mlconvert.python_backend import requirements
from mlconvert.python_backend.code import is_ours, render
from mlconvert.signature import Signature, TensorSpec

# What the python backend hands to numpy; bfloat16, which numpy does not know, is not among them.
NOT_SERVED = ("bfloat16",)
_BLOCKER = """This is a file so that Python makes no folder of this name here: bytecode written into the folder of a
live version looks like a change to a server that polls, and it would load the model a second time.
"""


def write_served(
    target: Path,
    source: Artifact,
    served: ServedModel,
    *,
    modules: Iterable[str],
    facts: Mapping[str, Any],
) -> Artifact:
    """Write `target` (model.py) and beside it a copy of the source's file, requirements.txt and what keeps caches out.

    `modules` are those that the model and the code import. Raises ConversionFailed for tensors that the backend does
    not take, for modules that no package brings, and for names that Python's source cannot hold.
    """
    where = source.location
    for spec in (*served.signature.inputs, *served.signature.outputs):
        if spec.dtype in NOT_SERVED:
            what = f"'{spec.name}' is {spec.dtype}, which Triton's python backend cannot hand to numpy"
            raise ConversionFailed(what, where=where, hint="give the model float32 inputs and outputs")
    text = render(served)
    if not is_ours(text):
        raise ConversionFailed("the model's names or categories cannot be written into model.py", where=where)
    needed = requirements.pinned(modules, where)
    files = {
        target: text,
        target.with_name(REQUIREMENTS): requirements.as_text(needed, served.model_file),
        target.with_name(NO_CACHE): _BLOCKER,
    }
    for path, content in files.items():
        path.write_text(content, encoding="utf-8", newline="\n")
    model = target.with_name(served.model_file)
    shutil.copyfile(source.path, model)
    return Artifact(
        "triton-python",
        str(target),
        (target, model, target.with_name(REQUIREMENTS), target.with_name(NO_CACHE)),
        signature=served.signature,
        trusted=source.trusted,
        facts={**facts, "requirements": list(needed)},
    )


def as_constant(specs: Iterable[TensorSpec]) -> dict[str, tuple[str, list[int | str]]]:
    """The specs as INPUTS and OUTPUTS have them; an axis without a name gets one of its own."""
    constant = {}
    for spec in specs:
        axes = [f"{spec.name}_{n}" if axis is None else axis for n, axis in enumerate(spec.shape)]
        constant[spec.name] = (spec.dtype, axes)
    return constant


def constants_of(signature: Signature) -> dict[str, Any]:
    return {"INPUTS": as_constant(signature.inputs), "OUTPUTS": as_constant(signature.outputs)}
