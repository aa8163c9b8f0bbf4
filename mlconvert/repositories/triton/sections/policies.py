"""What the server does with a model beside running it: versions, caching, metrics, parameters, answers."""

from __future__ import annotations

from typing import Annotated, Literal

from mlconvert.errors import UsageError
from mlconvert.repositories.policies import parse_policy
from mlconvert.repositories.triton import config as cfg
from mlconvert.repositories.triton.description import Draft


def policies(
    draft: Draft,
    *,
    version_policy: Annotated[
        str, "which versions are served: latest, latest:2 (the two newest), all, or numbers: 3,5"
    ] = "latest",
    response_cache: Annotated[
        bool, "let the server answer a request that it has seen from its cache (needs --cache-config)"
    ] = False,
    metric_tags: Annotated[dict[str, str], "labels on the model's metrics: team=risk;stage=canary"] = {},  # noqa: B006
    parameters: Annotated[dict[str, str], "parameters for the backend, as it documents them: key=value;…"] = {},  # noqa: B006
    model_priority: Annotated[
        Literal["default", "max", "min"], "priority of the model's threads and streams over those of other models"
    ] = "default",
    pinned_memory: Annotated[
        bool | None, "use pinned memory to move tensors to and from a GPU (default: the server's, yes)"
    ] = None,
    eager_batching: Annotated[bool, "gather the inputs of a batch before an instance is free for it"] = False,
) -> None:
    """All of them are off or the server's own by default."""
    config = draft.config
    cfg.fill_policy(config.version_policy, parse_policy(version_policy))
    if response_cache:
        if config.HasField("sequence_batching"):
            raise UsageError(
                "response_cache contradicts sequence_batching: the server has no cache for sequences",
                hint="leave one of them out",
            )
        config.response_cache.enable = True
    for key, value in sorted(metric_tags.items()):
        config.metric_tags[key] = value
    for key, value in sorted(parameters.items()):
        if key.startswith("mlconvert."):
            raise UsageError(f"parameters: '{key}' is mlconvert's own", hint="labels are set with mlconvert labels")
        config.parameters[key].string_value = value
    optimization = config.optimization
    if model_priority != "default":
        optimization.priority = optimization.ModelPriority.Value(f"PRIORITY_{model_priority.upper()}")
    if pinned_memory is not None:
        optimization.input_pinned_memory.enable = pinned_memory
        optimization.output_pinned_memory.enable = pinned_memory
    if eager_batching:
        optimization.eager_batching = True


def decoupled(
    draft: Draft,
    *,
    decoupled: Annotated[bool, "the model may answer a request with none, one or many responses"] = False,
) -> None:
    """Only for backends that can; comes after `policies`."""
    if not decoupled:
        return
    if not draft.abilities.decoupled:
        raise UsageError(f"decoupled: the server's {draft.abilities.backend} backend answers each request once")
    if draft.config.response_cache.enable:
        raise UsageError(
            "response_cache contradicts decoupled: the server caches one answer a request",
            hint="leave one of them out",
        )
    draft.config.model_transaction_policy.decoupled = True
