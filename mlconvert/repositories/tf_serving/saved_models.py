"""What a SavedModel's folder holds, read without TensorFlow: its files, and the signature that a server calls."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path

from mlconvert import records
from mlconvert.artifact import Artifact
from mlconvert.errors import ConversionFailed, RepositoryInvalid
from mlconvert.readers.saved_model_files import FILE, SIGNATURE, TAG, read_saved_model, signature_of
from mlconvert.signature import Signature

MAIN = FILE
WARMUP = "assets.extra/tf_serving_warmup_requests"  # what the server runs before it calls a version available
DEFAULT = SIGNATURE
_BESIDE = ("variables", "assets")
_ALSO = ("fingerprint.pb",)
_SHARD = re.compile(r"(?P<stem>.+)\.data-[0-9]{5}-of-(?P<count>[0-9]{5})")


def placed_files(artifact: Artifact) -> dict[str, Path]:
    """The files of a SavedModel by their path in the version folder, saved_model.pb first.

    Weights and assets belong to it whether the artifact lists them or not; what is in assets.extra/ only where it does:
    warm-up requests that were made for a repository are not the model's own. Raises RepositoryInvalid for a file of
    another folder, and where the weights are not whole.
    """
    folder = artifact.folder
    if artifact.path.name != MAIN:
        raise RepositoryInvalid(
            f"the server looks for {MAIN}, this is {artifact.path.name}",
            where=artifact.location,
            hint="save the model again with tf.saved_model.save",
        )
    found = {MAIN: artifact.path}
    for path in artifact.files:
        if not path.is_relative_to(folder):
            raise RepositoryInvalid(f"{path} is not in the model's folder", where=artifact.location)
        found[path.relative_to(folder).as_posix()] = path
    beside = (path for name in _BESIDE for path in sorted((folder / name).rglob("*")))
    for path in (*(folder / name for name in _ALSO), *beside):
        if path.is_file() and not path.name.startswith("."):
            found[path.relative_to(folder).as_posix()] = path
    found.pop(records.IN_FOLDER, None)
    check_whole(found, where=artifact.location)
    return found


def check_whole(files: Mapping[str, Path], *, where: str) -> None:
    """Raise RepositoryInvalid where the shards of the weights are not all there."""
    if MAIN not in files:
        raise RepositoryInvalid(f"there is no {MAIN}", where=where)
    names = [name for name in files if name.startswith("variables/")]
    index = "variables/variables.index"
    shards = [(name, found) for name in names if (found := _SHARD.fullmatch(name))]
    if shards and index not in files:
        raise RepositoryInvalid(f"the model has weights without {index}", where=where)
    if index in files and not shards:
        raise RepositoryInvalid("the model has variables/variables.index, and no weights", where=where)
    for _, shard in shards:
        count = int(shard["count"])
        for number in range(count):
            expected = f"{shard['stem']}.data-{number:05}-of-{count:05}"
            if expected not in files:
                raise RepositoryInvalid(f"the model's weights lack {expected}", where=where)


def signatures_of(path: Path) -> dict[str, Signature]:
    """The signatures under the tag `serve` of a saved_model.pb. Raises RepositoryInvalid for a file that is none.

    One with a tensor that no other format has (sparse, of a type of TensorFlow's own, of an unknown rank) is left out.
    """
    try:
        saved = read_saved_model(path)
    except ConversionFailed as error:
        raise RepositoryInvalid(error.message, where=error.where, hint=error.hint) from error
    if (TAG,) not in saved.tags:
        raise RepositoryInvalid(
            f"the SavedModel has no graph with the tag '{TAG}', which is what a server loads",
            where=str(path),
            hint="save it with tf.saved_model.save",
        )
    found = {}
    for key in saved.signatures:
        with contextlib.suppress(ConversionFailed):
            found[key] = signature_of(saved, key)
    return found


def served_signature(artifact: Artifact) -> Signature | None:
    """The signature that a request without the name of one calls; None for a model that has none with that name."""
    found = signatures_of(artifact.path).get(DEFAULT)
    if artifact.signature is None or found is None:
        return found
    known = {(spec.name, spec.dtype) for spec in artifact.signature.inputs}
    same = known == {(spec.name, spec.dtype) for spec in found.inputs}
    return artifact.signature if same else found  # it names the axes, too
