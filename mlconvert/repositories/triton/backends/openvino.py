"""Models that Triton's openvino backend serves: OpenVINO's IR, on the CPU (or a GPU of Intel's).

The rules are those of the backend's source. It has no auto-complete worth having, checks every static axis against the
configuration, and knows batches of one size alone: with max_batch_size above 0 it fixes the first axis there and fills
shorter batches up, or refuses them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from mlconvert.artifact import Artifact
from mlconvert.errors import RepositoryInvalid, UsageError
from mlconvert.formats.openvino import weights_of
from mlconvert.repositories.triton.backends.recorded import set_parameter
from mlconvert.repositories.triton.config import (
    Contradiction,
    contradictions,
    heading_contradictions,
    not_negative,
    positive,
)
from mlconvert.repositories.triton.description import Abilities, Draft, Section, describer
from mlconvert.repositories.triton.sections import COMMON
from mlconvert.repositories.triton.sections.tensors import tensors
from mlconvert.signature import Signature

MODEL_FILE = "model.xml"
WEIGHTS_FILE = "model.bin"
BFLOAT16 = (
    "On a CPU with AVX512_BF16 or AMX, OpenVINO computes in bfloat16 unless it is told not to, and Triton's openvino "
    "backend cannot tell it: answers there have 3 digits. They were verified in float32."
)
ABILITIES = Abilities(
    backend="openvino",
    dtypes=frozenset(
        ("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "float32")
    ),
    kinds=("cpu",),
)


def _tensors(
    draft: Draft,
    *,
    max_batch_size: Annotated[
        int,
        "rows of every batch, to which the backend fills up shorter ones; 0: requests are answered one by one, with as "
        "many rows as they have",
    ] = 0,
) -> None:
    """As of other backends, but for batches and for scalars."""
    for side, specs in (("input", draft.signature.inputs), ("output", draft.signature.outputs)):
        for spec in specs:
            if not spec.shape:  # the backend wants no dims at all, and the server's core at least one
                what = f"{side} '{spec.name}' is a scalar, which the server's openvino backend cannot load"
                raise RepositoryInvalid(what, hint="serve the model with ONNX Runtime, or give the tensor an axis")
    tensors(draft, max_batch_size=max_batch_size)
    if max_batch_size:
        set_parameter(draft, "ENABLE_BATCH_PADDING", "YES")
        draft.comments.append(f"The backend fills every batch up to {max_batch_size} rows: it knows no other size.")
    else:
        draft.comments.append("No batching: the backend knows batches of one size only. Requests may have any rows.")


def _parameters(
    draft: Draft,
    *,
    performance_hint: Annotated[
        Literal["latency", "throughput"] | None, "what OpenVINO tunes for (default: its own choice)"
    ] = None,
    inference_num_threads: Annotated[int, "threads of one inference; 0: one a core"] = 0,
    num_streams: Annotated[str, "inferences that run side by side: a number, auto or numa"] = "",
    bf16: Annotated[bool, "ask for bfloat16, wherever the CPU has it"] = False,
    target_device: Annotated[Literal["CPU", "GPU"] | None, "GPU: Intel's, of newer releases (default: CPU)"] = None,
) -> None:
    if performance_hint:
        set_parameter(draft, "PERFORMANCE_HINT", performance_hint.upper())
    if not_negative("inference_num_threads", inference_num_threads):
        set_parameter(draft, "INFERENCE_NUM_THREADS", str(inference_num_threads))
    if num_streams:
        if num_streams.lower() not in ("auto", "numa"):
            if not num_streams.isdecimal():
                raise UsageError(f"num_streams={num_streams}: expected a number, auto or numa")
            positive("num_streams", int(num_streams))
        set_parameter(draft, "NUM_STREAMS", num_streams.upper())
    if target_device:
        set_parameter(draft, "TARGET_DEVICE", target_device)
    if bf16:
        set_parameter(draft, "HINT_BF16", "YES")
    draft.comments.append(BFLOAT16)
    draft.warnings.append(BFLOAT16)


SECTIONS: tuple[Section, ...] = (_tensors, *(section for section in COMMON if section is not tensors), _parameters)
describe = describer(ABILITIES, SECTIONS)


def placed_files(artifact: Artifact) -> dict[str, Path]:
    """The graph and its weights, under the names that belong together. Raises ConversionFailed without the weights."""
    return {MODEL_FILE: artifact.path, WEIGHTS_FILE: weights_of(artifact.path)}


def signature_of(artifact: Artifact) -> Signature:
    """The artifact's signature, else the graph's own. Raises ConversionFailed when the files cannot be read."""
    from mlconvert.readers.openvino_files import openvino_signature

    return artifact.signature or openvino_signature(artifact.path)


def published_signature(version_folder: Path, config: Any | None = None) -> Signature | None:  # noqa: ARG001
    """The signature of the model in a version folder, or None when there is none that this backend would load."""
    from mlconvert.readers.openvino_files import openvino_signature

    main = version_folder / MODEL_FILE
    return openvino_signature(main) if main.is_file() else None


def misfits(config: Any, signature: Signature, name: str) -> list[Contradiction]:
    """Where a configuration does not fit a model that this module would place."""
    found = heading_contradictions(config, name, ABILITIES.backend, (), MODEL_FILE)
    found += contradictions(config, signature)
    return found + [
        Contradiction(f"instance_group {number}", "KIND_GPU", "only a CPU")
        for number, group in enumerate(config.instance_group)
        if type(group).Kind.Name(group.kind) == "KIND_GPU"
    ]
