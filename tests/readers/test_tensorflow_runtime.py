"""TensorFlow is imported without Keras, which is there all the same when it is asked for."""

import subprocess
import sys

PROGRAM = """
import sys
from mlconvert.readers.tensorflow_runtime import import_keras, import_tensorflow
tf = import_tensorflow()
assert not {"keras", "keras.src.optimizers"} & set(sys.modules)
assert tf.keras.layers.Dense(3)(tf.zeros((2, 4))).shape == (2, 3)
assert tf.keras.optimizers.SGD is import_keras().optimizers.SGD
assert "keras.src.optimizers" in sys.modules
"""


def test_keras_is_imported_when_it_is_used():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
