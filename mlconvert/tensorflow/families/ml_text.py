"""ml_text."""

from __future__ import annotations

from mlconvert.tensorflow.operators import Operator

OPERATORS: tuple[Operator, ...] = ()
