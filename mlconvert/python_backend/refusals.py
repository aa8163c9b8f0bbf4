"""What a converter says of a model that it refuses: that it can be served as it is."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from mlconvert.errors import ConversionFailed

AS_IT_IS = "or serve it as it is, with Triton's python backend: --to triton-python"


@contextlib.contextmanager
def served_as_it_is(can: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """Add that way out to the hint of a refusal within, where the model `can` be served so."""
    try:
        yield
    except ConversionFailed as refused:
        if can():
            refused.hint = f"{refused.hint}; {AS_IT_IS}" if refused.hint else AS_IT_IS.removeprefix("or ")
        raise
