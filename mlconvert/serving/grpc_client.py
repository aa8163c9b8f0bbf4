"""Triton's protocol over gRPC: the messages and stubs that tritonclient carries, with tensors as bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlconvert.errors import RepositoryInvalid
from mlconvert.serving.protocol import ModelState
from mlconvert.serving.reasons import reason_of
from mlconvert.serving.wire import decode, encode, wire_dtype

if TYPE_CHECKING:
    import numpy as np

UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
OURS = [*UNLIMITED, ("grpc.enable_http_proxy", 0)]  # a proxy of the user's shell is not for a server that is named


class GrpcClient:
    """A `Client` over gRPC."""

    protocol = "grpc"

    def __init__(self, address: str, *, seconds: float) -> None:
        import grpc
        from tritonclient.grpc import service_pb2, service_pb2_grpc

        self.address = address
        self._seconds = seconds
        self._messages: Any = service_pb2
        self._channel = grpc.insecure_channel(address, options=OURS)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    def live(self) -> bool:
        try:
            return bool(self._ask("ServerLive", self._messages.ServerLiveRequest()).live)
        except RepositoryInvalid:
            return False

    def ready(self, model: str | None = None, version: str | None = None) -> bool:
        try:
            if model is None:
                return bool(self._ask("ServerReady", self._messages.ServerReadyRequest()).ready)
            asked = self._messages.ModelReadyRequest(name=model, version=version or "")
            return bool(self._ask("ModelReady", asked).ready)
        except RepositoryInvalid:
            return False

    def load(self, name: str) -> None:
        self._ask("RepositoryModelLoad", self._messages.RepositoryModelLoadRequest(model_name=name))

    def unload(self, name: str) -> None:
        self._ask("RepositoryModelUnload", self._messages.RepositoryModelUnloadRequest(model_name=name))

    def index(self) -> tuple[ModelState, ...]:
        answer = self._ask("RepositoryIndex", self._messages.RepositoryIndexRequest())
        return tuple(ModelState(row.name, row.version, row.state, reason_of(row.reason)) for row in answer.models)

    def server(self) -> dict[str, Any]:
        answer = self._ask("ServerMetadata", self._messages.ServerMetadataRequest())
        return {"name": answer.name, "version": answer.version, "extensions": list(answer.extensions)}

    def metadata(self, name: str, version: str | None = None) -> dict[str, Any]:
        answer = self._ask("ModelMetadata", self._messages.ModelMetadataRequest(name=name, version=version or ""))
        return {
            "name": answer.name,
            "versions": list(answer.versions),
            "platform": answer.platform,
            "inputs": [_tensor(tensor) for tensor in answer.inputs],
            "outputs": [_tensor(tensor) for tensor in answer.outputs],
        }

    def config(self, name: str, version: str | None = None) -> dict[str, Any]:
        answer = self._ask("ModelConfig", self._messages.ModelConfigRequest(name=name, version=version or ""))
        from google.protobuf import json_format

        told: dict[str, Any] = _with_numbers(json_format.MessageToDict(answer.config, preserving_proto_field_name=True))
        return told

    def infer(
        self,
        name: str,
        inputs: Mapping[str, np.ndarray],
        *,
        version: str | None = None,
        outputs: Sequence[str] | None = None,
    ) -> dict[str, np.ndarray]:
        request = self._messages.ModelInferRequest(model_name=name, model_version=version or "")
        for called, array in inputs.items():
            tensor = request.inputs.add(name=called, datatype=wire_dtype(array))
            tensor.shape.extend(array.shape)
            request.raw_input_contents.append(encode(array))
        for called in outputs or ():
            request.outputs.add(name=called)
        answer = self._ask("ModelInfer", request)
        if len(answer.raw_output_contents) != len(answer.outputs):
            raise RepositoryInvalid("the server did not send its outputs as bytes", where=f"grpc://{self.address}")
        return {
            tensor.name: decode(tensor.datatype, list(tensor.shape), raw, name=tensor.name)
            for tensor, raw in zip(answer.outputs, answer.raw_output_contents, strict=True)
        }

    def close(self) -> None:
        self._channel.close()

    def _ask(self, method: str, request: Any) -> Any:
        import grpc

        try:
            return getattr(self._stub, method)(request, timeout=self._seconds)
        except grpc.RpcError as error:
            raise self._failure(error) from error

    def _failure(self, error: Any) -> RepositoryInvalid:
        code: str = error.code().name
        where, told = f"grpc://{self.address}", error.details() or code
        if code == "DEADLINE_EXCEEDED":
            return RepositoryInvalid(f"the Triton server at {self.address} does not answer in time", where=where)
        if code == "UNAVAILABLE" and ("connect" in told.lower() or "socket" in told.lower()):
            return RepositoryInvalid(f"the Triton server at {self.address} is down: {told}", where=where)
        return RepositoryInvalid(reason_of(told), where=where)


def _tensor(tensor: Any) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}


# 64-bit numbers are texts in protobuf's JSON, and numbers in the server's own, which HTTP gives.
_NUMBERS = ("dims", "shape", "versions")


def _with_numbers(value: Any, field: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _with_numbers(one, name) for name, one in value.items()}
    if isinstance(value, list):
        return [_with_numbers(one, field) for one in value]
    return int(value) if field in _NUMBERS and isinstance(value, str) else value
