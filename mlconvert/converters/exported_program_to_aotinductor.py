"""exported-program -> aotinductor: the program as native code, compiled for this kind of processor.

It is hardware-bound: the code runs with the PyTorch it was compiled with, on processors with the same instructions.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from mlconvert.artifact import Artifact
from mlconvert.errors import ConversionFailed, HardwareMismatch, MissingPackage
from mlconvert.signature import Signature, TensorSpec

if TYPE_CHECKING:
    import torch


def convert(
    source: Artifact,
    target: Path,
    *,
    device: Annotated[Literal["cpu", "cuda"], "what the code is compiled for; cuda needs a GPU here"] = "cpu",
    max_autotune: Annotated[
        bool, "try several kernels for each operator and keep the quickest: slow to compile"
    ] = False,
) -> Artifact:
    """Compile a program; its dynamic axes stay dynamic, its tensors go by their places: INPUT__0 …, OUTPUT__0 …

    Raises MissingPackage without a C++ compiler, HardwareMismatch where there is no such device, ConversionFailed when
    torch cannot compile it.
    """
    from mlconvert.readers.aoti_packages import compiler_scratch

    _require_compiler()
    # From before torch is imported: it looks for its folder early.
    with (
        tempfile.TemporaryDirectory(dir=target.parent, prefix=".aotinductor-") as folder,
        compiler_scratch(Path(folder)),
    ):
        return _compile(source, target, Path(folder), device=device, max_autotune=max_autotune)


def _compile(source: Artifact, target: Path, folder: Path, *, device: str, max_autotune: bool) -> Artifact:
    import torch

    from mlconvert.hardware.fingerprint import as_json, take
    from mlconvert.readers.aoti_packages import KEY, built_for, package_metadata
    from mlconvert.readers.torch_archives import load_exported_program, quiet_torch
    from mlconvert.readers.torch_export import short_reason
    from mlconvert.readers.torch_programs import program_signature

    where = source.location
    program = load_exported_program(source)
    named = program_signature(program)[0]
    _check_places(program, named, where)
    if device == "cuda":
        program = _on_cuda(program)
    placed = Signature(_placed("INPUT", named.inputs), _placed("OUTPUT", named.outputs))
    staged = folder / "model.pt2"  # the folder inside of the archive is named after the file
    hardware: dict[str, Any] = {"kind": "aotinductor", "device": device}
    if device == "cuda":
        hardware["gpu"] = torch.cuda.current_device()
    machine = as_json(take())
    note = {"signature": placed.as_json(), "torch": torch.__version__, "hardware": hardware, "fingerprint": machine}
    settings = {
        "aot_inductor.metadata": {KEY: json.dumps(note)},
        "aot_inductor.precompile_headers": False,  # they are for the next compilation
        "cpp_cache_precompile_headers": False,
        "max_autotune": max_autotune,
    }
    try:
        with quiet_torch():
            torch._inductor.aoti_compile_and_package(program, package_path=str(staged), inductor_configs=settings)
    except (MemoryError, OSError):
        raise
    except Exception as error:
        what = f"AOTInductor cannot compile the model: {short_reason([error])}"
        raise ConversionFailed(what, where=where, hint="serve it as ONNX, or as TorchScript") from error
    staged.replace(target)
    facts = built_for(package_metadata(target), torch.__version__) | {"hardware": hardware, "fingerprint": machine}
    old_new = zip((*named.inputs, *named.outputs), (*placed.inputs, *placed.outputs), strict=True)
    renamed = {old.name: new.name for old, new in old_new if old.name != new.name}
    # Loading a package runs its code: this one we made ourselves.
    return Artifact("aotinductor", str(target), (target,), placed, renamed=renamed, trusted=True, facts=facts)


def _require_compiler() -> None:
    wanted = [os.environ.get("CXX", ""), "g++", "clang++"]
    if not any(shutil.which(name) for name in wanted if name):
        hint = "apt-get install g++" if platform.system() == "Linux" else "install g++ or clang++"
        raise MissingPackage("AOTInductor needs a C++ compiler, and there is none here (g++, clang++)", hint=hint)


def _on_cuda(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    import torch

    if not torch.cuda.is_available():
        what = "device=cuda: this PyTorch finds no GPU here, and AOTInductor compiles on the device itself"
        raise HardwareMismatch(what, hint="run it on a machine with the GPU that will serve, with PyTorch for CUDA")
    moved: torch.export.ExportedProgram = torch.export.passes.move_to_device_pass(program, "cuda")
    return moved


def _check_places(program: torch.export.ExportedProgram, named: Signature, where: str) -> None:
    """Raise ConversionFailed where places and names would not go together."""
    from torch.export.graph_signature import InputKind, OutputKind

    inputs = [one for one in program.graph_signature.input_specs if one.kind is InputKind.USER_INPUT]
    outputs = [one for one in program.graph_signature.output_specs if one.kind is OutputKind.USER_OUTPUT]
    if len(inputs) != len(named.inputs) or len(outputs) != len(named.outputs):
        what = "the program takes or gives constants beside its tensors, which a package would count as places"
        raise ConversionFailed(what, where=where, hint="export a module that takes and gives tensors alone")


def _placed(side: str, specs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(f"{side}__{number}", spec.dtype, spec.shape) for number, spec in enumerate(specs))
