"""Parity over the wire: the rows of a record sent to a server that serves the model, its answers compared."""

from __future__ import annotations

import re
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlconvert.converter import Session
from mlconvert.errors import NotVerified, ParityFailed, RepositoryInvalid
from mlconvert.parity.result import OutputParity, Parity
from mlconvert.parity.tolerance import Tolerances
from mlconvert.runners.tf_serving import session_of as tf_session_of
from mlconvert.runners.triton import session_of
from mlconvert.serving.client import Client, wait_ready
from mlconvert.serving.described import served_model
from mlconvert.serving.tf_serving import client as tf_serving
from mlconvert.serving.tf_serving.signatures import signature_of
from mlconvert.signature import Signature

_NOT_IN_NAMES = re.compile(r"\W", re.ASCII)


def parity_over_wire(client: Client, name: str, version: int | None, record: Mapping[str, Any]) -> Parity:
    """Send the rows that a record keeps to a model that a Triton server serves; see `parity_of_served`.

    Raises NotVerified when the record keeps no rows or the model cannot be asked row by row, RepositoryInvalid when
    the server does not serve the model or refuses the rows.
    """
    rows_of(record)
    asked = None if version is None else str(version)
    wait_ready(client, name, asked)
    served = served_model(client.metadata(name, asked), client.config(name, asked))
    return parity_of_served(name, session_of(client, served, asked), record)


def parity_over_tf_serving(
    client: tf_serving.Client, name: str, version: int | str | None, record: Mapping[str, Any]
) -> Parity:
    """Send the rows that a record keeps to a model that a TensorFlow Serving serves; `version` may be a label.

    Raises NotVerified when the record keeps no rows, or the protocol cannot carry them, RepositoryInvalid when the
    server does not serve the model or refuses the rows.
    """
    rows_of(record)
    asked = None if version is None else str(version)
    tf_serving.wait_available(client, name, asked)
    signature = signature_of(client.metadata(name, asked), where=f"{client.protocol}://{client.address}")
    return parity_of_served(name, tf_session_of(client, name, asked, signature), record)


def parity_of_served(name: str, session: Session, record: Mapping[str, Any]) -> Parity:
    """Send the rows that a record keeps to a served model, and compare with the source's answers beside them.

    The tolerances are the record's. Outputs that the served model leaves out are not compared, one at least is.
    """
    from mlconvert.inference import run_samples
    from mlconvert.parity.compare import compare
    from mlconvert.tensors import TensorWriter, read_tensors

    samples, reference = rows_of(record)
    served = session.signature
    assert served is not None
    renamed = served_names(record, served)
    given = {spec.name for spec in served.outputs}
    reference = {output: values for output, values in reference.items() if renamed.get(output, output) in given}
    if not reference:
        raise NotVerified(f"the served model '{name}' gives none of the outputs that its record keeps answers of")
    kept = Tolerances.from_json(record["tolerances"])
    known = {*reference, *given}
    tolerances = Tolerances(kept.default, {output: one for output, one in kept.outputs.items() if output in known})
    with tempfile.TemporaryDirectory(prefix="mlconvert-wire-") as scratch:
        folder = Path(scratch) / "answers"
        try:
            with TensorWriter(folder) as writer:
                run_samples(session, samples, writer, signature=served, renamed=renamed, role="candidate")
            return compare(reference, read_tensors(folder), tolerances, renamed=renamed)
        except ParityFailed as error:  # an output without a row for each row of the samples
            count, default = len(next(iter(samples.values()))), tolerances.default
            failed = [OutputParity(one, ok=False, reason=error.message) for one in (error.where or name).split(", ")]
            return Parity(False, count, default.rtol, default.atol, tuple(failed))


def rows_of(record: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The samples and the reference answers of a record. Raises NotVerified where it keeps none."""
    from mlconvert.tensors.rows import decode_rows

    rows = record.get("rows")
    if not rows:
        raise NotVerified(
            "the record keeps no rows: the model was made without verification, or a row was too large to keep",
            hint="convert it with verification, or: mlconvert verify REFERENCE triton://HOST:PORT/NAME --samples FILE",
        )
    try:
        return decode_rows(rows)
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise RepositoryInvalid(
            f"the rows in the record are damaged: {error}", hint="convert the model again"
        ) from error


def served_names(record: Mapping[str, Any], served: Signature) -> dict[str, str]:
    """The source's names of tensors -> the served model's, where they differ; the source as its record tells of it."""
    renamed = record.get("renamed", {})
    rows = record.get("rows") or {}
    told = record.get("signature") or {}
    names = dict[str, str]()
    for side, specs in (("inputs", served.inputs), ("outputs", served.outputs)):
        order = {spec["name"]: place for place, spec in enumerate(told.get(side, ()))}
        ours = {name: renamed.get(name, name) for name in rows.get(side, ())}
        listed = sorted(ours, key=lambda name: order.get(ours[name], len(order)))
        names |= _paired({name: ours[name] for name in listed}, [spec.name for spec in specs])
    return names


def names_between(reference: Mapping[str, Any] | None, served: Signature) -> dict[str, str]:
    """A reference model's names (of its signature, as JSON) -> the served model's, where they differ."""
    names = dict[str, str]()
    for side, specs in (("inputs", served.inputs), ("outputs", served.outputs)):
        ours = {spec["name"]: spec["name"] for spec in (reference or {}).get(side, ())}
        names |= _paired(ours, [spec.name for spec in specs])
    return names


def _paired(ours: Mapping[str, str], theirs: Sequence[str]) -> dict[str, str]:
    """A server may have names of its own (FIL: input__0): the ones that are not ours are paired with them in order.

    TensorFlow forbids some characters in names: a name that is ours but for them comes first.
    """
    lost = [name for name, there in ours.items() if there not in theirs]
    free = [there for there in theirs if there not in ours.values()]
    paired = dict[str, str]()
    for name in lost:
        stem = _NOT_IN_NAMES.sub("_", ours[name]).lstrip("_")
        near = [there for there in free if there in (stem, f"arg_{stem}") and there not in paired.values()]
        paired |= {name: near[0]} if near else {}
    lost = [name for name in lost if name not in paired]
    free = [there for there in free if there not in paired.values()]
    paired |= dict(zip(lost, free, strict=True)) if len(lost) == len(free) else {}
    return {name: new for name, there in ours.items() if (new := paired.get(name, there)) != name}
