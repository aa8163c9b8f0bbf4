"""Configurations for a spread of models and options: golden files, and the real server that loads each.

Golden files lie in `golden/onnxruntime/`; MLCONVERT_WRITE_GOLDEN=1 writes them anew (look at the difference). `refused`
is what the tests' server says where it cannot load one, because it has no GPU or lacks a part.
"""

from __future__ import annotations

import json
import os
import shutil
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from mlconvert import records
from mlconvert.artifact import Artifact, file_sha256
from mlconvert.errors import RepositoryInvalid
from mlconvert.repositories.triton import config as cfg
from mlconvert.repositories.triton import publish
from mlconvert.repositories.triton.backends import onnxruntime
from mlconvert.repositories.triton.description import Description
from mlconvert.repositories.triton.lint import lint
from mlconvert.signature import Signature, TensorSpec
from mlconvert.tensors.rows import encode_rows

GOLDEN = Path(__file__).parent / "golden" / "onnxruntime"
Tensors = dict[str, tuple[str, tuple]]


def signature(inputs: Tensors, outputs: Tensors) -> Signature:
    return Signature(
        tuple(TensorSpec(name, dtype, shape) for name, (dtype, shape) in inputs.items()),
        tuple(TensorSpec(name, dtype, shape) for name, (dtype, shape) in outputs.items()),
    )


CLASSIFIER = signature(
    {"input": ("float32", ("batch", 30))}, {"label": ("int64", ("batch",)), "probabilities": ("float32", ("batch", 2))}
)
FRAME = signature(
    {"city": ("string", ("batch", 1)), "age": ("float64", ("batch", 1)), "code": ("int64", ("batch",))},
    {"label": ("string", ("batch",))},
)
TRANSFORMER = signature(
    {"input_ids": ("int64", ("batch", "sequence")), "attention_mask": ("int64", ("batch", "sequence"))},
    {"logits": ("float32", ("batch", "sequence", 100))},
)
FIXED = signature({"x": ("float16", (1, 16))}, {"y": ("uint8", (1, 2))})
SCALAR = signature({"x": ("float32", ("batch", 3)), "k": ("int32", ())}, {"mean": ("float32", ())})
UNNAMED = signature({"x": ("float32", (None, 16))}, {"y": ("float32", (None, 2))})
RECURRENT = signature(
    {
        "x": ("float32", ("batch", 8)), "begin": ("bool", ("batch", 1)), "ready": ("int32", ("batch", 1)),
        "id": ("uint64", ("batch", 1)), "state": ("float32", ("batch", 4)),
    },
    {"y": ("float32", ("batch", 2)), "new_state": ("float32", ("batch", 4))},
)  # fmt: skip

FRAME_ROWS = {
    "city": np.array([["Zürich"], ["Paris"]]),
    "age": np.array([[38.5], [np.nan]]),
    "code": np.array([7, 9]),
}
TOKENS = {
    "input_ids": np.array([[101, 7592, 2088, 102], [101, 2307, 102, 0]]),
    "attention_mask": np.array([[1, 1, 1, 1], [1, 1, 1, 0]]),
}


def profile(least: int, best: int, most: int) -> dict[str, dict[str, list[int]]]:
    shapes = {"min": [1, least], "opt": [8, best], "max": [32, most]}
    return dict.fromkeys(("input_ids", "attention_mask"), shapes)


@dataclass(frozen=True)
class Case:
    signature: Signature
    options: Mapping[str, Any] = field(default_factory=dict)
    rows: Mapping[str, np.ndarray] | None = None  # that the record keeps
    facts: Mapping[str, Any] = field(default_factory=dict)  # of the artifact
    refused: str | None = None  # what the tests' server says instead of loading it


NO_GPU = r"has kind KIND_GPU but no GPUs are available|specifies invalid or unsupported gpu id"

