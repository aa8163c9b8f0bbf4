"""Signatures of published versions: what holds, and everything that must not."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlconvert import packages
from mlconvert.artifact import file_sha256
from mlconvert.cli import main
from mlconvert.errors import MlconvertError, NotVerified, RepositoryInvalid, UsageError
from mlconvert.operations.lint import lint_repository
from mlconvert.operations.publish import publish
from mlconvert.operations.signing import PASSWORD, Signer, verify_signature
from mlconvert.records import SIGNATURE


@pytest.fixture(scope="module")
def published(keys, small_onnx, tmp_path_factory):
    """A repository of Triton with a model of one signed version."""
    repository = tmp_path_factory.mktemp("signed") / "models"
    done = publish(small_onnx, repository, to="triton", name="small", sign=keys / "ours.pem")
    assert done["signed"]
    return repository


@pytest.fixture
def version(published, tmp_path):
    """A copy of the signed version, to be spoiled."""
    return shutil.copytree(published, tmp_path / "models") / "small" / "1"


def test_a_signed_version_is_confirmed_and_nothing_to_lint(published, keys):
    told = verify_signature(published / "small" / "1", keys / "ours.pub")
    files = [path for path in sorted((published / "small" / "1").iterdir()) if path.name != SIGNATURE]
    assert told["ok"]
    assert told["files"] == [{"path": path.name, "sha256": file_sha256(path)} for path in files]
    assert verify_signature(published / "small" / "1" / "model.onnx", keys / "ours.pub")["files"] == told["files"]
    assert lint_repository(str(published))["findings"] == []
    assert (published / "small" / "1" / SIGNATURE).stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("curve", [ec.SECP256R1, ec.SECP384R1, ec.SECP521R1])
def test_every_curve_and_a_password(write_key, curve, tmp_path, monkeypatch):
    write_key(tmp_path, "key", ec.generate_private_key(curve()), b"geheim")
    with pytest.raises(UsageError, match="encrypted") as caught:
        Signer(tmp_path / "key.pem")
    assert PASSWORD in caught.value.hint
    monkeypatch.setenv(PASSWORD, "wrong")
    with pytest.raises(UsageError, match="not its password"):
        Signer(tmp_path / "key.pem")
    monkeypatch.setenv(PASSWORD, "geheim")
    folder = tmp_path / "1"
    folder.mkdir()
    (folder / ".gitattributes").write_text("of git, and signed all the same")
    Signer(tmp_path / "key.pem")(folder)
    assert [row["path"] for row in verify_signature(folder, tmp_path / "key.pub")["files"]] == [".gitattributes"]


def test_the_library_s_own_command_line_confirms_it(published, keys):
    line = ["verify", "key", "--signature", str(published / "small" / "1" / SIGNATURE)]
    line += ["--public_key", str(keys / "ours.pub"), str(published / "small" / "1")]
    done = subprocess.run([sys.executable, "-m", "model_signing", *line], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def _append(version):
    with (version / "model.onnx").open("ab") as stream:
        stream.write(b"x")


def _edit_record(version):
    path = version / "record.json"
    path.write_text('{"schema": "mlconvert.record/1"}')


def _link(version):
    shutil.copy(version / "model.onnx", version.parent / "away.onnx")
    (version / "model.onnx").unlink()
    (version / "model.onnx").symlink_to(version.parent / "away.onnx")


def _of_another_version(version):
    data = json.loads((version / SIGNATURE).read_text())
    statement = json.loads(base64.b64decode(data["dsseEnvelope"]["payload"]))
    statement["predicate"]["resources"][0]["digest"] = "0" * 64
    data["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
    (version / SIGNATURE).write_text(json.dumps(data))


def _edit_bundle(version, key, value):
    data = json.loads((version / SIGNATURE).read_text())
    (version / SIGNATURE).write_text(json.dumps({**data, key: value}))


SPOILED = [
    (_append, "'model.onnx' was changed after it was signed"),
    (_edit_record, "'record.json' was"),
    (lambda version: (version / "model.onnx").unlink(), "'model.onnx' was signed, and is not there"),
    (lambda version: (version / "model.py").write_text("import os"), "'model.py' was added after it was signed"),
    (lambda version: (version / ".gitignore").write_text("*"), "'.gitignore' was added after it was signed"),
    (_link, "'model.onnx' is not a file but a link"),
    (_of_another_version, "the signature itself was changed"),
    (lambda version: (version / SIGNATURE).write_text("{}"), "this is no signature"),
    (lambda version: (version / SIGNATURE).write_bytes(b"\xff\x00"), "this is no signature"),
    (lambda version: _edit_bundle(version, "verificationMaterial", {"publicKey": []}), "this is no signature"),
    (lambda version: _edit_bundle(version, "dsseEnvelope", {"payload": "e30="}), "cannot be verified"),
]


@pytest.mark.parametrize(("spoil", "message"), SPOILED)
def test_what_was_changed_since_ends_with_8(spoil, message, version, keys, capsys):
    if not (version / "record.json").exists():  # the small model was not converted, so it has none
        (version / "record.json").write_text("{}")
        Signer(keys / "ours.pem")(version)
    spoil(version)
    assert main(["verify", str(version), "--signature", str(keys / "ours.pub")]) == RepositoryInvalid.exit_code
    told = capsys.readouterr()
    assert message in told.err
    assert "try: " in told.err
    assert told.out == ""


def test_another_key_and_no_signature_end_with_6(version, keys, capsys):
    assert main(["verify", str(version), "--signature", str(keys / "other.pub")]) == NotVerified.exit_code
    assert "the signature is of another key" in capsys.readouterr().err
    (version / SIGNATURE).unlink()
    assert main(["verify", str(version), "--signature", str(keys / "ours.pub"), "--json"]) == NotVerified.exit_code
    told = capsys.readouterr()
    assert "there is no signature" in told.err
    assert json.loads(told.out)["exit_code"] == 6


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_change_of_a_byte_passes(published, keys, tmp_path, data):
    folder = tmp_path / "drawn"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(published / "small" / "1", folder)
    path = data.draw(st.sampled_from(sorted(folder.iterdir())))
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        told = verify_signature(folder, keys / "ours.pub")
    except (RepositoryInvalid, NotVerified):
        return
    # Of the bundle, what is not signed may differ (the words around the envelope): then the files are what they were.
    assert path.name == SIGNATURE
    before = verify_signature(published / "small" / "1", keys / "ours.pub")
    assert told["files"] == before["files"]


@pytest.mark.parametrize(
    ("option", "name", "message"),
    [
        ("--signature", "none.pub", "cannot be read"),
        ("--signature", "ours.pem", "is a private key"),
        ("--signature", "text.pub", "no public key"),
        ("--signature", "rsa.pub", "of another kind (RSAPublicKey)"),
        ("--sign", "ours.pub", "no private key"),
        ("--sign", "rsa.pem", "of another kind (RSAPublicKey)"),
        ("--sign", "ed25519.pem", "of another kind (Ed25519PublicKey)"),
        ("--sign", "k1.pem", "of another kind (secp256k1)"),
    ],
)
def test_keys_that_are_of_no_use_end_with_2(
    write_key, option, name, message, published, keys, small_onnx, tmp_path, capsys
):
    folder = shutil.copytree(keys, tmp_path / "keys")
    (folder / "text.pub").write_text("words")
    write_key(folder, "rsa", rsa.generate_private_key(65537, 2048))
    write_key(folder, "ed25519", ed25519.Ed25519PrivateKey.generate())
    write_key(folder, "k1", ec.generate_private_key(ec.SECP256K1()))
    line = ["verify", str(published / "small" / "1"), option, str(folder / name)]
    if option == "--sign":
        line = ["publish", str(small_onnx), str(tmp_path / "new"), "--to", "triton", "--name", "a", *line[2:]]
    assert main(line) == UsageError.exit_code
    told = capsys.readouterr().err
    assert message in told.replace("_", "")
    assert "openssl" in told
    assert not (tmp_path / "new").exists()


def test_it_goes_with_one_artifact_alone(published, keys, capsys):
    version, key = str(published / "small" / "1"), str(keys / "ours.pub")
    for more in ([version], ["--rtol", "0.1"], ["--trust"]):
        assert main(["verify", version, *more, "--signature", key]) == 2
        assert "--signature looks at files alone" in capsys.readouterr().err
    assert main(["verify", f"{version}9", "--signature", key]) == 2


@pytest.mark.parametrize("module", ["model_signing", "OpenSSL"])
def test_without_the_library_it_ends_with_3(module, small_onnx, keys, tmp_path, monkeypatch, capsys):
    there = packages.installed
    monkeypatch.setattr(packages, "installed", lambda package: package.module != module and there(package))
    line = ["publish", str(small_onnx), str(tmp_path / "new"), "--to", "triton", "--name", "a"]
    assert main([*line, "--sign", str(keys / "ours.pem")]) == 3
    assert "pip install 'mlconvert[signing]'" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
    assert main(["verify", str(small_onnx), "--signature", str(keys / "ours.pub")]) == 3


def test_what_is_there_already_is_not_said_to_be_signed(small_onnx, keys, version):
    repository = version.parent.parent
    options = {"to": "triton", "name": "small"}
    again = publish(small_onnx, repository, sign=keys / "ours.pem", **options)
    assert (again["unchanged"], again["version"]) == (True, 1)
    with pytest.raises(UsageError, match="of another key"):
        publish(small_onnx, repository, sign=keys / "other.pem", **options)
    (version / SIGNATURE).unlink()
    with pytest.raises(UsageError, match="there is no signature") as caught:
        publish(small_onnx, repository, sign=keys / "ours.pem", **options)
    assert "--version" in caught.value.hint
    publish(small_onnx, repository, sign=keys / "ours.pem", version=2, **options)
    assert verify_signature(repository / "small" / "2", keys / "ours.pub")["ok"]
    # Without --sign a signature is no file of the model: the same model is not published twice.
    assert publish(small_onnx, repository, **options)["unchanged"]


def test_a_model_that_fails_to_be_signed_is_not_published(small_onnx, keys, tmp_path, monkeypatch):
    def fail(self, folder):
        raise MlconvertError("no")

    monkeypatch.setattr(Signer, "__call__", fail)
    with pytest.raises(MlconvertError):
        publish(small_onnx, tmp_path / "models", to="triton", name="a", sign=keys / "ours.pem")
    assert list(tmp_path.iterdir()) == []
