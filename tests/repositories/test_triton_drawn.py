"""Models and options by chance: whatever publishing accepts, the real server loads."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mlconvert.artifact import Artifact, file_sha256
from mlconvert.errors import RepositoryInvalid, UsageError
from mlconvert.repositories.triton import config as cfg
from mlconvert.repositories.triton import publish
from mlconvert.repositories.triton.lint import lint
from mlconvert.signature import Signature, TensorSpec
from mlconvert.tensors.rows import encode_rows

DTYPES = sorted(set(cfg.TYPES) - {"bfloat16"})
ROWS = 3
# More, by hand: MLCONVERT_DRAWN_SEED=7 MLCONVERT_DRAWN_MODELS=100
SEED = int(os.environ.get("MLCONVERT_DRAWN_SEED", "20"))
MODELS = int(os.environ.get("MLCONVERT_DRAWN_MODELS", "12"))


def drawn_signature(draw: random.Random) -> Signature:
    first = draw.choice(["n", "n", "n", None, 1, 2])
    others = [2, 3, "m"]

    def tensor(name: str, axes: list[Any]) -> TensorSpec:
        return TensorSpec(name, draw.choice(DTYPES), (first, *draw.choices(axes, k=draw.randint(0, 2))))

    inputs = [tensor(f"in/{index}", others) for index in range(draw.randint(1, 3))]
    there = {axis for spec in inputs for axis in spec.shape if isinstance(axis, str)}
    return Signature(
        tuple(inputs),
        tuple(tensor(f"out.{index}", [2, 3, *sorted(there - {"n"})]) for index in range(draw.randint(1, 3))),
    )


def drawn_rows(draw: random.Random, spec: TensorSpec) -> np.ndarray:
    shape = (ROWS, *(axis if isinstance(axis, int) else 5 for axis in spec.shape[1:]))
    if spec.dtype == "string":
        return np.full(shape, draw.choice(["", "a", "Übergröße" * 9]))
    return np.ones(shape, spec.dtype)


OPTIONS: dict[str, list[Any]] = {
    "max_batch_size": [0, 1, 4, 100],
    "dynamic_batching": ["yes", "no"],
    "preferred_batch_sizes": ["1", "2,4", "8"],
    "max_queue_delay_us": [0, 100],
    "preserve_ordering": ["yes", "no"],
    "priority_levels": [1, 3],
    "default_priority_level": [1, 2],
    "max_queue_size": [0, 10],
    "queue_timeout_us": [0, 1000],
    "queue_timeout_action": ["reject", "delay"],
    "allow_timeout_override": ["yes"],
    "priority_queue_sizes": ["1=4", "1=4;3=9"],
    "priority_timeouts_us": ["2=500"],
    "sequence_batching": ["direct", "oldest", "no", "no", "no"],
    "sequence_queue_delay_us": [10],
    "sequence_candidates": [4],
    "instances": [1, 2],
    "instance_kind": ["cpu", "auto"],
    "host_policy": ["numa_1"],
    "rate_limiter_resources": ["a=1;b=2"],
    "rate_limiter_priority": [3],
    "version_policy": ["latest:3", "all", "1", "1,9"],
    "response_cache": ["yes"],
    "metric_tags": ["a=b"],
    "parameters": ["key=value"],
    "model_priority": ["max", "min"],
    "pinned_memory": ["yes", "no"],
    "eager_batching": ["yes"],
    "warmup": ["yes", "no"],
    "warmup_batch_sizes": ["1", "2,3"],
    "warmup_count": [1, 2],
    "intra_op_threads": [1],
    "graph_optimization": ["basic", "extended", "off"],
    "execution_mode": ["parallel"],
    "accelerator": ["tensorrt", "cuda", "none"],
}


def test_what_is_accepted_is_loaded(
    model_of: Callable[[Signature, str], Artifact], loads: Callable[..., None], tmp_path: Path
) -> None:
    draw, accepted, refused = random.Random(SEED), 0, 0
    while accepted < MODELS:
        signature = drawn_signature(draw)
        names = draw.sample(sorted(OPTIONS), k=draw.choice([0, 1, 2, 3, 5]))
        options = {name: draw.choice(OPTIONS[name]) for name in names}
        artifact = model_of(signature, f"drawn{accepted + refused}")
        rows = {spec.name: drawn_rows(draw, spec) for spec in signature.inputs}
        record = {
            "files": [{"sha256": file_sha256(artifact.path)}],
            "rows": encode_rows(rows, {"y": np.zeros(ROWS)}, count=ROWS, limit=1 << 20),
        }
        try:
            publish(artifact, tmp_path / "models", f"m{accepted}", options=options, record=record)
            accepted += 1
        except (UsageError, RepositoryInvalid):
            refused += 1
    assert refused < 2 * MODELS
    assert [finding for finding in lint(tmp_path / "models") if finding.level == "error"] == []
    loads(tmp_path / "models")
