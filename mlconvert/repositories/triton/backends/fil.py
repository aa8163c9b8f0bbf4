"""Models that Triton's FIL backend serves: trees in LightGBM's, XGBoost's or treelite's own file.

One matrix `input__0`, one answer `output__0`, both FP32. FIL rounds thresholds that are doubles: a row beside one may
take the other branch there. Nothing here runs FIL.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from mlconvert.artifact import Artifact
from mlconvert.errors import UsageError
from mlconvert.repositories.triton.backends.fil_models import FilModel, check_fil_model, fil_model, model_type_of
from mlconvert.repositories.triton.backends.recorded import flag, set_parameter
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
from mlconvert.signature import Signature, TensorSpec

ABILITIES = Abilities(backend="fil", dtypes=frozenset(("float32",)))
MAX_BATCH_SIZE = 4096
RENAMED_IN = (25, 9)  # the release in which parameters got their names of today
DOUBLES = (
    "FIL computes in FP32 and the model's thresholds are doubles: a row beside a threshold may take the other branch, "
    "and its label may be another one. ONNX keeps the doubles (mlconvert convert … --to onnx)."
)
UNVERIFIED = "Nothing here runs FIL: what the server answers is not verified."


def _answers(
    draft: Draft,
    *,
    predict_proba: Annotated[
        bool, "a classifier answers the probability of each class; no: the number of the class alone"
    ] = True,
    max_batch_size: Annotated[int, "most rows in one batch; FIL always batches"] = MAX_BATCH_SIZE,
) -> None:
    model = _model(draft)
    if model is not None and model.task != "value" and not predict_proba:
        draft.signature = Signature(draft.signature.inputs, (TensorSpec("output__0", "float32", ("batch", 1)),))
    positive("max_batch_size", max_batch_size)
    tensors(draft, max_batch_size=max_batch_size)
    if model is None:
        return
    set_parameter(draft, "model_type", model.model_type)
    if model.task != "value":
        set_parameter(draft, "predict_proba", flag(predict_proba))
    elif not predict_proba:
        raise UsageError("predict_proba is for classifiers, and the model answers values")
    draft.comments.append(DOUBLES if model.doubles else "FIL computes in FP32, as XGBoost does.")
    draft.warnings += [DOUBLES, UNVERIFIED] if model.doubles else [UNVERIFIED]


def _parameters(
    draft: Draft,
    *,
    release: Annotated[
        str, "the Triton release that will serve the model, such as 24.10: 25.09 gave parameters other names (default: "
        "both are written)"
    ] = "",
    threshold: Annotated[float, "a binary classifier's class is 1 above this probability"] = 0.5,
    transfer_threshold: Annotated[int, "rows up to which a batch stays on the CPU; 0: all go to the GPU"] = 0,
    xgboost_allow_unknown_field: Annotated[bool, "pass over fields of XGBoost's JSON that are not known"] = False,
    layout: Annotated[
        Literal["depth_first", "breadth_first", "layered"] | None, "order of the nodes in memory (25.09 and later)"
    ] = None,
    chunk_size: Annotated[int, "rows that go through the trees together: a power of 2 up to 32 (25.09 and later)"] = 0,
    storage_type: Annotated[
        Literal["AUTO", "DENSE", "SPARSE", "SPARSE8"] | None, "how trees lie in the GPU's memory (before 25.09)"
    ] = None,
    algo: Annotated[
        Literal["ALGO_AUTO", "NAIVE", "TREE_REORG", "BATCH_TREE_REORG"] | None, "order of the nodes (before 25.09)"
    ] = None,
    threads_per_tree: Annotated[int, "CUDA threads that walk one tree: a power of 2 up to 32 (before 25.09)"] = 0,
    blocks_per_sm: Annotated[int, "blocks on each of a GPU's multiprocessors (before 25.09)"] = 0,
) -> None:  # fmt: skip
    model = _model(draft)
    number = _release(release)
    later, earlier = (number is None or number >= RENAMED_IN), (number is None or number < RENAMED_IN)
    if model is not None:
        classifier = flag(model.task != "value")
        if later:
            set_parameter(draft, "is_classifier", classifier)
        if earlier:
            set_parameter(draft, "output_class", classifier)
        if model.task != "value":
            if not 0 < threshold < 1:
                raise UsageError(f"threshold={threshold}: expected a probability between 0 and 1")
            set_parameter(draft, "threshold", repr(threshold))  # the backend has no default for it
    if not_negative("transfer_threshold", transfer_threshold):
        set_parameter(draft, "transfer_threshold", str(transfer_threshold))
    if xgboost_allow_unknown_field:
        set_parameter(draft, "xgboost_allow_unknown_field", "true")
    new = {"layout": layout, "chunk_size": _power("chunk_size", chunk_size)}
    old = {
        "storage_type": storage_type,
        "algo": algo,
        "threads_per_tree": _power("threads_per_tree", threads_per_tree),
        "blocks_per_sm": not_negative("blocks_per_sm", blocks_per_sm) or None,
    }
    for values, known, since in ((new, later, "is of Triton 25.09 and later"), (old, earlier, "left in Triton 25.09")):
        for name, value in values.items():
            if value is not None and not known:
                raise UsageError(f"{name} {since}, and release={release}")
            if value is not None:
                set_parameter(draft, name, str(value))


def _power(name: str, value: int) -> int | None:
    if value not in (0, 1, 2, 4, 8, 16, 32):
        raise UsageError(f"{name}={value}: expected a power of 2 up to 32")
    return value or None


def _release(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    found = re.fullmatch(r"(\d\d)\.(\d\d)", text)
    if found is None:
        raise UsageError(f"release={text}: expected a release of Triton, such as 24.10")
    return int(found[1]), int(found[2])


SECTIONS: tuple[Section, ...] = (_answers, *(section for section in COMMON if section is not tensors), _parameters)
describe = describer(ABILITIES, SECTIONS)


def _model(draft: Draft) -> FilModel | None:
    return fil_model(draft.artifact.path, draft.artifact.format) if draft.artifact else None


# --- the model's files ---


def placed_files(artifact: Artifact) -> dict[str, Path]:
    """The one file, under the name that goes with its kind. Raises ConversionFailed when it cannot be read."""
    return {fil_model(artifact.path, artifact.format).model_file: artifact.path}


def signature_of(artifact: Artifact) -> Signature:
    """One matrix and one answer, as the server's clients see them; a classifier's are its probabilities.

    Raises RepositoryInvalid for what FIL would refuse or answer wrongly, ConversionFailed for a file that is damaged.
    """
    check_fil_model(artifact.path, artifact.format)
    return _signature(fil_model(artifact.path, artifact.format))


def _signature(model: FilModel) -> Signature:
    # A binary model has one sum; asked for two probabilities, every release gives them.
    answers = {"binary": 2, "multiclass": model.outputs}.get(model.task, 1)
    return Signature(
        (TensorSpec("input__0", "float32", ("batch", model.features)),),
        (TensorSpec("output__0", "float32", ("batch", answers)),),
    )


def published_signature(version_folder: Path, config: Any | None = None) -> Signature | None:  # noqa: ARG001
    """The signature of the model in a version folder, or None when there is none that this backend would load."""
    found = model_type_of(version_folder)
    return _signature(fil_model(version_folder / found[1], found[0])) if found else None


def misfits(config: Any, signature: Signature, name: str) -> list[Contradiction]:
    """Where a configuration does not fit a model that this module would place."""
    file_name = config.default_model_filename or ""
    found = heading_contradictions(config, name, ABILITIES.backend, (), file_name)
    if _says(config, "predict_proba") == "false" and "true" in (
        _says(config, "is_classifier"),
        _says(config, "output_class"),
    ):
        signature = Signature(signature.inputs, (TensorSpec("output__0", "float32", ("batch", 1)),))
    if not config.max_batch_size:
        found.append(Contradiction("max_batch_size", "0", "a batch axis, always"))
    return found + contradictions(config, signature)


def _says(config: Any, parameter: str) -> str:
    return str(config.parameters[parameter].string_value).lower() if parameter in config.parameters else ""
