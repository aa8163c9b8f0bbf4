"""A Triton repository in an object store: what `mlconvert.repositories.triton` is for a folder."""

from mlconvert.repositories.triton.layout import options
from mlconvert.repositories.triton.remote.history import label, rollback, versions
from mlconvert.repositories.triton.remote.publishing import publish

__all__ = ["label", "options", "publish", "rollback", "versions"]
