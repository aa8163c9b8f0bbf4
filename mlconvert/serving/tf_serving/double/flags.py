"""The command line, as the real server reads it: `--flag=value`, and `--flag` alone for a boolean."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

# The flags that are honoured: their defaults, which also tell their types.
HONOURED: Mapping[str, bool | int | str] = {
    "port": 8500,
    "rest_api_port": 0,
    "enable_batching": False,
    "batching_parameters_file": "",
    "allow_version_labels_for_unavailable_models": False,
    "force_allow_any_version_labels_for_unavailable_models": False,
    "model_config_file": "",
    "model_config_file_poll_wait_seconds": 0,
    "model_name": "default",
    "model_base_path": "",
    "num_load_threads": 0,
    "max_num_load_retries": 5,
    "load_retry_interval_micros": 60 * 1000 * 1000,
    "file_system_poll_wait_seconds": 1,
    "tensorflow_session_parallelism": 0,
    "tensorflow_intra_op_parallelism": 0,
    "tensorflow_inter_op_parallelism": 0,
    "saved_model_tags": "serve",
    "enable_model_warmup": True,
    "num_request_iterations_for_warmup": 0,
    "monitoring_config_file": "",
    "enable_signature_method_name_check": False,
    "enable_grpc_healthcheck_service": False,
    "version": False,
}

# Flags of the real server that change nothing of what is answered.
WITHOUT_EFFECT: Mapping[str, bool | int | str] = {
    "rest_api_num_threads": 8,
    "grpc_max_threads": 8,
    "grpc_channel_arguments": "",
    "num_unload_threads": 0,
    "flush_filesystem_caches": True,
    "per_process_gpu_memory_fraction": "0",
    "remove_unused_fields_from_bundle_metagraph": True,
    "enable_profiler": True,
}

# Flags of the real server that the double would have to ignore.
NOT_HERE = (
    "grpc_socket_path", "rest_api_enable_cors_support", "rest_api_timeout_in_ms", "ssl_config_file",
    "platform_config_file",
    "prefer_tflite_model", "num_tflite_pools", "num_tflite_interpreters_per_pool",
    "xla_cpu_compilation_enabled", "thread_pool_factory_config_file", "mixed_precision",
    "enable_per_model_batching_params", "skip_initialize_tpu",
)  # fmt: skip


class WrongFlags(Exception):
    """The program ends, with the message."""


def parse(words: Sequence[str]) -> dict[str, Any]:
    """The value of each flag. Raises WrongFlags for one that is unknown, misspelled, or not to be had here."""
    known = {**HONOURED, **WITHOUT_EFFECT}
    found: dict[str, Any] = dict(known)
    for word in words:
        name, equals, text = word.removeprefix("--").partition("=")
        if word.startswith("--") and name in NOT_HERE:
            raise WrongFlags(f"the double of tensorflow_model_server has no --{name}")
        if not word.startswith("--") or name not in known:
            raise WrongFlags(f"unknown argument: {word}")
        found[name] = _value(name, text, known[name], given=bool(equals))
    return found


def _value(name: str, text: str, default: bool | int | str, *, given: bool) -> bool | int | str:
    if isinstance(default, bool):
        if not given or text.lower() in ("true", "1"):
            return True
        if text.lower() in ("false", "0"):
            return False
        raise WrongFlags(f"Couldn't interpret value {text} for flag {name}.")
    if not given:
        raise WrongFlags(f"Couldn't interpret value  for flag {name}.")
    if isinstance(default, str):
        return text
    if not re.fullmatch(r"[+-]?\d+", text):
        raise WrongFlags(f"Couldn't interpret value {text} for flag {name}.")
    return int(text)
