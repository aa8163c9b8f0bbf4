"""The samples as one model takes them: under its own names, in its dtypes, with or without an axis of rows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mlconvert.artifact import Artifact
from mlconvert.benchmarking.turns import Feed, Inputs
from mlconvert.errors import NotVerified
from mlconvert.inference import cast_to_contract
from mlconvert.samples import has_batch_axis


def inputs_of(artifact: Artifact, samples: Mapping[str, np.ndarray], rows: int) -> Inputs:
    """What `artifact` takes of the first `rows` samples (the source's input names, row axis first).

    Raises NotVerified for a model that takes several rows a call, no more and no fewer: it has no one-row latency.
    """
    signature = artifact.signature
    taken = {artifact.renamed.get(name, name): array for name, array in samples.items()}
    if signature is None:
        return Inputs(rows, lambda start, stop: _copied(taken, start, stop), batches=True, bare=False)
    specs = {spec.name: spec for spec in signature.inputs}
    taken = {name: array for name, array in taken.items() if name in specs}
    if lacking := [name for name in specs if name not in taken]:
        raise NotVerified(f"the model takes the input '{lacking[0]}', which the samples lack", where=artifact.location)
    bare = {n for n, array in taken.items() if array.ndim == len(specs[n].shape) + 1 and not has_batch_axis(specs[n])}
    fixed = {name: axis for name in taken if name not in bare and isinstance(axis := specs[name].shape[0], int)}
    if several := [name for name, axis in fixed.items() if axis != 1]:
        what = f"the input '{several[0]}' takes {fixed[several[0]]} rows a call: no call of one row can be measured"
        raise NotVerified(what, where=artifact.location, hint="convert it with a dynamic batch axis")

    def cut(start: int, stop: int) -> Feed:
        feed = _copied(taken, start, stop)
        return cast_to_contract({name: array[0] if name in bare else array for name, array in feed.items()}, signature)

    return Inputs(rows, cut, batches=not bare and not fixed, bare=bool(bare))


def _copied(taken: Mapping[str, np.ndarray], start: int, stop: int) -> Feed:
    # Copies: a mapped file is read-only, and the first call that touches a page would wait for the disk.
    return {name: np.array(array[start:stop], order="C") for name, array in taken.items()}
