"""Signed versions in an object store: signed before they are sent, and verified in a copy."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mlconvert.errors import UsageError
from mlconvert.operations.publish import publish, versions
from mlconvert.operations.signing import verify_signature
from mlconvert.records import SIGNATURE


@pytest.fixture
def keys(tmp_path):
    """A key pair: the files of the private and of the public one."""
    key = ec.generate_private_key(ec.SECP256R1())
    sealed = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, sealed)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "key.pem").write_bytes(private)
    (tmp_path / "key.pub").write_bytes(public)
    return tmp_path / "key.pem", tmp_path / "key.pub"


def test_the_signature_goes_along(recorded, repository, content, keys, tmp_path):
    private, public = keys
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
