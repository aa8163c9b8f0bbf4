"""A TensorFlow Serving repository: `<repository>/models.config` and `<repository>/<model>/<version>/saved_model.pb`."""

from mlconvert.repositories.tf_serving.history import rollback, versions
from mlconvert.repositories.tf_serving.labelling import label
from mlconvert.repositories.tf_serving.layout import options
from mlconvert.repositories.tf_serving.publishing import publish

__all__ = ["label", "options", "publish", "rollback", "versions"]
