"""Models that Triton's tensorrt backend serves: TensorRT's plans (`model.plan`), on NVIDIA's GPUs.

A plan is read by the TensorRT that built it and by nothing else: what it takes and gives comes from its record. Nothing
here can run or read one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlconvert.artifact import Artifact
from mlconvert.errors import RepositoryInvalid
from mlconvert.hardware.plans import refitting
from mlconvert.repositories.triton.backends import recorded
from mlconvert.repositories.triton.config import Contradiction, contradictions, heading_contradictions
from mlconvert.repositories.triton.description import Abilities, Draft, Section, describer
from mlconvert.repositories.triton.sections import COMMON
from mlconvert.repositories.triton.sections.instances import optimization_profiles
from mlconvert.signature import Signature

MODEL_FILE = "model.plan"
_FLAG = "--backend-config=tensorrt,"  # of the backend's settings that hold for all models (tensorrt_backend's README)
ABILITIES = Abilities(
    backend="tensorrt",
    dtypes=frozenset(("bool", "uint8", "int8", "int32", "int64", "float16", "float32", "bfloat16")),
    kinds=("gpu",),
)


def _engine(draft: Draft) -> None:
    """What the engine's record says of it: where it was built, and the shapes of its optimisation profiles."""
    facts = draft.artifact.facts if draft.artifact else {}
    built = ", ".join(f"{name} {facts[name]}" for name in ("tensorrt", "gpu", "compute_capability") if name in facts)
    draft.comments.append(
        f"A plan runs on the GPU and the TensorRT that it was built with{f': {built}' if built else ''}."
    )
    hardware = facts.get("hardware") or {}
    compatible = "VERSION_COMPATIBLE" in hardware.get("flags", ())
    if plugins := hardware.get("plugins"):
        paths = ";".join(f"/path/to/{name}" for name in plugins)
        how = "in the plan" if compatible else f'loaded by tritonserver {_FLAG}plugins="{paths}"'
        draft.comments.append(f"It uses operators of libraries that are {how}.")
        if not compatible:
            draft.warnings.append(f"The server does not load the plan without {', '.join(plugins)}: {_FLAG}plugins=…")
    if compatible:
        draft.comments.append(
            f"It runs code of its own, which is allowed by tritonserver {_FLAG}version-compatible=true."
        )
    if "STRIP_PLAN" in hardware.get("flags", ()):
        draft.warnings.append(f"The plan holds no weights, and no server loads it: {refitting()}")
    profiles = facts.get("profiles") or ()
    largest = draft.config.max_batch_size
    for number, profile in enumerate(profiles):
        for name, shapes in profile.items():
            text = " | ".join(f"{bound} {shapes[bound]}" for bound in ("min", "opt", "max") if bound in shapes)
            draft.comments.append(f"Profile {number}, {name}: {text}")
            most = (shapes.get("max") or [0])[0]
            if largest and most and largest > most:
                raise RepositoryInvalid(
                    f"max_batch_size={largest} is more than the {most} rows of the engine's profile {number}",
                    hint=f"add --set max_batch_size={most}, or build the engine with a wider profile",
                )


SECTIONS: tuple[Section, ...] = (*COMMON, optimization_profiles, _engine)


def defaults(signature: Signature, artifact: Artifact | None) -> Mapping[str, Any]:
    """Batches are those that the engine's first profile allows."""
    profiles = artifact.facts.get("profiles") if artifact else None
    rows = [shapes["max"][0] for shapes in profiles[0].values() if shapes.get("max")] if profiles else []
    fixed = any(not spec.shape or isinstance(spec.shape[0], int) for spec in (*signature.inputs, *signature.outputs))
    return {"max_batch_size": min(rows)} if rows and not fixed else {}


describe = describer(ABILITIES, SECTIONS, defaults)


def placed_files(artifact: Artifact) -> dict[str, Path]:
    return {MODEL_FILE: artifact.path}


def signature_of(artifact: Artifact) -> Signature:
    """The recorded signature. Raises UsageError for a plan without a record."""
    return recorded.signature_of(
        artifact, "a TensorRT plan", "publish the artifact that mlconvert built, with its record"
    )


def published_signature(version_folder: Path, config: Any | None = None) -> Signature | None:
    """The recorded signature of the plan in a version folder; None where no record is of just this file.

    Of several engines (`cc_model_filenames`) the first: they were merged because theirs are the same.
    """
    names = (MODEL_FILE, *(sorted(config.cc_model_filenames.values()) if config else ()))
    there = next((name for name in names if (version_folder / name).is_file()), MODEL_FILE)
    return recorded.published_signature(version_folder, there)


def misfits(config: Any, signature: Signature, name: str) -> list[Contradiction]:
    """Where a configuration does not fit a model that this module would place."""
    found = heading_contradictions(config, name, ABILITIES.backend, ("tensorrt_plan",), MODEL_FILE)
    found += contradictions(config, signature)
    return found + [
        Contradiction(f"instance_group {number}", "KIND_CPU", "a GPU")
        for number, group in enumerate(config.instance_group)
        if type(group).Kind.Name(group.kind) == "KIND_CPU"
    ]
