"""PredictionService and ModelService over gRPC."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mlconvert.serving.tf_serving.double import log
from mlconvert.serving.tf_serving.double.answers import Answers
from mlconvert.serving.tf_serving.double.status import Refused
from mlconvert.serving.tf_serving.messages import METHODS, message

NOT_HERE = ("Classify", "Regress", "MultiInference", "PredictStreamed")
HEALTH = "grpc.health.v1.Health"
THREADS = 32
_SERVING = b"\x08\x01"  # HealthCheckResponse { status: SERVING }


class NoPort(Exception):
    """The port is taken."""


def listen(answers: Answers, port: int, *, count: Callable[[str, str], None], health: bool) -> Any:
    """A server on loopback, answering. Raises NoPort."""
    import grpc

    server = grpc.server(
        ThreadPoolExecutor(THREADS),
        options=[
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
        ],
    )
    functions = {
        "Predict": answers.predict,
        "GetModelMetadata": answers.metadata,
        "GetModelStatus": answers.status,
        "HandleReloadConfigRequest": answers.reload,
    }
    services: dict[str, dict[str, Any]] = {}
    for name, (service, request, _) in METHODS.items():
        services.setdefault(service, {})[name] = grpc.unary_unary_rpc_method_handler(
            _answering(functions[name], count if name == "Predict" else None),
            request_deserializer=message(request).FromString,
            response_serializer=lambda answer: answer.SerializeToString(),
        )
    for name in NOT_HERE:
        services["tensorflow.serving.PredictionService"][name] = grpc.unary_unary_rpc_method_handler(_refusing(name))
    if health:
        services[HEALTH] = {"Check": grpc.unary_unary_rpc_method_handler(lambda *_: _SERVING)}
    for service, handlers in services.items():
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    try:
        bound = server.add_insecure_port(f"127.0.0.1:{port}")
    except RuntimeError as error:
        raise NoPort(str(error)) from error
    if not bound:
        raise NoPort(str(port))
    server.start()
    log.info(f"Running gRPC ModelServer at 127.0.0.1:{port} ...")
    return server


def _answering(function: Callable[[Any], Any], count: Callable[[str, str], None] | None) -> Callable[[Any, Any], Any]:
    import grpc

    def answer(request: Any, context: Any) -> Any:
        try:
            given = function(request)
        except Refused as error:
            if count:
                count(request.model_spec.name, error.code)
            context.abort(grpc.StatusCode[error.code], error.message)
        if count:
            count(request.model_spec.name, "OK")
        return given

    return answer


def _refusing(name: str) -> Callable[[Any, Any], Any]:
    import grpc

    def refuse(_: bytes, context: Any) -> None:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, f"the double of tensorflow_model_server has no {name}")

    return refuse