CASES: dict[str, Case] = {
    "classifier": Case(CLASSIFIER),
    "frame": Case(FRAME),
    "transformer_gpu": Case(
        TRANSFORMER,
        {
            "max_batch_size": "32",
            "preferred_batch_sizes": "16,8",
            "max_queue_delay_us": "500",
            "instances": "2",
            "instance_kind": "gpu",
            "gpus": "0,1",
        },
        refused=NO_GPU,
    ),
    "classifier_not_batched": Case(CLASSIFIER, {"max_batch_size": 0, "instance_kind": "cpu"}),
    "fixed": Case(FIXED),
    "scalar": Case(SCALAR),
    "unnamed": Case(UNNAMED),
    "queue_with_priorities": Case(
        CLASSIFIER,
        {
            "max_batch_size": 16, "max_queue_delay_us": 2000, "priority_levels": 3, "max_queue_size": 128,
            "queue_timeout_us": 100_000, "queue_timeout_action": "delay", "allow_timeout_override": "yes",
            "priority_queue_sizes": "1=16", "priority_timeouts_us": {"1": 5000, "3": 500_000},
        },
    ),
    "in_order": Case(CLASSIFIER, {"preserve_ordering": "yes", "preferred_batch_sizes": [4, 8], "max_queue_size": 64}),
    "sequences_direct": Case(
        signature(
            {"x": ("float32", ("batch", 8)), "begin": ("bool", ("batch", 1)), "ready": ("int32", ("batch", 1))},
            {"y": ("float32", ("batch", 2))},
        ),
        {
            "max_batch_size": 4, "sequence_batching": "direct", "sequence_controls": "START=begin;READY=ready",
            "sequence_idle_us": 5_000_000, "sequence_slot_utilization": 0.5, "sequence_queue_delay_us": 1000,
        },
    ),
    "sequences_oldest": Case(
        signature(
            {"x": ("float32", ("batch", 8)), "stop": ("float32", ("batch", 1)), "id": ("uint64", ("batch", 1))},
            {"y": ("float32", ("batch", 2))},
        ),
        {
            "sequence_batching": "oldest", "sequence_controls": {"END": "stop", "CORRID": "id"},
            "sequence_candidates": 32, "sequence_preferred_batch_sizes": (4, 16), "sequence_queue_delay_us": 200,
        },
    ),
    "sequences_with_state": Case(
        RECURRENT,
        {
            "sequence_batching": "oldest", "sequence_controls": "START=begin;READY=ready;CORRID=id",
            "sequence_states": "state=new_state",
        },
        refused="stand-in for onnxruntime cannot do this: implicit state of sequences",
    ),
    "gpu_and_cpu": Case(
        CLASSIFIER,
        {"instance_kind": "gpu", "instances": 2, "cpu_instances": 4, "rate_limiter_resources": "memory=3;bus=1",
         "rate_limiter_global": "bus", "rate_limiter_priority": 2},
        refused=NO_GPU,
    ),
    "rate_limited": Case(
        CLASSIFIER,
        {"instance_kind": "cpu", "instances": 2, "rate_limiter_resources": "memory=3;bus=1",
         "rate_limiter_global": "bus", "rate_limiter_priority": 2},
    ),
    "host_policy": Case(CLASSIFIER, {"instance_kind": "cpu", "host_policy": "numa_0"}),
    "two_versions_cached": Case(
        CLASSIFIER,
        {"version_policy": "latest:2", "response_cache": "yes", "metric_tags": "team=risk;stage=canary",
         "model_priority": "max", "pinned_memory": "no", "eager_batching": "yes"},
    ),
    "all_versions": Case(CLASSIFIER, {"version_policy": "all"}),
    "one_version": Case(CLASSIFIER, {"version_policy": "3,1"}),
    "warm_frame": Case(FRAME, {"max_batch_size": 8}, rows=FRAME_ROWS),
    "warm_transformer": Case(TRANSFORMER, {"warmup_batch_sizes": "1,4,16", "warmup_count": 3}, rows=TOKENS),
    "warm_not_batched": Case(FRAME, {"max_batch_size": 0}, rows=FRAME_ROWS),
    "warm_fixed": Case(FIXED, rows={"x": np.arange(48, dtype=np.float16).reshape(3, 16)}),
    "warm_profiles": Case(
        TRANSFORMER, {"max_batch_size": 16}, rows=TOKENS, facts={"profiles": [profile(1, 2, 8), profile(8, 12, 16)]}
    ),
    "known_classes": Case(CLASSIFIER, facts={"classes": ["bénin", "malin"]}),
    "checksums": Case(
        CLASSIFIER, {"checksums": "yes"}, refused="failed to poll from model repository"
    ),
    "threads": Case(
        CLASSIFIER,
        {"intra_op_threads": 2, "inter_op_threads": 2, "execution_mode": "parallel", "graph_optimization": "extended",
         "parameters": "session.use_device_allocator_for_initializers=1;enable_mem_arena=0"},
    ),
    "tensorrt": Case(
        CLASSIFIER,
        {"accelerator": "tensorrt", "tensorrt_precision": "fp16", "tensorrt_engine_cache": "/var/cache/engines",
         "tensorrt_workspace_bytes": 2**31, "accelerator_parameters": "trt_builder_optimization_level=5"},
    ),
    "tensorrt_shapes": Case(
        TRANSFORMER,
        {
            "accelerator": "tensorrt", "max_batch_size": 32,
            "tensorrt_min_shapes": "input_ids=1,1;attention_mask=1,1",
            "tensorrt_opt_shapes": "input_ids=8,128;attention_mask=8,128",
            "tensorrt_max_shapes": "input_ids=32,512;attention_mask=32,512",
        },
    ),
    "openvino": Case(CLASSIFIER, {"accelerator": "openvino", "instance_kind": "cpu"}),
}  # fmt: skip


