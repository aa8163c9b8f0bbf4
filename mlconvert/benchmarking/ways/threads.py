"""How many threads a framework computes with, where its environment variables do not say."""

from __future__ import annotations


def limit_tensorflow(threads: int) -> None:
    """To be called before TensorFlow runs anything in this process."""
    from mlconvert.readers.tensorflow_runtime import import_tensorflow

    tf = import_tensorflow()
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
