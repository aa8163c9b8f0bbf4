"""The program: flags, files, the first load, then the ports, as the real server starts (main.cc, server.cc)."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from mlconvert.serving.tf_serving.double import configuration, log, predicting, rest, rpc
from mlconvert.serving.tf_serving.double.answers import Answers
from mlconvert.serving.tf_serving.double.bundle import Bundle, warm_up
from mlconvert.serving.tf_serving.double.flags import WrongFlags, parse
from mlconvert.serving.tf_serving.double.manager import Manager
from mlconvert.serving.tf_serving.double.status import Refused, invalid

FAILED = 255  # main returns -1
DEFAULT_THREAD_POOL = "model_server_batch_threads"


def main(words: Sequence[str]) -> int:
    """Serve until a signal ends it; the exit status. 255, with the reason on stderr, where it cannot start."""
    try:
        flags = parse(words)
    except WrongFlags as error:
        sys.stderr.write(f"usage: tensorflow_model_server (the double of mlconvert) --flag=value…\n{error}\n")
        return FAILED
    if flags["version"]:
        sys.stdout.write(f"the double of TensorFlow ModelServer, by mlconvert, on TensorFlow {_tensorflow()}\n")
        return 0
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    try:
        servers = _started(flags)
    except Refused as error:
        log.error(f"Failed to start server. Error: {error}")
        return FAILED
    stop.wait()
    del servers
    return 0


def _tensorflow() -> str:
    from importlib import metadata

    for name in ("tensorflow", "tensorflow-cpu"):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return "(not installed)"


def _started(flags: Mapping[str, Any]) -> tuple[Any, ...]:
    """The listening servers. Raises Refused."""
    if flags["port"] == 0:
        raise invalid("server_options.grpc_port is not set.")
    if not flags["model_config_file"] and not flags["model_base_path"]:
        raise invalid("Both server_options.model_base_path and server_options.model_config_file are empty!")
    path = flags["model_config_file"]
    config = (
        configuration.read("ModelServerConfig", path)
        if path
        else configuration.single(flags["model_name"], flags["model_base_path"])
    )
    batching = _batching(flags)
    page = _metrics_path(flags["monitoring_config_file"])
    log.info(f"the double of tensorflow_model_server, by mlconvert, on TensorFlow {_tensorflow()}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")
    run = partial(predicting.run, batching=batching, check_method=flags["enable_signature_method_name_check"])
    manager = Manager(flags, lambda folder: _loaded(folder, flags, run))
    answers = Answers(manager, run)
    manager.configure(config)
    if path and flags["model_config_file_poll_wait_seconds"] > 0:
        threading.Thread(
            target=_follow, args=(manager, path, flags["model_config_file_poll_wait_seconds"]), daemon=True
        ).start()
    api = rest.Rest(answers, manager, prometheus=page)
    try:
        grpc_server = rpc.listen(
            answers, flags["port"], count=api.count, health=flags["enable_grpc_healthcheck_service"]
        )
    except rpc.NoPort as error:
        raise invalid("Failed to BuildAndStart gRPC server") from error
    if flags["rest_api_port"] == 0:
        return (grpc_server,)
    if flags["rest_api_port"] == flags["port"]:
        log.error("server_options.http_port cannot be same as grpc_port. Skipped exporting HTTP/REST API.")
        return (grpc_server,)
    try:
        return grpc_server, rest.listen(api, flags["rest_api_port"])
    except OSError as error:
        log.error(f"Failed to start HTTP Server at localhost:{flags['rest_api_port']}: {error}")
        return (grpc_server,)


def _loaded(folder: str, flags: Mapping[str, Any], run: Callable[[Bundle, Any], Any]) -> Bundle:
    both = flags["tensorflow_session_parallelism"]
    threads = {
        "intra": flags["tensorflow_intra_op_parallelism"] or both,
        "inter": flags["tensorflow_inter_op_parallelism"] or both,
    }
    bundle = Bundle(folder, flags["saved_model_tags"].split(","), threads=threads)
    if flags["enable_model_warmup"]:
        warm_up(bundle, folder, iterations=flags["num_request_iterations_for_warmup"], predict=run)
    return bundle


def _batching(flags: Mapping[str, Any]) -> Any:
    path = flags["batching_parameters_file"]
    if not flags["enable_batching"]:
        if path:
            raise invalid(
                "server_options.batching_parameters_file is set without setting server_options.enable_batching to true."
            )
        return None
    from mlconvert.serving.tf_serving.messages import message

    if not path:
        parameters = message("BatchingParameters")()
        parameters.thread_pool_name.value = DEFAULT_THREAD_POOL
        return parameters
    parameters = configuration.read("BatchingParameters", path)
    sizes, most = list(parameters.allowed_batch_sizes), parameters.max_batch_size.value
    if sizes and (sizes != sorted(set(sizes)) or (most and sizes[-1] != most)):
        raise invalid(
            "allowed_batch_sizes entries must be in increasing order, and the last must be equal to max_batch_size"
        )
    return parameters


def _metrics_path(path: str) -> str | None:
    """Where Prometheus finds the metrics; None where there is no monitoring."""
    told = configuration.read("MonitoringConfig", path).prometheus_config if path else None
    return (told.path or "/monitoring/prometheus/metrics") if told is not None and told.enable else None


def _follow(manager: Manager, path: str, seconds: int) -> None:
    while True:
        threading.Event().wait(seconds)
        try:
            config = configuration.read("ModelServerConfig", path)
        except Refused as error:
            log.error(f"Failed to read ModelServerConfig file: {error.message}")
            continue
        try:
            manager.configure(config)
        except Refused as error:
            log.error(f"PollFilesystemAndReloadConfig failed to ReloadConfig: {error.message}")
