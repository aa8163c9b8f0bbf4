"""Whatever has no way of its own: as mlconvert's runner of the format calls it, a server's model over the wire too."""

from __future__ import annotations

from mlconvert.artifact import Artifact
from mlconvert.benchmarking.turns import Model
from mlconvert.registry import registry
from mlconvert.serving.locations import SERVED, TRITON, parse_served


def session(artifact: Artifact, threads: int) -> Model:
    if artifact.format in ("keras", "tflite"):
        from mlconvert.benchmarking.ways.threads import limit_tensorflow

        limit_tensorflow(threads)
    run = registry().runner(artifact.format).load(artifact).run
    return Model(_called(artifact), lambda feed: feed, run, lambda told: told)


def _called(artifact: Artifact) -> str:
    if artifact.format not in SERVED:
        return f"mlconvert's runner of {artifact.format}"
    place = parse_served(artifact.location)
    scheme, _, protocol = place.scheme.partition("+")
    if not protocol and scheme == TRITON.scheme:
        from mlconvert.serving.client import connect

        client = connect(place.url)
        protocol = client.protocol
        client.close()
    return f"infer over {'gRPC' if protocol == 'grpc' else 'HTTP'}" if protocol else "predict over the wire"
