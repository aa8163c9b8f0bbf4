"""torch -> torchscript, by tracing: for Triton's pytorch backend, and other programs in C++."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

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
    method: Annotated[
        Literal["trace", "script"], "trace: what the model does with the samples; script: its code, branches and all"
    ] = "trace",
    dynamic: Dynamic = None,
) -> Artifact:
    """Trace or script the module that a factory builds, and see that the file follows every dynamic axis.

    Raises UsageError without samples and for options that do not fit the model; ConversionFailed when torch cannot do
    it, or would with an axis fixed that was to be dynamic.
    """
    import torch

    from mlconvert.readers import torch_axes as ax
    from mlconvert.readers.torch_archives import quiet_torch
    from mlconvert.readers.torch_export import short_reason
    from mlconvert.readers.torch_modules import load_module
    from mlconvert.readers.torch_runs import output_shapes, require_samples, run_module
    from mlconvert.readers.torch_saved_scripts import save_script, script_artifact
    from mlconvert.readers.torch_tensors import forward_order, to_tensor

    where = source.location
    require_samples(samples, where)
    module = load_module(source)
    order = forward_order(module, samples)
    axes = ax.plan_axes({name: samples[name].shape for name in order}, dynamic, static=False)
    examples = ax.example_inputs(samples, axes)
    known = ax.output_axes(lambda arrays: output_shapes(run_module(module, arrays, where)), examples, axes)
    tensors = {name: to_tensor(name, values) for name, values in examples.items()}
    try:
        with quiet_torch(), torch.no_grad():
            warnings.simplefilter("ignore", torch.jit.TracerWarning)  # the result is checked for what it warns of
            if isinstance(module, torch.jit.ScriptModule):
                script = module
            elif method == "script":
                script = torch.jit.script(module)
            else:
                script = torch.jit.trace(module, example_kwarg_inputs=tensors, strict=False, check_trace=False)
            script = torch.jit.freeze(script.eval())
    except (MemoryError, ConversionFailed):
        raise
    except Exception as error:
        what = f"torch cannot {method} the model: {short_reason([error])}"
        raise ConversionFailed(what, where=where, hint="--to exported-program, or --to onnx") from error
    with quiet_torch():
        save_script(script, target)
        return script_artifact(script, target, examples, axes, known, where)
