"""A jar, timed inside its JVM: what a Java service pays for a call, and nothing of the way there."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mlconvert.artifact import Artifact
from mlconvert.benchmarking.turns import CALLS_OF_A_JVM, ROWS, Inputs, Turns, tiled


def jar(artifact: Artifact, threads: int) -> Callable[[Inputs, int], Turns]:  # noqa: ARG001 - it computes in one
    """The turns of a jar that mlconvert made; of one by JPMML's transpiler as its documents are."""
    from mlconvert.formats.jar import read_descriptor

    descriptor = read_descriptor(artifact.path)
    if descriptor["kind"] == "pmml":
        from mlconvert.benchmarking.ways.jpmml import transpiled

        return transpiled(artifact)
    return lambda inputs, in_batch: _turns(artifact, descriptor, inputs, in_batch)


def _turns(artifact: Artifact, descriptor: Mapping[str, Any], inputs: Inputs, in_batch: int) -> Turns:
    from mlconvert.jars.stream import open_stream
    from mlconvert.java import find_java
    from mlconvert.readers.jar_answers import outputs_of, rows_of

    java = find_java().path
    stack = contextlib.ExitStack()
    first = rows_of(descriptor, inputs.cut(0, 1))
    began = time.monotonic()
    stream = stack.enter_context(open_stream(java, artifact.path, bench=True))
    stream.bench(first[0], 1, 0, first[1])
    cold = time.monotonic() - began
    rows = rows_of(descriptor, inputs.cut(0, min(inputs.rows, ROWS)))
    batch = rows_of(descriptor, tiled(inputs, in_batch))

    def answers(count: int) -> list[Mapping[str, np.ndarray]]:
        matrix, texts = rows_of(descriptor, inputs.cut(0, min(count, inputs.rows)))
        with open_stream(java, artifact.path) as asked:
            singles = [
                asked.answers(matrix[at : at + 1], [text[at : at + 1] for text in texts]) for at in range(len(matrix))
            ]
            told = [np.concatenate(singles), asked.answers(matrix, texts)]
        return [outputs_of(descriptor, values) for values in told]

    return Turns(
        call=f"{descriptor['class'].rpartition('.')[2]} on a double[]",
        one_row=lambda calls: stream.bench(rows[0], calls, 0, rows[1]).single.tolist(),
        batch=lambda calls: stream.bench(batch[0], 0, calls, batch[1]).whole.tolist(),
        in_batch=in_batch,
        answers=answers,
        process=stream.process.pid,
        cold_seconds=cold,
        calls_to_warm=CALLS_OF_A_JVM,
        close=stack.close,
    )
