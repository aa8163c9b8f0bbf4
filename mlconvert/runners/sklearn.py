"""Reference outputs of an estimator with scikit-learn's API, from the estimator itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mlconvert.converter import Session
from mlconvert.readers.estimator_answers import outputs_of, signature_of, table_of
from mlconvert.readers.estimators import load_estimator

if TYPE_CHECKING:
    import numpy as np

    from mlconvert.artifact import Artifact
    from mlconvert.signature import Signature


def signature(artifact: Artifact) -> Signature | None:
    """The full signature of an estimator of numbers (or of text), None for one that goes by columns."""
    return signature_of(load_estimator(artifact), artifact.location)


def load(artifact: Artifact) -> Session:
    estimator = load_estimator(artifact)

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return outputs_of(estimator, table_of(estimator, inputs))

    return Session(signature_of(estimator, artifact.location), run)
