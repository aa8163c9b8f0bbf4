"""Run by tests as a program: tiny SavedModels, made with TensorFlow alone, in one process.

saved_model_process.py make FOLDER SCALE…      FOLDER/<scale>/saved_model.pb: y = scale * x, total = its sum
saved_model_process.py load FOLDER…            loads each, calls it, runs its warm-up requests; prints JSON
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def make(folder: Path, scales: list[float]) -> None:
    import tensorflow as tf

    class Scaled(tf.Module):
        def __init__(self, scale: float) -> None:
            super().__init__()
            self.scale = tf.Variable([scale] * 4)

        @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
        def __call__(self, x):
            return {"y": x * self.scale, "total": tf.reduce_sum(x * self.scale, axis=1)}

    for scale in scales:
        module = Scaled(scale)
        tf.saved_model.save(module, str(folder / f"{scale:g}"), signatures={"serving_default": module.__call__})


def load(folders: list[Path]) -> None:
    import tensorflow as tf

    for folder in folders:
        call = tf.saved_model.load(str(folder)).signatures["serving_default"]
        outputs = call(x=tf.constant([[0.0, 1.0, 2.0, 3.0]]))
        answers = {name: values.numpy().tolist() for name, values in sorted(outputs.items())}
        print(json.dumps({**answers, "warm": list(warmed_up(folder / "assets.extra", call))}))


def warmed_up(folder: Path, call: Any) -> Iterator[Any]:
    """The answers to the warm-up requests, as TensorFlow's own reader finds them."""
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    for content in tf.data.TFRecordDataset(str(folder / "tf_serving_warmup_requests")):
        request = prediction_log_pb2.PredictionLog.FromString(content.numpy()).predict_log.request
        inputs = {name: tf.constant(tf.make_ndarray(tensor)) for name, tensor in request.inputs.items()}
        yield call(**inputs)["y"].numpy().tolist()


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(Path(sys.argv[2]), [float(text) for text in sys.argv[3:]])
    else:
        load([Path(text) for text in sys.argv[2:]])
