"""Deployment files for TensorFlow Serving."""

from mlconvert.deployment.tf_serving.description import described as looked_at

__all__ = ["looked_at"]
