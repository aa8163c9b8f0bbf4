"""Run by tests as a program: `saved_models_process.py FOLDER NUMBER…` makes SavedModels of `y = 2 * x + number`."""

from __future__ import annotations

import sys
from pathlib import Path


def make(folder: Path, numbers: list[int]) -> None:
    import tensorflow as tf

    class Numbered(tf.Module):
        def __init__(self, number: float) -> None:
            super().__init__()
            self.number = tf.Variable(number)

        @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
        def __call__(self, x):
            return {"y": 2 * x + self.number}

    for number in numbers:
        module = Numbered(float(number))
        tf.saved_model.save(module, str(folder / str(number)), signatures={"serving_default": module.__call__})


if __name__ == "__main__":
    make(Path(sys.argv[1]), [int(text) for text in sys.argv[2:]])
