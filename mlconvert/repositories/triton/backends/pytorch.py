"""Models that Triton's pytorch backend serves: TorchScript (`model.pt`), and AOTInductor packages (`model.pt2`).

The rules are those of the backend's source. TorchScript's inputs go by the names of forward's arguments, its outputs by
their place. A package knows places alone, for both: INPUT__0 …, OUTPUT__0 …
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from mlconvert.artifact import Artifact
from mlconvert.errors import RepositoryInvalid, UsageError
from mlconvert.repositories.triton.backends import recorded
from mlconvert.repositories.triton.backends.recorded import flag, set_parameter
from mlconvert.repositories.triton.config import Contradiction, contradictions, heading_contradictions, not_negative
from mlconvert.repositories.triton.description import Abilities, Draft, Section, describer
from mlconvert.repositories.triton.sections import COMMON
from mlconvert.signature import Signature

PLATFORMS = {"torchscript": "pytorch_libtorch", "aotinductor": "torch_aoti"}
MODEL_FILES = {"pytorch_libtorch": "model.pt", "torch_aoti": "model.pt2"}
_NUMBERS = frozenset(("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"))
TORCHSCRIPT = Abilities(
    backend="pytorch",
    dtypes=_NUMBERS,
    platform=PLATFORMS["torchscript"],
    kinds=("auto", "cpu", "gpu", "model"),
)
AOTI = Abilities(
    backend="pytorch", dtypes=_NUMBERS, platform=PLATFORMS["aotinductor"], kinds=("cpu", "gpu"), batches=False
)
ABILITIES = TORCHSCRIPT  # of both, as far as types go
_INDEXED = re.compile(r".*?__(\d*)")
_HINT = (
    "let mlconvert record it: mlconvert convert {0} --to torchscript --via freeze --samples FILE -o FOLDER, and "
    "publish that"
)


def _names(draft: Draft) -> None:
    """Refuse what the backend would refuse, or map to another tensor than is meant."""
    inputs = [spec.name for spec in draft.signature.inputs]
    outputs = [spec.name for spec in draft.signature.outputs]
    if draft.abilities is AOTI:
        for side, names in (("INPUT", inputs), ("OUTPUT", outputs)):
            if names != [f"{side}__{number}" for number in range(len(names))]:
                raise RepositoryInvalid(
                    f"the backend knows the tensors of a package by their places, {side}__0 …: not {', '.join(names)}"
                )
        draft.comments.append("The platform torch_aoti is in Triton from 26.03 on, as a beta.")
        return
    arguments = (draft.artifact.facts if draft.artifact else {}).get("arguments", inputs)
    if missing := [name for name in arguments if name not in inputs]:
        raise RepositoryInvalid(
            f"forward takes '{missing[0]}' too, and the server's pytorch backend wants a value for every argument",
            hint="give the samples an array for it, or wrap the module in one without that argument",
        )
    returns = (draft.artifact.facts if draft.artifact else {}).get("returns", "Tensor")
    if returns not in ("Tensor", "Tuple"):
        raise RepositoryInvalid(
            f"the module returns a {returns}, and the server's pytorch backend takes a tensor or a tuple of tensors",
            hint="wrap the module in one that returns a tuple",
        )
    # If all names end in `__<number>`, the backend goes by these numbers; if not, by the order here.
    numbers = [_INDEXED.fullmatch(name) for name in outputs]
    if all(numbers) and [int(one[1] or 0) for one in numbers if one] != list(range(len(outputs))):
        raise RepositoryInvalid(
            f"the backend would read places from the outputs' names {', '.join(outputs)}, and these are other ones",
            hint="name the outputs otherwise",
        )
    draft.comments.append("Inputs go by the names of forward's arguments, outputs by their order here.")


def _parameters(
    draft: Draft,
    *,
    inference_mode: Annotated[
        bool | None, "run without autograd's bookkeeping (default: the backend's, which is yes)"
    ] = None,
    disable_cudnn: Annotated[bool, "do without cuDNN"] = False,
    weight_sharing: Annotated[bool, "let the copies on one device share their weights"] = False,
    cache_cleaning: Annotated[bool, "empty CUDA's cache after every run"] = False,
    intra_op_threads: Annotated[
        int, "threads of one operator; 0: the default. The first model loaded decides for all"
    ] = 0,
    inter_op_threads: Annotated[int, "operators that run side by side; 0: the default. Likewise"] = 0,
) -> None:
    if inference_mode is not None:
        set_parameter(draft, "INFERENCE_MODE", flag(inference_mode))
    for name, wanted in (("DISABLE_CUDNN", disable_cudnn), ("ENABLE_WEIGHT_SHARING", weight_sharing)):
        if wanted:
            set_parameter(draft, name, "true")
    if cache_cleaning:
        set_parameter(draft, "CACHE_CLEANING_ENABLED" if draft.abilities is AOTI else "ENABLE_CACHE_CLEANING", "true")
    if not_negative("intra_op_threads", intra_op_threads):
        set_parameter(draft, "INTRA_OP_THREAD_COUNT", str(intra_op_threads))
    if not_negative("inter_op_threads", inter_op_threads):
        set_parameter(draft, "INTER_OP_THREAD_COUNT", str(inter_op_threads))


def _torchscript_parameters(
    draft: Draft,
    *,
    disable_optimized_execution: Annotated[bool, "leave out TorchScript's optimiser: quicker first answers"] = False,
    jit_executor: Annotated[bool | None, "TorchScript's profiling executor (default: PyTorch's choice)"] = None,
    jit_profiling: Annotated[bool | None, "TorchScript's profiling (default: PyTorch's choice)"] = None,
    tensor_fuser: Annotated[bool | None, "the fuser of tensor expressions (default: PyTorch's choice)"] = None,
) -> None:
    given = {
        "disable_optimized_execution": disable_optimized_execution or None,
        "jit_executor": jit_executor,
        "jit_profiling": jit_profiling,
        "tensor_fuser": tensor_fuser,
    }
    asked = {name: value for name, value in given.items() if value is not None}
    if draft.abilities is AOTI and asked:
        raise UsageError(f"{next(iter(asked))} is of TorchScript, and this is an AOTInductor package")
    for name, value in asked.items():
        set_parameter(draft, name.upper() if name.startswith("disable") else f"ENABLE_{name.upper()}", flag(value))


def _built_for(draft: Draft) -> None:
    """Of a package: where it runs, as it was compiled."""
    if draft.abilities is not AOTI:
        return
    facts = draft.artifact.facts if draft.artifact else {}
    device = facts.get("device")
    if device is None:
        return
    kinds = {type(group).Kind.Name(group.kind) for group in draft.config.instance_group}
    wanted = "KIND_GPU" if str(device).startswith("cuda") else "KIND_CPU"
    if kinds != {wanted}:
        raise RepositoryInvalid(
            f"the package was compiled for {device}, and instance_group has {', '.join(sorted(kinds))}",
            hint=f"use --set instance_kind={'gpu' if wanted == 'KIND_GPU' else 'cpu'}",
        )
    what = (
        f"The package is native code, compiled by torch {facts.get('torch', 'of an unknown version')} for "
        f"{facts.get('built_for', device)}: it runs with that PyTorch and on such hardware."
    )
    draft.comments.append(what)
    draft.warnings.append(what)


SECTIONS: tuple[Section, ...] = (_names, *COMMON, _parameters, _torchscript_parameters, _built_for)


def _abilities(artifact: Artifact | None) -> Abilities:
    """Without an artifact, those for TorchScript."""
    return AOTI if artifact is not None and artifact.format == "aotinductor" else TORCHSCRIPT


def _defaults(_: Signature, artifact: Artifact | None) -> Mapping[str, Any]:
    """A package is compiled for one kind of device."""
    on_gpu = _abilities(artifact) is AOTI and artifact and str(artifact.facts.get("device")).startswith("cuda")
    return {"instance_kind": "gpu"} if on_gpu else {}


describe = describer(_abilities, SECTIONS, _defaults)


# --- the model's files ---


def placed_files(artifact: Artifact) -> dict[str, Path]:
    return {MODEL_FILES[PLATFORMS[artifact.format]]: artifact.path}


def signature_of(artifact: Artifact) -> Signature:
    """The recorded signature. Raises UsageError for a file without a record: it names no types and no shapes."""
    return recorded.signature_of(artifact, f"a file of {artifact.format}", _HINT.format(artifact.path.name))


def published_signature(version_folder: Path, config: Any | None = None) -> Signature | None:
    """The recorded signature of the model in a version folder; None where no record is of just this file."""
    platform = config.platform if config is not None else ""
    for known, model_file in MODEL_FILES.items():
        if platform in ("", known) and (version_folder / model_file).is_file():
            return recorded.published_signature(version_folder, model_file)
    return None


def misfits(config: Any, signature: Signature, name: str) -> list[Contradiction]:
    """Where a configuration does not fit a model that this module would place.

    The backend compares nothing but names and their number; shapes that are wrong would fail when requests come.
    """
    aoti = config.platform == "torch_aoti"
    model_file = MODEL_FILES["torch_aoti" if aoti else "pytorch_libtorch"]
    found = heading_contradictions(config, name, "pytorch", tuple(MODEL_FILES), model_file)
    if aoti and config.max_batch_size:
        found.append(Contradiction("max_batch_size", str(config.max_batch_size), "no batching"))
    return found + contradictions(config, signature)
