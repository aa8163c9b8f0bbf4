"""The folder of a version: its files, and what its saved_model.pb says of itself against what a stock server can do."""

from __future__ import annotations

from collections.abc import Iterator

from mlconvert import records
from mlconvert.artifact import file_sha256
from mlconvert.errors import MlconvertError, RepositoryInvalid
from mlconvert.readers.saved_model_files import SIGNATURE, TAG, SavedModelFile, SavedTensor, read_saved_model
from mlconvert.repositories.findings import Finding
from mlconvert.repositories.tf_serving.lint.model import ServedModel
from mlconvert.repositories.tf_serving.saved_models import MAIN, check_whole
from mlconvert.repositories.versions import VersionFolder, model_files
from mlconvert.serving.tf_serving.json_tensors import REST_TYPES

# Operators of TensorFlow's Python package, or of a TensorRT, that no stock server has.
FOREIGN = {
    "PyFunc": "it calls Python (tf.numpy_function)",
    "PyFuncStateless": "it calls Python (tf.numpy_function)",
    "EagerPyFunc": "it calls Python (tf.py_function)",
    "TRTEngineOp": "it needs the TensorRT that it was built with",
    "CreateTRTResourceHandle": "it needs the TensorRT that it was built with",
    "InitializeTRTResource": "it needs the TensorRT that it was built with",
}
_NOWHERE = frozenset({"DT_RESOURCE", "DT_VARIANT", "DT_INVALID"})  # no value of these leaves a process


def files(model: ServedModel) -> Iterator[Finding]:
    for version in model.versions:
        if not (version.path / MAIN).is_file():
            yield _without_main(model, version)
            continue
        try:
            check_whole(model_files(version.path), where=str(version.path))
        except RepositoryInvalid as error:
            fix = f"copy variables/ whole, or publish the model again as '{model.name}'"
            yield model.of_version(
                version, "variables", f"{error.message}: the server cannot load it", fix, file="variables"
            )


def _without_main(model: ServedModel, version: VersionFolder) -> Finding:
    nested = sorted(version.path.glob(f"*/{MAIN}"))
    if nested:
        inside = nested[0].parent
        what = f"{MAIN} is one level too deep, in '{inside.name}': the server looks in '{version.path.name}' itself"
        fix = f"mv {inside}/* {version.path}/ && rmdir {inside}"
        return model.of_version(version, "nested", what, fix, file=inside.name)
    if (version.path / "saved_model.pbtxt").is_file():
        what = "a SavedModel as text, into which mlconvert does not look"
        return model.finding(
            "unchecked", "saved-model-text", what, f"write {MAIN}: tf.saved_model.save", file=version.path.name
        )
    what = f"there is no {MAIN}: the server cannot load it"
    fix = f"put the SavedModel's files into {version.path}, or move that folder out of the repository"
    return model.of_version(version, "saved-model-missing", what, fix)


def graph(model: ServedModel) -> Iterator[Finding]:
    """Tag, signature, types, operators, weights and assets."""
    for version in model.versions:
        if not (version.path / MAIN).is_file():
            continue
        try:
            saved = read_saved_model(version.path / MAIN)
        except MlconvertError as error:
            fix = f"save the model again and publish it as '{model.name}'"
            yield model.of_version(version, "model-unreadable", error.message, fix, file=MAIN)
            continue
        if (TAG,) not in saved.tags:
            told = "; ".join(", ".join(tags) or "no tag" for tags in saved.tags)
            what = f"there is no graph tagged '{TAG}', which is what the server loads; there is: {told}"
            yield model.of_version(version, "no-serve-tag", what, "save it with tf.saved_model.save", file=MAIN)
            continue
        yield from _signatures(model, version, saved)
        for name, why in FOREIGN.items():
            if name in saved.operators:
                what = f"a stock server has no operator {name}: {why}"
                fix = "leave it out of the exported function"
                yield model.of_version(version, "operator", what, fix, file=MAIN, field=name)
        if saved.stateful and not (version.path / "variables/variables.index").is_file():
            what = "the graph has variables, and there is no variables/variables.index: the server cannot load it"
            yield model.of_version(version, "variables", what, "copy variables/ too", file="variables")
        for asset in saved.assets:
            if not (version.path / "assets" / asset).is_file():
                what = f"the graph reads assets/{asset}, which is not there: the server cannot load it"
                yield model.of_version(version, "asset-missing", what, "copy assets/ too", file=f"assets/{asset}")


def _signatures(model: ServedModel, version: VersionFolder, saved: SavedModelFile) -> Iterator[Finding]:
    place = f"{version.path.name}/{MAIN}"
    if SIGNATURE not in saved.signatures:
        told = ", ".join(saved.signatures) or "none"
        what = f"there is no signature '{SIGNATURE}'; there is: {told}"
        fix = f"save it with tf.saved_model.save(…, signatures={{'{SIGNATURE}': …}})"
        if saved.signatures:
            what += ". A request that does not name one of these is refused"
            yield model.finding("warning", "no-signature", what, fix, file=place)
        else:
            yield model.of_version(version, "no-signature", f"{what}: nothing can be asked", fix, file=MAIN)
    for key, signature in saved.signatures.items():
        for side, tensors in (("input", signature.inputs), ("output", signature.outputs)):
            for name, tensor in tensors.items():
                yield from _tensor(model, version, tensor, f"signature '{key}' {side} '{name}'")
        for name, tensor in signature.outputs.items():
            if name.endswith("_bytes") and tensor.dtype != "DT_STRING":
                what = f"{tensor.dtype} under a name in _bytes, which the REST API keeps for base64 of strings"
                fix = "give the output another name"
                yield model.finding(
                    "warning", "bytes-name", what, fix, file=place, field=f"signature '{key}' output '{name}'"
                )


def _tensor(model: ServedModel, version: VersionFolder, tensor: SavedTensor, field: str) -> Iterator[Finding]:
    if tensor.dtype in _NOWHERE:
        what = f"{tensor.dtype}: no request and no answer can hold it"
        fix = "save a signature of plain tensors"
        yield model.of_version(version, "tensor-type", what, fix, file=MAIN, field=field)
    elif tensor.dtype not in REST_TYPES:
        what = f"{tensor.dtype}: the REST API cannot carry it, only gRPC can"
        place = f"{version.path.name}/{MAIN}"
        fix = "cast it to float32 in the exported function, or ask over gRPC"
        yield model.finding("warning", "rest-type", what, fix, file=place, field=field)


def recorded(model: ServedModel) -> Iterator[Finding]:
    """Every file that a record names is there, with the digest that it has there."""
    for version in model.versions:
        path = version.path / records.IN_FOLDER
        record = records.read(path)
        if record is None:
            if path.exists():
                what = "this is no record of mlconvert's: the version cannot be tested by itself"
                place = f"{version.path.name}/{path.name}"
                yield model.finding("warning", "record-unreadable", what, f"rm {path}", file=place)
            continue
        for row in record["files"]:
            file = version.path / row["path"]
            fix = f"publish the model again, or remove {path} if the new file is meant"
            if not file.is_file():
                what = f"the record names '{row['path']}', which is not there"
                yield model.of_version(version, "record-file-missing", what, fix, file=row["path"])
            elif file_sha256(file) != row["sha256"]:
                what = "the file was changed after its record was written (sha256 differs)"
                yield model.of_version(version, "checksum", what, fix, file=row["path"])


RULES = (files, graph, recorded)