def kept_rows(case: Case) -> dict[str, Any]:
    assert case.rows is not None
    rows = len(next(iter(case.rows.values())))
    packed = encode_rows(case.rows, {"unused": np.zeros(rows)}, count=rows, limit=1 << 20)
    assert packed is not None
    return packed


def described(name: str, case: Case) -> Description:
    artifact = Artifact("onnx", f"{name}.onnx", (Path(f"{name}.onnx"),), case.signature, facts=case.facts)
    record = {"rows": kept_rows(case)} if case.rows else None
    return onnxruntime.describe(case.signature, name, artifact=artifact, record=record, **case.options)


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str) -> None:
    description = described(name, CASES[name])
    text = cfg.as_text(description.config, description.comments)
    path = GOLDEN / f"{name}.pbtxt"
    if os.environ.get("MLCONVERT_WRITE_GOLDEN"):
        path.write_text(text)
    assert path.is_file(), f"no golden file {path.name}: run the test with MLCONVERT_WRITE_GOLDEN=1 and look at it"
    assert text == path.read_text()
    assert text_format.Parse(text, model_config_pb2.ModelConfig()) == description.config
    assert onnxruntime.misfits(description.config, CASES[name].signature, name) == []
    assert described(name, CASES[name]) == description
    named = [file for sample in description.config.model_warmup for file in sample.inputs.values()]
    files = {f"warmup/{file.input_data_file}" for file in named} | {
        tensor.label_filename for tensor in description.config.output if tensor.label_filename
    }
    assert files == set(description.files)  # nothing is named that is not written, and nothing written unnamed


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == set(CASES)


def record_of(artifact: Artifact, case: Case) -> dict[str, Any]:
    files = records.described_files(artifact, {path.name: file_sha256(path) for path in artifact.files})
    record = {
        "schema": records.SCHEMA, "format": "onnx", "path": artifact.path.name, "files": files,
        "sha256": records.total_sha256(files), "signature": case.signature.as_json(), "facts": dict(case.facts),
    }  # fmt: skip
    return {**record, "rows": kept_rows(case)} if case.rows else record


@pytest.mark.parametrize("name", CASES)
def test_the_real_server_loads_it(
    name: str, model_of: Callable[[Signature], Artifact], loads: Callable[..., None], tmp_path: Path
) -> None:
    case = CASES[name]
    made = model_of(case.signature)
    artifact = Artifact(made.format, made.location, made.files, case.signature, facts=case.facts)
    done = publish(artifact, tmp_path / "models", name, options=case.options, record=record_of(artifact, case))
    if "checksums" not in name:
        assert done.config_path.read_text() == (GOLDEN / f"{name}.pbtxt").read_text()
    assert [finding for finding in lint(tmp_path / "models") if finding.level == "error"] == []
    if case.refused is None:
        loads(tmp_path / "models")
    else:
        with pytest.raises(RepositoryInvalid, match=case.refused):
            loads(tmp_path / "models")


def test_a_client_gets_the_names_of_the_best_classes(
    model_of: Callable[[Signature], Artifact], triton_server: Any, tmp_path: Path
) -> None:
    made = model_of(CLASSIFIER)
    artifact = Artifact(made.format, made.location, made.files, CLASSIFIER, facts={"classes": ["bénin", "malin"]})
    publish(artifact, tmp_path / "models", "named")
    shutil.copytree(tmp_path / "models" / "named", triton_server.root / "named")
    http, _ = triton_server.clients
    try:
        http.load("named")
        row = {"name": "input", "shape": [1, 30], "datatype": "FP32", "data": [0.0] * 30}
        wanted = {"name": "probabilities", "parameters": {"classification": 2}}
        body = json.dumps({"inputs": [row], "outputs": [wanted]}).encode()
        with urllib.request.urlopen(f"http://{triton_server.server.http}/v2/models/named/infer", body) as answer:
            (output,) = json.loads(answer.read())["outputs"]
    finally:
        triton_server.drop("named")
    assert output["data"] == ["1.000000:0:bénin", "1.000000:1:malin"]
