"""A Triton model repository: `<repository>/<model>/config.pbtxt` and `<repository>/<model>/<version>/…`."""

from mlconvert.repositories.triton.ensembles import planned_interface
from mlconvert.repositories.triton.history import rollback, versions
from mlconvert.repositories.triton.labelling import label
from mlconvert.repositories.triton.layout import options
from mlconvert.repositories.triton.merging import merge
from mlconvert.repositories.triton.publishing import publish

__all__ = ["label", "merge", "options", "planned_interface", "publish", "rollback", "versions"]
