"""The version of scikit-learn that an estimator was saved by, against the one that is installed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mlconvert.errors import ConversionFailed


@contextmanager
def refusing_newer(where: str) -> Iterator[None]:
    """Raise ConversionFailed if what is loaded inside was saved by a newer scikit-learn than the installed one.

    What such a model holds may mean something else here, or nothing. scikit-learn itself only warns; so it does here
    for a model of an older version. Where loading failed, the version is the likelier reason, and is told instead.
    """
    with warnings.catch_warnings(record=True) as met:
        warnings.simplefilter("always")
        try:
            yield
        except ConversionFailed as error:
            _check(met, where, error)
            raise
    _check(met, where, None)
    for warning in met:
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def _check(met: Sequence[warnings.WarningMessage], where: str, cause: Exception | None) -> None:
    if not met:
        return
    from packaging.version import Version
    from sklearn.exceptions import InconsistentVersionWarning

    for warning in met:
        told = warning.message
        if not isinstance(told, InconsistentVersionWarning):
            continue
        saved, here = str(told.original_sklearn_version), str(told.current_sklearn_version)
        if saved != "pre-0.18" and Version(saved) > Version(here):
            what = f"the {told.estimator_name} was saved by scikit-learn {saved}, which is newer than {here} here"
            hint = f"pip install 'scikit-learn>={saved}', or train it with scikit-learn {here}"
            raise ConversionFailed(what, where=where, hint=hint) from cause
