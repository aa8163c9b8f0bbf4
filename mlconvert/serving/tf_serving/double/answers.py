"""Requests and answers, the same for gRPC and REST (get_model_status_impl.cc, get_model_metadata_impl.cc).

Each function takes a request message and gives the answer's message, or raises Refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mlconvert.serving.tf_serving.double import tensors
from mlconvert.serving.tf_serving.double.bundle import DEFAULT_SIGNATURE, Bundle
from mlconvert.serving.tf_serving.double.manager import Manager
from mlconvert.serving.tf_serving.double.states import STATES, States
from mlconvert.serving.tf_serving.double.status import Refused, invalid
from mlconvert.serving.tf_serving.messages import message

SIGNATURE_FIELD = "signature_def"


class Answers:
    """`run` asks a bundle: (bundle, PredictRequest) -> name -> array."""

    def __init__(self, manager: Manager, run: Callable[[Bundle, Any], Mapping[str, Any]]) -> None:
        self._manager = manager
        self._run = run

    @property
    def states(self) -> States:
        return self._manager.states

    def predict(self, request: Any) -> Any:
        with self.states.asked(request.model_spec) as version:
            answer = message("PredictResponse")()
            for name, values in self._run(version.bundle, request).items():
                answer.outputs[name].CopyFrom(tensors.to_proto(values))
            answer.model_spec.name = request.model_spec.name
            answer.model_spec.signature_name = request.model_spec.signature_name or DEFAULT_SIGNATURE
            answer.model_spec.version.value = version.number
            return answer

    def metadata(self, request: Any) -> Any:
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != SIGNATURE_FIELD:
                raise invalid(f"Metadata field {field} is not supported")
        with self.states.asked(request.model_spec) as version:
            answer = message("GetModelMetadataResponse")()
            answer.model_spec.name = request.model_spec.name
            answer.model_spec.version.value = version.number
            answer.metadata[SIGNATURE_FIELD].Pack(self.signatures(version.bundle))
            return answer

    def signatures(self, bundle: Bundle) -> Any:
        found = message("SignatureDefMap")()
        for key, signature in bundle.signatures.items():
            found.signature_def[key].CopyFrom(signature)
        return found

    def inputs_of(self, spec: Any, signature: str) -> Mapping[str, Any]:
        """The inputs that JSON is read for: name -> TensorInfo."""
        key = signature or DEFAULT_SIGNATURE
        with self.states.asked(spec) as version:
            found = version.bundle.signatures.get(key)
            if found is None:
                raise invalid(f'Serving signature name: "{key}" not found in signature def')
            return dict(found.inputs)

    def status(self, request: Any) -> Any:
        """The states of a model's versions, the newest first, those that ended too. A label is not looked at."""
        spec = request.model_spec
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        answer = message("GetModelStatusResponse")()
        with self.states.changed:
            rows = self.states.of(spec.name)
            if spec.HasField("version"):
                rows = [row for row in rows if row.number == spec.version.value]
                if not rows:
                    raise Refused("NOT_FOUND", f"Could not find version {spec.version.value} of model {spec.name}")
            elif not rows:
                raise Refused("NOT_FOUND", f"Could not find any versions of model {spec.name}")
            for row in rows:
                told = answer.model_version_status.add(version=row.number, state=STATES[row.state])
                told.status.SetInParent()
                if row.failure is not None:
                    told.status.error_code = row.failure.number
                    told.status.error_message = row.failure.message
        return answer

    def reload(self, request: Any) -> Any:
        if request.config.WhichOneof("config") != "model_config_list":
            raise invalid(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. "
                "Only ModelConfigList is currently supported"
            )
        self._manager.configure(request.config)
        answer = message("ReloadConfigResponse")()
        answer.status.SetInParent()
        return answer
