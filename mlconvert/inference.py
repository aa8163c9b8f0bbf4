"""A model run over all samples, batch by batch, its outputs spilled to disk: memory does not grow with the samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mlconvert import progress
from mlconvert.converter import Session
from mlconvert.errors import ConversionFailed, MlconvertError, NotVerified, ParityFailed
from mlconvert.samples import has_batch_axis
from mlconvert.signature import Signature, TensorSpec
from mlconvert.tensors import TensorWriter, releaser
from mlconvert.tensors.dtypes import cast, dtype_name

Role = Literal["reference", "candidate"]
Batch = dict[str, np.ndarray]

ROWS = 256  # at most, in a batch
BYTES = 64 << 20  # of a batch's inputs and outputs, about
PROBE = 2  # rows of the first batch: small, in case the outputs are large, and of another length than the rest


def run_samples(
    session: Session,
    samples: Mapping[str, np.ndarray],
    writer: TensorWriter,
    *,
    signature: Signature | None = None,
    renamed: Mapping[str, str] | None = None,
    batch_rows: int | None = None,
    contract: Mapping[str, str] | None = None,
    role: Role = "candidate",
) -> int:
    """Run the samples (source's input names, row axis first) and append the outputs, as the model names them.

    `signature` is the model's (default: the session's). By it, an input whose first axis is dynamic gets a slice of
    rows, one that is fixed at k gets k rows a call, and where an array has an axis more than the input there is a
    call per sample. Without any signature all inputs are sliced. `batch_rows` fixes the rows of a call; else two
    batches at least differ in length wherever the axis is dynamic and there are three rows, so that a batch axis
    frozen at any length shows. `renamed` maps the source's input names to this model's. `contract` (source's input
    name -> dtype) is for the reference: values are cast to it and back, so that the source sees exactly what the
    artifact will.

    Returns the number of rows. Raises
    - ParityFailed (for the reference: NotVerified), naming the output (in `where` too), when an output does not have
      a row for each row of input, and naming all outputs when the model answers one row but not several;
    - NotVerified when values do not fit the dtypes, naming the input, or rows do not divide into a fixed batch;
    - ConversionFailed when the model does not run, or changes its outputs between batches.
    """
    renamed, contract = renamed or {}, contract or {}
    signature = signature if signature is not None else session.signature
    inputs = {} if signature is None else {spec.name: spec for spec in signature.inputs}
    taken = _taken(samples, inputs, renamed, role)
    feeding = _feeding(taken, inputs, renamed)
    rows = min((len(array) for array in taken.values()), default=0)
    if rows == 0:
        raise NotVerified("there are no rows of samples to run")
    if feeding.step and rows % feeding.step:
        what = f"the model takes {feeding.step} rows a call, into which {rows} rows of samples do not divide"
        raise NotVerified(what, hint=f"give a multiple of {feeding.step} rows")

    def prepared(start: int, stop: int) -> Batch:
        batch = feeding.cut(taken, start, stop)
        batch = _round_trip(batch, contract)
        return cast_to_contract({renamed.get(name, name): array for name, array in batch.items()}, signature)

    releases = [(release, array.size // rows) for array in taken.values() if (release := releaser(array))]
    largest = feeding.step or batch_rows
    for start, stop, done in _batches(rows, largest, _row_bytes(taken)):
        count = stop - start
        batch = prepared(start, stop)
        outputs = _run(session, batch, count, feeding, prepared, role)
        if feeding.unbatched:
            outputs = {name: output[None] for name, output in outputs.items()}
        _check_rows(outputs, count, role)
        writer.append(outputs)
        done(sum(output.nbytes for output in outputs.values()) // count)
        for release, row in releases:
            release(stop * row)
        progress.report(stop / rows, f"row {stop} of {rows}")
    return rows


def cast_to_contract(batch: Mapping[str, np.ndarray], signature: Signature | None) -> Batch:
    """The batch (the model's own input names) in the dtypes of the signature's inputs.

    Raises NotVerified, naming the input, for a value that does not fit.
    """
    dtypes = {} if signature is None else {spec.name: spec.dtype for spec in signature.inputs}
    return {
        name: cast(array, dtypes[name], what=f"input '{name}'", error=NotVerified) if name in dtypes else array
        for name, array in batch.items()
    }


def _round_trip(batch: Batch, contract: Mapping[str, str]) -> Batch:
    result = {}
    for name, array in batch.items():
        have = dtype_name(array.dtype)
        what = f"input '{name}'"
        if name in contract and have is not None:
            there = cast(array, contract[name], what=what, error=NotVerified)
            result[name] = cast(there, have, what=what, error=NotVerified)
        else:
            result[name] = array
    return result


# --- how rows are fed ---


@dataclass(frozen=True)
class _Feeding:
    """`step`: rows a call, 0 for any. `bare`: the inputs that get one sample without its row axis."""

    step: int
    bare: frozenset[str]
    unbatched: bool  # no input has a row axis, so the outputs have none either

    def cut(self, samples: Mapping[str, np.ndarray], start: int, stop: int) -> Batch:
        # Copies: a mapped file is read-only, at which torch warns, and its pages would stay in memory.
        return {
            name: np.array(array[start] if name in self.bare else array[start:stop], order="C")
            for name, array in samples.items()
        }


def _taken(
    samples: Mapping[str, np.ndarray], inputs: Mapping[str, TensorSpec], renamed: Mapping[str, str], role: Role
) -> dict[str, np.ndarray]:
    """The samples that the model takes: a converter may have dropped an input that nothing depends on."""
    if not inputs:
        return dict(samples)
    taken = {name: array for name, array in samples.items() if renamed.get(name, name) in inputs}
    given = {renamed.get(name, name) for name in taken}
    lacking = [name for name in inputs if name not in given]
    if lacking:
        what = f"the {_WORDS[role]} takes the input '{lacking[0]}', which the samples lack"
        raise NotVerified(what, hint=f"the samples have: {', '.join(samples) or 'nothing'}")
    return taken


def _feeding(
    samples: Mapping[str, np.ndarray], inputs: Mapping[str, TensorSpec], renamed: Mapping[str, str]
) -> _Feeding:
    bare, steps = set(), {}
    for name, array in samples.items():
        spec = inputs.get(renamed.get(name, name))
        if spec is None:
            continue
        if array.ndim == len(spec.shape) + 1 and not has_batch_axis(spec):
            bare.add(name)
        elif array.ndim != len(spec.shape):
            what = f"input '{name}': the model takes {spec}, and the samples have {array.ndim} axes"
            raise NotVerified(what)
        elif isinstance(spec.shape[0], int):
            steps[name] = spec.shape[0]
    if bare:
        wrong = [name for name, step in steps.items() if step != 1]
        if wrong:
            what = f"input '{wrong[0]}' takes {steps[wrong[0]]} rows a call, and '{min(bare)}' one sample a call"
            raise NotVerified(what)
        return _Feeding(1, frozenset(bare), unbatched=len(bare) == len(samples))
    if len(set(steps.values())) > 1:
        listed = ", ".join(f"'{name}' {step}" for name, step in steps.items())
        raise NotVerified(f"the inputs take different numbers of rows a call: {listed}")
    return _Feeding(next(iter(steps.values()), 0), frozenset(), unbatched=False)


def _row_bytes(samples: Mapping[str, np.ndarray]) -> int:
    return sum(array.nbytes // max(1, len(array)) for array in samples.values())


def _batches(rows: int, fixed: int | None, row_bytes: int) -> Iterator[tuple[int, int, Callable[[int], None]]]:
    """(start, stop, done): `done` takes the bytes of outputs that a row came to, by which the next batches are cut."""
    widest = row_bytes

    def done(output_bytes: int) -> None:
        nonlocal widest
        widest = max(widest, row_bytes + output_bytes)

    start = 0
    while start < rows:
        # Two rows at least: with one, a frozen batch axis would go unseen.
        count = fixed or (PROBE if start == 0 else max(PROBE, min(ROWS, BYTES // max(1, widest))))
        left = rows - start
        if not fixed and start == 0 and left == 2 * PROBE:
            count = PROBE + 1  # else both batches would be of one length
        stop = start + min(count, left)
        yield start, stop, done
        start = stop


# --- one call ---

_WORDS = {"reference": "source model", "candidate": "converted model"}


def _run(
    session: Session,
    batch: Batch,
    count: int,
    feeding: _Feeding,
    prepared: Callable[[int, int], Batch],
    role: Role,
) -> Batch:
    try:
        return session.run(batch)
    except (MemoryError, KeyboardInterrupt):
        raise
    except Exception as error:
        if count > 1 and not feeding.step:
            _explain_frozen(session, prepared(0, 1), count, role, error)
        if isinstance(error, MlconvertError):
            raise
        what = f"the {_WORDS[role]} does not run on the samples: {error or type(error).__name__}"
        raise ConversionFailed(what) from error


def _explain_frozen(session: Session, one: Batch, count: int, role: Role, error: Exception) -> None:
    """Raise, when the model does answer a single row: then it is the batch axis that stops it."""
    try:
        outputs = session.run(one)
    except Exception:  # noqa: BLE001 - it fails in any case: the first error is the one that tells
        return
    names = ", ".join(f"'{name}'" for name in outputs)
    where = ", ".join(outputs)
    what = (
        f"the {_WORDS[role]} answers one row but not {count} at once: its batch axis is frozen "
        f"(output{'s' if len(outputs) > 1 else ''} {names}): {error or type(error).__name__}"
    )
    if role == "candidate":
        raise ParityFailed(what, where=where, hint="convert it with a dynamic batch axis") from error
    raise NotVerified(what, where=where) from error


def _check_rows(outputs: Batch, count: int, role: Role) -> None:
    for name, output in outputs.items():
        if output.ndim and len(output) == count:
            continue
        has = f"{len(output)} row{'' if len(output) == 1 else 's'}" if output.ndim else "no row axis"
        what = f"output '{name}' of the {_WORDS[role]} has {has} for {count} row{'' if count == 1 else 's'} of input"
        if role == "candidate":
            what = f"{what}: its batch axis is frozen"
            raise ParityFailed(what, where=name, hint="convert it with a dynamic batch axis")
        raise NotVerified(
            what, where=name, hint="outputs are compared row by row: every output needs the batch as its first axis"
        )
