"""A fresh process that imports TensorFlow and numpy alone: loads SavedModels, calls their signatures, stores answers.

`loader.py FOLDER`: each folder in it has `model/` and `inputs.pickle`, made by run.py; `outputs.pickle` is written.
"""

import os
import pickle
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf


def tensor(stored):
    dtype, shape, values = stored
    if dtype == "string":
        return tf.constant(values, dtype=tf.string, shape=shape)
    return tf.constant(np.frombuffer(values, tf.as_dtype(dtype).as_numpy_dtype).reshape(shape))


def plain(answer):
    if answer.dtype == tf.string:
        return ("string", tuple(answer.shape), list(np.array(answer.numpy(), dtype=object).reshape(-1)))
    return (answer.dtype.name, tuple(answer.shape), answer.numpy().tobytes())


def answers(folder: Path):
    function = tf.saved_model.load(str(folder / "model")).signatures["serving_default"]
    found = []
    for inputs in pickle.loads((folder / "inputs.pickle").read_bytes()):
        called = function(**{name: tensor(stored) for name, stored in inputs.items()})
        found.append({name: plain(answer) for name, answer in called.items()})
    return found


for case in sorted(Path(sys.argv[1]).iterdir()):
    try:
        result = answers(case)
    except Exception as error:  # a case that fails does not take the others with it
        result = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    (case / "outputs.pickle").write_bytes(pickle.dumps(result))
