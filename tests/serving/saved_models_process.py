"""Run by tests as a program: `saved_models_process.py FOLDER NUMBER…` makes SavedModels of `y = 2 * x + number`.

0 is of float16, the others of float32.
"""

from __future__ import annotations

import sys
from pathlib import Path


def make(folder: Path, numbers: list[int]) -> None:
    import tensorflow as tf

    def numbered(number: int) -> tf.Module:
        dtype = tf.float32 if number else tf.float16
        module = tf.Module()
        module.number = tf.Variable(number, dtype=dtype)
        spec = tf.TensorSpec([None, 4], dtype, name="x")
        module.serve = tf.function(lambda x: {"y": 2 * x + module.number}, input_signature=[spec])
        return module

    for number in numbers:
        module = numbered(number)
        tf.saved_model.save(module, str(folder / str(number)), signatures={"serving_default": module.serve})


if __name__ == "__main__":
    make(Path(sys.argv[1]), [int(text) for text in sys.argv[2:]])
