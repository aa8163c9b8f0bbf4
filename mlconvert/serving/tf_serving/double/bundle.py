"""A SavedModel in a session, as the real server has it: loaded by its tag, restored, initialised, warmed up.

Requests go by the signature's tensor names through a callable of the session, which takes arrays as they are: types and
shapes are TensorFlow's to check, in C++, as in the real server.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlconvert.serving.tf_serving.double import log
from mlconvert.serving.tf_serving.double.status import Refused, invalid, refused_by_tensorflow
from mlconvert.serving.tf_serving.messages import message

DEFAULT_SIGNATURE = "serving_default"
METHODS = ("tensorflow/serving/predict", "tensorflow/serving/classify", "tensorflow/serving/regress")
WARMUP = Path("assets.extra", "tf_serving_warmup_requests")
MOST_RECORDS = 1000


class Bundle:
    """Raises Refused when the folder cannot be loaded, with the reason TensorFlow gives."""

    def __init__(self, folder: str, tags: Sequence[str], *, threads: Mapping[str, int]) -> None:
        import tensorflow as tf

        config = tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=threads.get("intra", 0),
            inter_op_parallelism_threads=threads.get("inter", 0),
        )
        graph = tf.Graph()
        try:
            with graph.as_default():
                self._session = tf.compat.v1.Session(graph=graph, config=config)
                loaded = tf.compat.v1.saved_model.loader.load(self._session, list(tags), folder)
        except tf.errors.OpError as error:
            raise refused_by_tensorflow(error) from error
        except OSError as error:
            raise Refused(
                "NOT_FOUND",
                f"Could not find SavedModel .pb or .pbtxt at supplied export directory path: {folder}. {error}",
            ) from error
        except Exception as error:  # a graph that cannot be imported comes as ValueError, TypeError, KeyError, …
            raise invalid(" ".join(str(error).split())) from error
        content = {key: one.SerializeToString() for key, one in loaded.signature_def.items()}
        self.signatures = {key: message("SignatureDef").FromString(one) for key, one in sorted(content.items())}
        self._callables: dict[tuple[tuple[str, ...], tuple[str, ...]], Any] = {}
        self._lock = threading.Lock()

    def run(self, feeds: Mapping[str, Any], fetches: Sequence[str]) -> list[Any]:
        """The values of tensors, by their names in the graph. Raises Refused with TensorFlow's own reason."""
        import tensorflow as tf

        try:
            call = self._callable(tuple(feeds), tuple(fetches))
            values: list[Any] = call(*feeds.values())
        except tf.errors.OpError as error:
            raise refused_by_tensorflow(error) from error
        except Exception as error:
            raise Refused("INTERNAL", " ".join(str(error).split())) from error
        return values

    def close(self) -> None:
        self._session.close()

    def _callable(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> Any:
        from tensorflow.core.protobuf import config_pb2

        with self._lock:
            if (feeds, fetches) not in self._callables:
                options = config_pb2.CallableOptions(feed=feeds, fetch=fetches)
                self._callables[feeds, fetches] = self._session._make_callable_from_options(options)
            return self._callables[feeds, fetches]


def warm_up(bundle: Bundle, folder: str, *, iterations: int, predict: Any) -> None:
    """Replay the warm-up requests of a version. Raises Refused where the real server would not serve it either."""
    import tensorflow as tf

    path = Path(folder) / WARMUP
    if not path.is_file():
        log.info(f"No warmup data file found at {path}")
        return
    count = 0
    try:
        for content in tf.compat.v1.io.tf_record_iterator(str(path)):
            try:
                logged = message("PredictionLog").FromString(content)
            except Exception as error:
                raise invalid(f"Failed to parse warmup record: {content!r} from {path}") from error
            kind = logged.WhichOneof("log_type")
            if kind != "predict_log":
                raise Refused("UNIMPLEMENTED", f"the double cannot replay the warm-up record {count}, a {kind}")
            for _ in range(max(1, iterations)):
                predict(bundle, logged.predict_log.request)
            count += 1
            if count > MOST_RECORDS:
                raise invalid(f"Number of warmup records exceeds the maximum ({MOST_RECORDS}) at {path}")
    except tf.errors.DataLossError as error:
        told = f"{error.message}. Please verify your warmup data is in TFRecord format."
        raise Refused("DATA_LOSS", told) from error
    log.info(f"Finished reading warmup data for model at {path}. Number of warmup records read: {count}.")
