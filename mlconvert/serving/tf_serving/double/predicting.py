"""One request to one signature, with the checks that come before and after TensorFlow's own (predict_util.cc)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from mlconvert.serving.tf_serving.double import tensors
from mlconvert.serving.tf_serving.double.bundle import DEFAULT_SIGNATURE, METHODS, Bundle
from mlconvert.serving.tf_serving.double.status import Refused, invalid


def run(bundle: Bundle, request: Any, *, batching: Any = None, check_method: bool = False) -> dict[str, Any]:
    """What a signature answers to a PredictRequest: name -> array. Raises Refused.

    `batching` is a BatchingParameters, or None where requests are not batched.
    """
    key = request.model_spec.signature_name or DEFAULT_SIGNATURE
    signature = bundle.signatures.get(key)
    if signature is None:
        raise Refused("FAILED_PRECONDITION", f'Serving signature key "{key}" not found.')
    if check_method and signature.method_name not in METHODS:
        raise Refused(
            "INTERNAL",
            f"Expected prediction signature method_name to be one of {{{', '.join(METHODS)}}}. "
            f"Was: {signature.method_name}",
        )
    _check_names(signature, request.inputs)
    feeds = {}
    for alias in sorted(signature.inputs):
        given = alias in request.inputs
        tensor = request.inputs[alias] if given else signature.defaults[alias]
        feeds[signature.inputs[alias].name] = tensors.to_array(tensor, alias)
    wanted = _wanted(signature, list(request.output_filter))
    if batching is not None:
        _check_batch(feeds.values(), batching)
    outputs = bundle.run(feeds, [signature.outputs[alias].name for alias in wanted])
    if batching is not None:
        _check_batched(outputs, next(iter(feeds.values())).shape[0])
    return dict(zip(wanted, outputs, strict=True))


def _check_names(signature: Any, inputs: Mapping[str, Any]) -> None:
    sent, known = sorted(inputs), sorted(signature.inputs)
    if len(sent) > len(known) or (len(sent) < len(known) and not signature.defaults):
        extra, missing = sorted(set(sent) - set(known)), sorted(set(known) - set(sent))
        raise invalid(
            f"input size does not match signature: {len(sent)}!={len(known)} len({{{','.join(sent)}}}) != "
            f"len({{{','.join(known)}}}). Sent extra: {{{','.join(extra)}}}. Missing but required: "
            f"{{{','.join(missing)}}}."
        )
    for alias in known:
        if alias not in inputs and alias not in signature.defaults:
            raise invalid(
                f"Signature input alias: {alias}(feed name: {signature.inputs[alias].name}) not found in request and "
                f"no default value provided. Inputs expected to be in the request {{{','.join(sent)}}}, or default "
                f"input alias set: {{{','.join(sorted(signature.defaults))}}}"
            )


def _wanted(signature: Any, asked: list[str]) -> list[str]:
    for place, alias in enumerate(asked):
        if alias not in signature.outputs:
            known = ",".join(sorted(signature.outputs))
            raise invalid(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set {{{known}}}."
            )
        if alias in asked[:place]:
            raise invalid(f"duplicate output tensor alias: {alias}")
    return asked or sorted(signature.outputs)


# --- what a server with --enable_batching asks of a request (batching_session.cc, batching_util.h) ---


def _check_batch(arrays: Collection[Any], parameters: Any) -> None:
    if not arrays:
        raise invalid("Batching Run() must have at least one input tensor")
    if any(array.ndim == 0 for array in arrays):
        raise invalid("Batching Run() input tensors must have at least one dimension")
    if len({array.shape[0] for array in arrays}) > 1:
        raise invalid("Batching Run() input tensors must have equal 0th-dimension size")
    most = parameters.max_batch_size.value if parameters.HasField("max_batch_size") else 1000
    rows = next(iter(arrays)).shape[0]
    if rows > most and not parameters.enable_large_batch_splitting.value:
        raise invalid(f"Task size {rows} is larger than maximum input batch size {most}")


def _check_batched(outputs: Collection[Any], rows: int) -> None:
    for output in outputs:
        shape = getattr(output, "shape", ())
        if not shape:
            raise Refused("FAILED_PRECONDITION", "Batched output tensor has 0 dimensions")
        if shape[0] != rows:
            raise Refused(
                "FAILED_PRECONDITION",
                "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the "
                "input tensors",
            )
