"""torchscript -> torchscript: constants folded in, and what the module takes and gives on record.

TorchScript names forward's arguments and tells neither their types nor their shapes. Servers want both.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from mlconvert.artifact import Artifact
from mlconvert.converters.torch_options import Dynamic
from mlconvert.errors import ConversionFailed

if TYPE_CHECKING:
    import numpy as np


def convert(
    source: Artifact,
    target: Path,
    *,
    samples: Mapping[str, np.ndarray],
    dynamic: Dynamic = None,
    freeze: Annotated[bool, "fold constants in and drop what only training needs; no: copy the module as it is"] = True,
) -> Artifact:
    """Raises UsageError without samples and for options that do not fit them; ConversionFailed when torch cannot."""
    import torch

    from mlconvert.readers import torch_axes as ax
    from mlconvert.readers.torch_archives import load_torchscript, quiet_torch
    from mlconvert.readers.torch_export import short_reason
    from mlconvert.readers.torch_runs import output_shapes, require_samples
    from mlconvert.readers.torch_saved_scripts import save_script, script_artifact
    from mlconvert.readers.torch_scripts import run_script, script_order

    where = source.location
    require_samples(samples, where)
    module = load_torchscript(source)
    order = script_order(module, samples, where)
    axes = ax.plan_axes({name: samples[name].shape for name in order}, dynamic, static=False)
    examples = ax.example_inputs(samples, axes)
    known = ax.output_axes(lambda arrays: output_shapes(run_script(module, arrays, where)), examples, axes)
    with quiet_torch():
        try:
            script = torch.jit.freeze(module) if freeze else module
        except RuntimeError as error:
            what = f"torch cannot freeze the module: {short_reason([error])}"
            raise ConversionFailed(what, where=where, hint="copy it as it is: --set freeze.freeze=no") from error
        save_script(script, target)
        return script_artifact(script, target, examples, axes, known, where)
