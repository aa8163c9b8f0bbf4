"""Reference outputs of fitted statsmodels results, from `results.predict`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mlconvert.converter import Session
from mlconvert.readers.statsmodels_answers import answers_of, load_answering

if TYPE_CHECKING:
    import numpy as np

    from mlconvert.artifact import Artifact
    from mlconvert.signature import Signature


def signature(artifact: Artifact) -> Signature | None:
    return load_answering(artifact).signature


def load(artifact: Artifact) -> Session:
    """A session that answers as `results.predict` does; rows that it would refuse are NaN."""
    answering = load_answering(artifact)
    (output,) = answering.signature.outputs

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {output.name: answers_of(answering, inputs)}

    return Session(answering.signature, run)


def boundary_samples(
    artifact: Artifact, samples: Mapping[str, np.ndarray], *, count: int, seed: int
) -> dict[str, np.ndarray] | None:
    """Rows of the samples, with the fit's own categories at random in them; None for a model without categories.

    Numbers that were made up are no categories of the fit (its years, say): with them every answer would be NaN, and
    nothing would be compared.
    """
    import numpy as np

    categories = load_answering(artifact).levels
    if not categories:
        return None
    random = np.random.default_rng(seed)
    chosen = random.integers(len(next(iter(samples.values()))), size=count)
    rows = {name: values[chosen] for name, values in samples.items()}
    for name, levels in categories.items():
        rows[name] = np.array(levels)[random.integers(len(levels), size=(count, 1))]
    return rows
