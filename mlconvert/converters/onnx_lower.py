"""ONNX to ONNX: an older opset and IR version, for a server whose ONNX Runtime is older than the exporter."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from mlconvert.artifact import Artifact
from mlconvert.errors import ConversionFailed, UsageError
from mlconvert.onnx_model.external import external_bytes
from mlconvert.onnx_model.files import least_ir, onnx_artifact, opset_of, read_onnx
from mlconvert.onnx_model.graphs import nodes_of
from mlconvert.onnx_model.opsets import ML, set_ml_opset, set_opset
from mlconvert.onnx_model.passes import interface_of, write_pass
from mlconvert.onnx_model.releases import Limits, runtime_limits, tree_operators, triton_runtime

if TYPE_CHECKING:
    import onnx

NO_LIMIT = 1 << 30
MEMBER = 6  # BRANCH_MEMBER among the modes of TreeEnsemble's nodes


def convert(
    source: Artifact,
    target: Path,
    *,
    release: Annotated[str, "the Triton release that will serve the model, such as 24.10"] = "",
    runtime: Annotated[str, "the version of the ONNX Runtime that will run the model, such as 1.19"] = "",
    opset: Annotated[int | None, "the highest opset of ai.onnx"] = None,
    ir: Annotated[int | None, "the highest IR version"] = None,
) -> Artifact:
    """A model that is old enough already is copied as it is.

    Raises UsageError for an unknown release or version, or when no limit is given; ConversionFailed, naming node and
    operator, when an operator has no older form.
    """
    limits = _limits(release, runtime, opset, ir)
    model = read_onnx(source.path, external_data=False)
    _check_trees(model, [version for version in (release and triton_runtime(release), runtime) if version], source)
    before = interface_of(model)
    facts = {"was": {"opset": opset_of(model), "ml_opset": opset_of(model, ML), "ir_version": int(model.ir_version)}}
    if _low_enough(model, limits):
        if external_bytes(model):
            return write_pass(model, target, before, "copying", weights_of=source.path, facts=facts)
        shutil.copyfile(source.path, target)
        return onnx_artifact(target, (target,), model=model, facts=facts)
    if (opset_of(model) or 0) > limits.opset:
        model = set_opset(model, limits.opset, source.path)
    set_ml_opset(model, limits.ml_opset, source.path)
    needed, reason = least_ir(model)
    if needed > limits.ir:
        what = f"{reason} needs IR version {needed}, and {limits.ir} is the limit"
        raise ConversionFailed(what, where=source.location)
    model.ir_version = min(model.ir_version, limits.ir)
    return write_pass(model, target, before, "onnx's version converter", weights_of=source.path, facts=facts)


def _check_trees(model: onnx.ModelProto, runtimes: list[str], source: Artifact) -> None:
    """Raise ConversionFailed for trees that a runtime has no kernel for: no pass writes them in the older form."""
    modes = [
        attribute.t.raw_data or bytes(attribute.t.int32_data)
        for node in nodes_of(model)
        if (node.domain, node.op_type) == (ML, "TreeEnsemble")
        for attribute in node.attribute
        if attribute.name == "nodes_modes"
    ]
    for version in runtimes if modes else ():
        operators = tree_operators(version)
        lacks = "TreeEnsemble" if operators.version < 5 else "sets of categories in TreeEnsemble"
        if operators.version < 5 or (not operators.sets and any(MEMBER in each for each in modes)):
            hint = f"make the model for it: --set onnx.target_runtime={version}"
            raise ConversionFailed(f"ONNX Runtime {version} does not run {lacks}", where=source.location, hint=hint)


def _limits(release: str, runtime: str, opset: int | None, ir: int | None) -> Limits:
    if not (release or runtime or opset or ir):
        raise UsageError("lower needs a limit", hint="one of release=24.10, runtime=1.19, opset=17, ir=10")
    given = [Limits(opset or NO_LIMIT, NO_LIMIT, ir or NO_LIMIT)]
    if release:
        given.append(runtime_limits(triton_runtime(release)))
    if runtime:
        given.append(runtime_limits(runtime))
    if min(one.opset for one in given) < 7:
        raise UsageError(f"opset {opset} is older than any ONNX Runtime can run", hint="7 is the oldest")
    if min(one.ir for one in given) < 4:
        raise UsageError(f"IR version {ir} is older than mlconvert can write", hint="4 is the oldest")
    return Limits(*(min(getattr(one, name) for one in given) for name in ("opset", "ml_opset", "ir")))


def _low_enough(model: onnx.ModelProto, limits: Limits) -> bool:
    found = (opset_of(model) or 0, opset_of(model, ML) or 0, int(model.ir_version))
    return all(have <= limit for have, limit in zip(found, (limits.opset, limits.ml_opset, limits.ir), strict=True))
