"""TensorFlow and Keras as they are imported here: quietly, on whatever processor there is, with nothing left behind.

TensorFlow's logging is settled by the environment at its first import and never again, so all who need it come here.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from types import ModuleType

from mlconvert.errors import MissingPackage
from mlconvert.packages import KERAS, install_command, version

KERAS_SINCE = (3, 14)  # before, `safe_mode` could be bypassed: CVE-2025-1550, -8747, -9906


def import_tensorflow() -> ModuleType:
    """The package tensorflow, without the lines that it logs by itself; errors are raised all the same.

    Devices, threads and oneDNN are left as the user's environment has them.
    """
    # Errors of the runtime are exceptions too; what it logs beside them is about drivers and processors.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with warnings.catch_warnings(), _held_stderr():
        warnings.simplefilter("ignore")  # about other packages' names, gone in their next release
        with _without_keras():
            import tensorflow as tf

    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    _quiet_absl()
    module: ModuleType = tf
    return module


def import_keras() -> ModuleType:
    """The package keras with TensorFlow behind it.

    Raises MissingPackage for a Keras before 3.14: files of strangers could run code there in spite of `safe_mode`.
    """
    found = version(KERAS)
    if found is not None and _release(found) < KERAS_SINCE:
        least = ".".join(map(str, KERAS_SINCE))
        what = f"keras {found} is installed, and {least} is the first whose safe mode holds against hostile files"
        raise MissingPackage(what, hint=f"pip install 'keras>={least}' or {install_command([KERAS])}")
    os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever ~/.keras/keras.json says: it is TensorFlow that is needed
    import_tensorflow()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import keras

    module: ModuleType = keras
    return module


def _release(text: str) -> tuple[int, ...]:
    from packaging.version import Version

    return Version(text).release


@contextlib.contextmanager
def _held_stderr() -> Iterator[None]:
    """Keep what is written to stderr, by C++ too, and show it only where the import fails.

    Before its logging is set up, TensorFlow writes whatever the level: of oneDNN, and that it does so.
    """
    if "tensorflow" in sys.modules:
        yield
        return
    sys.stderr.flush()
    real = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(real, 2)
            held.seek(0)
            os.write(2, held.read())
            raise
        finally:
            os.dup2(real, 2)
            os.close(real)


@contextlib.contextmanager
def _without_keras() -> Iterator[None]:
    """Keep TensorFlow from importing Keras, which costs as long again: `keras` and `tf.keras` do so when they are used.

    TensorFlow imports this one module where there is a Keras, and goes on where that fails: None makes it fail.
    """
    eager = "keras.src.optimizers"
    if "tensorflow" in sys.modules or eager in sys.modules:
        yield
        return
    sys.modules[eager] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[eager]


def _quiet_absl() -> None:
    """absl, which TensorFlow logs with, writes to stderr until it is told where to write."""
    from absl import logging as absl_logging

    absl_logging.set_verbosity(absl_logging.ERROR)
    absl_logging.set_stderrthreshold("fatal")
