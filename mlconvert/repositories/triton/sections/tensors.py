"""Inputs, outputs and max_batch_size: decided from the axes of the model."""

from __future__ import annotations

from typing import Annotated, Any

from mlconvert.errors import RepositoryInvalid, UsageError
from mlconvert.repositories.batch_axes import reasons_not_to_batch
from mlconvert.repositories.triton import config as cfg
from mlconvert.repositories.triton.description import Abilities, Draft
from mlconvert.signature import Signature, TensorSpec

MAX_BATCH_SIZE = 64


def tensors(
    draft: Draft,
    *,
    max_batch_size: Annotated[
        int | None,
        f"most rows in one batch; 0: no batching (default: {MAX_BATCH_SIZE} where every tensor's first axis is the "
        "same named dynamic axis, else 0)",
    ] = None,
) -> None:
    """Every input and output of the model, in the model's order."""
    signature = draft.signature
    _check_tensors(signature, draft.abilities)
    hard, soft = reasons_not_to_batch(signature)
    if not draft.abilities.batches:
        hard.insert(0, f"{draft.abilities.platform or draft.abilities.backend} does not batch")
    if max_batch_size is None:
        rows = 0 if hard or soft else MAX_BATCH_SIZE
        if rows == 0:
            draft.comments.append(f"No batching: {(hard + soft)[0]}.")
    else:
        rows = max_batch_size
    if rows < 0:
        raise UsageError(f"max_batch_size={rows}: expected 0 (no batching) or more")
    if rows > 0 and hard:
        raise RepositoryInvalid(
            f"the model cannot batch: {hard[0]}",
            hint="convert it with a dynamic first axis, or publish it with --set max_batch_size=0",
        )
    draft.config.max_batch_size = rows
    for specs, configured in ((signature.inputs, draft.config.input), (signature.outputs, draft.config.output)):
        for spec in specs:
            _fill(configured.add(), spec, batches=rows > 0)


def _check_tensors(signature: Signature, abilities: Abilities) -> None:
    for side, specs in (("input", signature.inputs), ("output", signature.outputs)):
        if not specs:
            raise RepositoryInvalid(f"the model has no {side}s: the server could not serve it")
        for spec in specs:
            if spec.dtype not in abilities.dtypes:
                raise RepositoryInvalid(
                    f"{side} '{spec.name}' is {spec.dtype}, "
                    f"which the server's {abilities.backend} backend does not take",
                    hint="convert the model with float32 inputs and outputs",
                )
            if spec.dtype == "string" and not spec.shape:
                raise RepositoryInvalid(f"{side} '{spec.name}' is a scalar string, which the server cannot pass on")
            if 0 in spec.shape:
                raise RepositoryInvalid(f"{side} '{spec.name}' has an axis of length 0: {spec}")


def _fill(tensor: Any, spec: TensorSpec, *, batches: bool) -> None:
    tensor.name = spec.name
    tensor.data_type = cfg.data_type_number(spec.dtype)
    dims = cfg.shape_of(spec)[1:] if batches else cfg.shape_of(spec)
    if batches and not dims:
        # The server has no empty dims: a row is one number to its clients and no axis at all to the graph.
        tensor.reshape.SetInParent()
    tensor.dims.extend(dims or [1])  # likewise for a scalar without batching, which needs no reshape
