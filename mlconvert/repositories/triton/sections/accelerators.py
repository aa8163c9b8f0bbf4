"""execution_accelerators: what runs the parts of a graph that it can, for the onnxruntime backend."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from mlconvert.errors import RepositoryInvalid, UsageError, suggest
from mlconvert.repositories.triton.config import not_negative
from mlconvert.repositories.triton.description import Draft

# The backend refuses a model with any other parameter for TensorRT.
TENSORRT_PARAMETERS = (
    "int8_calibration_table_name", "int8_use_native_calibration_table", "max_workspace_size_bytes", "precision_mode",
    "trt_auxiliary_streams", "trt_build_heuristics_enable", "trt_builder_optimization_level",
    "trt_context_memory_sharing_enable", "trt_cuda_graph_enable", "trt_detailed_build_log", "trt_dla_core",
    "trt_dla_enable", "trt_dump_ep_context_model", "trt_dump_subgraphs", "trt_engine_cache_enable",
    "trt_engine_cache_path", "trt_engine_cache_prefix", "trt_ep_context_embed_mode", "trt_ep_context_file_path",
    "trt_extra_plugin_lib_paths", "trt_force_sequential_engine_build", "trt_force_timing_cache",
    "trt_layer_norm_fp32_fallback", "trt_max_partition_iterations", "trt_min_subgraph_size",
    "trt_profile_max_shapes", "trt_profile_min_shapes", "trt_profile_opt_shapes", "trt_sparsity_enable",
    "trt_tactic_sources", "trt_timing_cache_enable", "trt_timing_cache_path",
)  # fmt: skip

_GPU = ("cuda", "tensorrt")


def accelerators(
    draft: Draft,
    *,
    accelerator: Annotated[
        Literal["none", "tensorrt", "cuda", "openvino"],
        "what runs the parts of the graph that it can: on a GPU, or a CPU",
    ] = "none",
    accelerator_parameters: Annotated[dict[str, str], "further parameters of the accelerator: key=value;…"] = {},  # noqa: B006
    tensorrt_precision: Annotated[
        Literal["fp32", "fp16", "bf16", "int8"], "what TensorRT may compute in (bf16: newer servers)"
    ] = "fp32",
    tensorrt_workspace_bytes: Annotated[int, "GPU memory that TensorRT may use to build and run; 0: 1 GiB"] = 0,
    tensorrt_engine_cache: Annotated[
        str, "folder on the server where built engines are kept (default: built at every load)"
    ] = "",
    tensorrt_min_shapes: Annotated[
        dict[str, tuple[int, ...]], "smallest shapes that one engine must take: ids=1,16;mask=1,16"
    ] = {},  # noqa: B006
    tensorrt_opt_shapes: Annotated[dict[str, tuple[int, ...]], "shapes that it is tuned for"] = {},  # noqa: B006
    tensorrt_max_shapes: Annotated[
        dict[str, tuple[int, ...]],
        "largest shapes (default: 1 to max_batch_size rows, where no other axis is dynamic)",
    ] = {},  # noqa: B006
) -> None:
    """Comes after `instances`."""
    config = draft.config
    shapes = {"min": tensorrt_min_shapes, "opt": tensorrt_opt_shapes, "max": tensorrt_max_shapes}
    tensorrt = {
        "tensorrt_precision": tensorrt_precision != "fp32",
        "tensorrt_workspace_bytes": tensorrt_workspace_bytes,
        "tensorrt_engine_cache": tensorrt_engine_cache,
        **{f"tensorrt_{point}_shapes": given for point, given in shapes.items()},
    }
    asked = next((name for name, value in tensorrt.items() if value), None)
    if accelerator != "tensorrt" and asked:
        raise UsageError(f"{asked} is for TensorRT", hint="add --set accelerator=tensorrt")
    if accelerator == "none":
        if accelerator_parameters:
            raise UsageError("accelerator_parameters without an accelerator", hint="add --set accelerator=tensorrt")
        return
    _check_place(config, accelerator)
    parameters = dict(accelerator_parameters)
    if accelerator == "openvino" and parameters:
        raise UsageError(
            "the server's openvino accelerator takes no parameters", hint="leave accelerator_parameters out"
        )
    if accelerator == "tensorrt":
        parameters |= _tensorrt(draft, tensorrt_precision, tensorrt_workspace_bytes, tensorrt_engine_cache, shapes)
        for key in parameters:
            if key not in TENSORRT_PARAMETERS:
                raise UsageError(
                    f"accelerator_parameters: TensorRT has no '{key}' here.{suggest(key, TENSORRT_PARAMETERS)}",
                    hint=f"it has: {', '.join(TENSORRT_PARAMETERS)}",
                )
    placed = config.optimization.execution_accelerators
    added = (placed.gpu_execution_accelerator if accelerator in _GPU else placed.cpu_execution_accelerator).add()
    added.name = accelerator
    for key, value in sorted(parameters.items()):
        added.parameters[key] = value


def _check_place(config: Any, accelerator: str) -> None:
    kinds = {type(group).Kind.Name(group.kind) for group in config.instance_group}
    if accelerator in _GPU and kinds == {"KIND_CPU"}:
        raise UsageError(
            f"accelerator={accelerator} runs on a GPU, and all instances are on the CPU",
            hint="use --set instance_kind=gpu, or --set accelerator=openvino",
        )
    if accelerator == "openvino" and "KIND_GPU" in kinds:
        raise UsageError(
            "accelerator=openvino runs on the CPU, and instances are on a GPU", hint="use --set instance_kind=cpu"
        )


def _tensorrt(
    draft: Draft, precision: str, workspace: int, cache: str, given: dict[str, dict[str, tuple[int, ...]]]
) -> dict[str, str]:
    parameters = {}
    if precision != "fp32":
        parameters["precision_mode"] = precision.upper()
    if not_negative("tensorrt_workspace_bytes", workspace):
        parameters["max_workspace_size_bytes"] = str(workspace)
    if cache:
        parameters |= {"trt_engine_cache_enable": "1", "trt_engine_cache_path": cache}
    shapes = _given_shapes(draft, given) if any(given.values()) else _batch_shapes(draft)
    for point, by_input in shapes.items():
        listed = ",".join(f"{name}:{'x'.join(map(str, shape))}" for name, shape in by_input.items())
        parameters[f"trt_profile_{point}_shapes"] = listed
    return parameters


def _batch_shapes(draft: Draft) -> dict[str, dict[str, tuple[int, ...]]]:
    """One profile from 1 to max_batch_size rows; none where another axis is dynamic, whose lengths are not known."""
    rows = draft.config.max_batch_size
    inputs = [spec for spec in draft.signature.inputs if spec.dtype != "string"]  # which TensorRT never takes
    if rows == 0 or not all(isinstance(axis, int) for spec in inputs for axis in spec.shape[1:]):
        return {}
    own = {spec.name: tuple(axis for axis in spec.shape[1:] if isinstance(axis, int)) for spec in inputs}
    return {
        point: {name: (size, *shape) for name, shape in own.items()}
        for point, size in (("min", 1), ("opt", rows), ("max", rows))
    }


def _given_shapes(draft: Draft, given: dict[str, dict[str, tuple[int, ...]]]) -> dict[str, dict[str, tuple[int, ...]]]:
    dynamic = [spec for spec in draft.signature.inputs if not all(isinstance(axis, int) for axis in spec.shape)]
    for point, by_input in given.items():
        lacking = [spec.name for spec in dynamic if spec.name not in by_input]
        if lacking:
            raise UsageError(
                f"tensorrt_{point}_shapes has no shape for input '{lacking[0]}': an engine's profile needs all three "
                "of each dynamic input",
                hint="give tensorrt_min_shapes, tensorrt_opt_shapes and tensorrt_max_shapes",
            )
        for name, shape in by_input.items():
            spec = next((spec for spec in draft.signature.inputs if spec.name == name), None)
            if spec is None:
                names = [spec.name for spec in draft.signature.inputs]
                raise UsageError(f"tensorrt_{point}_shapes: the model has no input '{name}'.{suggest(name, names)}")
            if len(shape) != len(spec.shape) or any(
                length < 1 or (isinstance(axis, int) and axis != length)
                for axis, length in zip(spec.shape, shape, strict=False)
            ):
                raise RepositoryInvalid(
                    f"tensorrt_{point}_shapes: {name}={','.join(map(str, shape))} is no shape of {spec}",
                    hint="shapes are whole, the axis of rows included",
                )
    for name in given["min"]:
        lowest, best, highest = (given[point][name] for point in ("min", "opt", "max"))
        if any(not low <= middle <= high for low, middle, high in zip(lowest, best, highest, strict=True)):
            raise UsageError(f"tensorrt shapes of '{name}': expected min <= opt <= max on every axis")
        rows = draft.config.max_batch_size
        if rows and highest[0] < rows:
            raise UsageError(
                f"tensorrt_max_shapes: {highest[0]} rows of '{name}', fewer than max_batch_size ({rows})",
                hint=f"add --set max_batch_size={highest[0]}",
            )
    return given
