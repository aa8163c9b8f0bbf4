"""Runs AOTInductor packages (.pt2): native code, which is loaded only where it is trusted."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlconvert.artifact import Artifact
from mlconvert.converter import Session
from mlconvert.errors import ConversionFailed, NotVerified, UsageError
from mlconvert.readers.aoti_packages import compiler_scratch, package_metadata, package_signature
from mlconvert.readers.hardware_builds import require_fits
from mlconvert.signature import Signature

if TYPE_CHECKING:
    import numpy as np


def signature(artifact: Artifact) -> Signature | None:
    """What mlconvert left in the package; None for one of another tool. Its code is not loaded."""
    return package_signature(artifact.path)


def load(artifact: Artifact) -> Session:
    """Raises UsageError for a package that is not trusted, HardwareMismatch for one that this machine would not run."""
    where = artifact.location
    metadata = package_metadata(artifact.path)
    known = package_signature(artifact.path)
    if not artifact.trusted:
        what = "an AOTInductor package is native code, and loading it runs it"
        raise UsageError(what, where=where, hint="add --trust if you made the file yourself")
    if known is None:
        what = "the package does not say what it takes: mlconvert did not make it"
        raise NotVerified(what, where=where, hint="compile the model with mlconvert: --to aotinductor")
    require_fits(artifact)
    # torch unpacks the package, and compiles a little program that asks for the processor's instructions.
    unpacked = Path(tempfile.mkdtemp(prefix="mlconvert-aotinductor-"))
    try:
        with compiler_scratch(unpacked):
            package = _loaded(artifact, metadata, where)
    except BaseException:
        shutil.rmtree(unpacked, ignore_errors=True)
        raise
    weakref.finalize(package, shutil.rmtree, unpacked, ignore_errors=True)

    from mlconvert.readers.torch_runs import call
    from mlconvert.readers.torch_tensors import to_array, to_tensor

    device = metadata.get("AOTI_DEVICE_KEY", "cpu")
    names = [spec.name for spec in known.inputs]

    def run(samples: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        tensors = [to_tensor(name, samples[name]).to(device) for name in names]
        # Not by its own call: that would put the outputs back into the structure that the model returned.
        given = call(lambda: tuple(package.loader.boxed_run(list(tensors))), samples, where)
        values = list(given.values())
        if len(values) != len(known.outputs):
            raise ConversionFailed(f"the package gives {len(values)} outputs, not {len(known.outputs)}", where=where)
        return {spec.name: to_array(spec.name, value) for spec, value in zip(known.outputs, values, strict=True)}

    return Session(known, run)


def _loaded(artifact: Artifact, metadata: Mapping[str, str], where: str) -> Any:
    import torch

    from mlconvert.readers.torch_archives import quiet_torch

    device = metadata.get("AOTI_DEVICE_KEY", "cpu")
    if device != "cpu" and not torch.cuda.is_available():
        raise NotVerified(f"the package was compiled for {device}, which is not here", where=where,
                          hint="verify it on its own hardware, or add --no-verify")  # fmt: skip
    try:
        with quiet_torch():
            return torch._inductor.aoti_load_package(str(artifact.path))
    except Exception as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConversionFailed(f"torch cannot load the package: {first}", where=where) from error
