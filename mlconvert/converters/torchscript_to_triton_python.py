"""A TorchScript module to a model.py for Triton's python backend: the file itself is served, by PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlconvert.converters.torch_options import Dynamic, Static
from mlconvert.formats.served_python import ServedModel
from mlconvert.signature import Signature, TensorSpec

if TYPE_CHECKING:
    import numpy as np

    from mlconvert.artifact import Artifact


def convert(
    source: Artifact,
    target: Path,
    *,
    samples: Mapping[str, np.ndarray],
    dynamic: Dynamic = None,
    static: Static = False,
) -> Artifact:
    """Write a model.py that loads the module and calls it by the names of its inputs.

    Raises UsageError without samples, which tell dtypes and shapes, and for options that do not fit the model;
    ConversionFailed for a file that is no TorchScript, or does not run on the samples.
    """
    from mlconvert.python_backend.writing import constants_of, write_served
    from mlconvert.readers import torch_axes as ax
    from mlconvert.readers.torch_archives import load_torchscript
    from mlconvert.readers.torch_runs import output_shapes, require_samples, structure
    from mlconvert.readers.torch_scripts import run_script, script_order
    from mlconvert.readers.torch_tensors import output_paths, to_array, to_tensor

    where = source.location
    require_samples(samples, where)
    module = load_torchscript(source)
    order = script_order(module, samples, where)
    axes = ax.plan_axes({name: samples[name].shape for name in order}, dynamic, static=static)
    examples = ax.example_inputs(samples, axes)
    known = ax.output_axes(lambda arrays: output_shapes(run_script(module, arrays, where)), examples, axes)
    answers = {name: to_array(name, tensor) for name, tensor in run_script(module, examples, where).items()}
    signature = Signature(
        tuple(TensorSpec(name, examples[name].dtype.name, axes[name]) for name in order),
        tuple(TensorSpec(name, answers[name].dtype.name, shape) for name, shape in known.items()),
    )
    constants: dict[str, Any] = {"MODEL": "model.pt", **constants_of(signature)}
    constants["KEYWORDS"] = {name: name for name in order}
    tensors = {name: to_tensor(name, values) for name, values in examples.items()}
    constants["PATHS"] = output_paths(structure(lambda: module(**tensors), examples, where), order)
    served = ServedModel("torchscript", "TorchScript", constants)
    return write_served(target, source, served, modules=["numpy", "torch"], facts={"model": module.original_name})
