"""TensorFlow Serving's services over gRPC: our own messages, on a plain channel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from mlconvert.errors import RepositoryInvalid
from mlconvert.serving.grpc_client import OURS
from mlconvert.serving.reasons import reason_of
from mlconvert.serving.tf_serving.messages import ENUMS, METHODS, message
from mlconvert.serving.tf_serving.protocol import SIGNATURE, Metadata, VersionStatus, model_spec
from mlconvert.serving.tf_serving.tensor_protos import fill_tensor, read_tensor
from mlconvert.signature import Signature

if TYPE_CHECKING:
    import numpy as np

_STATES = {number: name for name, number in ENUMS["tensorflow.serving.ModelVersionStatus.State"].items()}
_LOST = ("connect", "socket", "reset", "goaway", "recvmsg")  # words of a channel whose other end is gone


class GrpcClient:
    """A `Client` over gRPC."""

    protocol: Literal["grpc"] = "grpc"

    def __init__(self, address: str, *, seconds: float) -> None:
        import grpc

        self.address = address
        self._seconds = seconds
        self._channel = grpc.insecure_channel(address, options=OURS)
        self._calls = {
            method: self._channel.unary_unary(
                f"/{service}/{method}",
                request_serializer=message(request).SerializeToString,
                response_deserializer=message(answer).FromString,
            )
            for method, (service, request, answer) in METHODS.items()
        }

    def live(self) -> bool:
        """Asked for a model without a name, it says that there is none."""
        import grpc

        try:
            self._calls["GetModelStatus"](message("GetModelStatusRequest")(), timeout=self._seconds)
        except grpc.RpcError as error:
            return error.code().name in ("NOT_FOUND", "INVALID_ARGUMENT")
        return True

    def status(self, name: str) -> tuple[VersionStatus, ...]:
        import grpc

        try:
            answer = self._calls["GetModelStatus"](
                message("GetModelStatusRequest")(model_spec=model_spec(name, None)), timeout=self._seconds
            )
        except grpc.RpcError as error:
            if error.code().name == "NOT_FOUND":
                return ()
            raise self._failure(error) from error
        rows = (
            VersionStatus(row.version, _STATES.get(row.state, "UNKNOWN"), row.status.error_message)
            for row in answer.model_version_status
        )
        return tuple(sorted(rows, key=lambda row: row.version))

    def metadata(self, name: str, version: str | None = None) -> Metadata:
        request = message("GetModelMetadataRequest")(model_spec=model_spec(name, version))
        request.metadata_field.append("signature_def")
        answer = self._ask("GetModelMetadata", request)
        signatures = message("SignatureDefMap")()
        packed = answer.metadata["signature_def"]
        if not packed.Is(signatures.DESCRIPTOR) or not packed.Unpack(signatures):
            raise RepositoryInvalid(f"the server says nothing of the signatures of '{name}'", where=self._where)
        return Metadata(name, answer.model_spec.version.value, signatures)

    def predict(
        self,
        name: str,
        inputs: Mapping[str, np.ndarray],
        *,
        version: str | None = None,
        signature: Signature | None = None,  # noqa: ARG002 - the answer says what it is by itself
    ) -> dict[str, np.ndarray]:
        request = message("PredictRequest")(model_spec=model_spec(name, version))
        request.model_spec.signature_name = SIGNATURE
        for called, array in inputs.items():
            fill_tensor(request.inputs[called], array)
        answer = self._ask("Predict", request)
        return {called: read_tensor(answer.outputs[called], name=called) for called in sorted(answer.outputs)}

    def reload(self, config: Any) -> None:
        request = message("ReloadConfigRequest")()
        request.config.CopyFrom(config)
        told = self._ask("HandleReloadConfigRequest", request).status
        if told.error_code:
            raise RepositoryInvalid(reason_of(told.error_message), where=self._where)

    def close(self) -> None:
        self._channel.close()

    @property
    def _where(self) -> str:
        return f"grpc://{self.address}"

    def _ask(self, method: str, request: Any) -> Any:
        import grpc

        try:
            return self._calls[method](request, timeout=self._seconds)
        except grpc.RpcError as error:
            raise self._failure(error) from error

    def _failure(self, error: Any) -> RepositoryInvalid:
        code: str = error.code().name
        told = reason_of(error.details() or code)
        server = f"the TensorFlow Serving at {self.address}"
        if code == "DEADLINE_EXCEEDED":
            return RepositoryInvalid(f"{server} does not answer in time", where=self._where)
        if code in ("UNAVAILABLE", "UNKNOWN", "INTERNAL") and any(word in told.lower() for word in _LOST):
            return RepositoryInvalid(f"{server} is down: {told}", where=self._where)
        if code == "UNIMPLEMENTED":
            return RepositoryInvalid(
                f"what answers at {self.address} is no TensorFlow Serving: {told}", where=self._where
            )
        return RepositoryInvalid(told, where=self._where)
