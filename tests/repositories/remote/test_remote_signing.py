"""Signed versions in an object store: signed before they are sent, and verified in a copy."""

from __future__ import annotations

import pytest

from mlconvert.errors import UsageError
from mlconvert.operations.publish import publish, versions
from mlconvert.operations.signing import verify_signature
from mlconvert.records import SIGNATURE


def test_the_signature_goes_along(recorded, repository, content, keys, tmp_path):
    private, public = keys / "ours.pem", keys / "ours.pub"
    model = recorded().path
    done = publish(model, str(repository), to="triton", name="m", sign=private)
    assert done["signed"]
    copy = tmp_path / "copy" / "1"
    copy.mkdir(parents=True)
    for key, data in content().items():
        if "/m/1/" in key:
            (copy / key.rpartition("/")[2]).write_bytes(data)
    assert (copy / SIGNATURE).is_file()
    assert [row["path"] for row in verify_signature(copy, public)["files"]] == ["model.onnx", "record.json"]
    assert versions(str(repository), "m")[0][0].files == ("model.onnx",)
    assert publish(model, str(repository), to="triton", name="m")["unchanged"], "a signature is no file of the model"
    with pytest.raises(UsageError, match="not signed afterwards"):
        publish(model, str(repository), to="triton", name="m", sign=private)
    assert publish(model, str(repository), to="triton", name="m", sign=private, version=5)["version"] == 5
