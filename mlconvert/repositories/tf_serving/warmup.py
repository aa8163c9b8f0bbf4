"""tf_serving_warmup_requests: requests that the server runs before it calls a version available.

A TFRecord of PredictionLog messages, made of the rows that the model's record keeps. It is a part of the version, so a
model that is published with other requests is another version.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

from mlconvert.errors import MlconvertError, RepositoryInvalid, UsageError
from mlconvert.repositories.kept_rows import inputs_of, sample
from mlconvert.repositories.tf_serving.saved_models import DEFAULT
from mlconvert.serving.tf_serving.messages import message
from mlconvert.serving.tf_serving.tensor_protos import fill_tensor
from mlconvert.signature import Signature

MOST = 1000  # records, of which the server runs no more


def warmup(
    name: str,
    signature: Signature | None,
    record: Mapping[str, Any] | None,
    *,
    warmup: Annotated[
        bool | None, "run rows of the record's before a version is available (default: where the record keeps any)"
    ] = None,
    warmup_batch_sizes: Annotated[tuple[int, ...], "batch sizes to run (default: 1)"] = (),
) -> tuple[bytes | None, str | None]:
    """The content of the file for model `name`, None for none; a remark on why there is none where it was not meant.

    Raises UsageError, and where requests were asked for RepositoryInvalid or NotVerified.
    """
    if warmup is False:
        if warmup_batch_sizes:
            raise UsageError("warmup_batch_sizes contradicts warmup=no", hint="leave one of them out")
        return None, None
    wrong = [size for size in warmup_batch_sizes if size < 1]
    if wrong:
        raise UsageError(f"warmup_batch_sizes={wrong[0]}: expected 1 or more")
    asked = bool(warmup or warmup_batch_sizes)
    if not (record or {}).get("rows") or signature is None:
        if asked:
            raise _impossible(signature)
        return None, None
    try:
        requests = list(_requests(name, signature, record or {}, warmup_batch_sizes or (1,)))
    except MlconvertError as error:
        if asked:
            raise
        return None, f"no warm-up requests: {error.message}"
    return tf_record(requests[:MOST]), None


def _impossible(signature: Signature | None) -> RepositoryInvalid:
    if signature is None:
        what = f"the model has no signature '{DEFAULT}' that warm-up requests could call"
        return RepositoryInvalid(what, hint="publish it without warmup")
    return RepositoryInvalid(
        "there are no real rows to warm the model up with: its record keeps none",
        hint="convert it with samples and verification, which keeps rows; or publish it without warmup",
    )


def _requests(name: str, signature: Signature, record: Mapping[str, Any], sizes: Iterable[int]) -> Iterator[bytes]:
    """A request for every row where a request is one row, else one for each size."""
    kept = inputs_of(record)
    count = int(record["rows"].get("count", 1))
    for size in sorted(set(sizes)):
        for at in range(count if size == 1 else 1):
            log = message("PredictionLog")()
            request = log.predict_log.request
            request.model_spec.name = name
            request.model_spec.signature_name = DEFAULT
            for key, values in sample(kept, signature, at=at, size=size).items():
                fill_tensor(request.inputs[key], values)
            yield log.SerializeToString(deterministic=True)


# --- TFRecord ---
# https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details: length, its checksum, the content,
# its checksum; all little-endian. The checksum is CRC-32C, turned and moved by a constant.

_CASTAGNOLI = 0x82F63B78  # the polynomial, its bits reversed
_MOVED = 0xA282EAD8


def tf_record(records: Iterable[bytes]) -> bytes:
    parts = []
    for content in records:
        length = struct.pack("<Q", len(content))
        parts += [length, masked_crc(length), content, masked_crc(content)]
    return b"".join(parts)


def masked_crc(content: bytes) -> bytes:
    """The checksum as a TFRecord has it."""
    crc = crc32c(content)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + _MOVED) & 0xFFFFFFFF)


def crc32c(content: bytes) -> int:
    """CRC-32C (RFC 3720, B.4), a byte at a time."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def _row(number: int) -> int:
    for _ in range(8):
        number = number >> 1 ^ (_CASTAGNOLI if number & 1 else 0)
    return number


_TABLE = tuple(_row(number) for number in range(256))
