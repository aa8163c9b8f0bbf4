"""Signing what is published with a key of the user's own, and telling whether a signature holds.

A signature is a Sigstore bundle of a list of all files of a version folder and their SHA-256, the record included, as
the library model-signing writes and reads it (https://github.com/sigstore/model-transparency): its own command line
verifies it as well. Keys are files, of the curves that it takes (P-256, P-384, P-521); nothing asks a network.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mlconvert import packages
from mlconvert.artifact import file_sha256
from mlconvert.errors import NotVerified, RepositoryInvalid, UsageError
from mlconvert.records import SIGNATURE
from mlconvert.report.contents import shown

SCHEMA = "mlconvert.signature/1"
PASSWORD = "MLCONVERT_KEY_PASSWORD"  # noqa: S105 - the name of a variable: an argument would show in lists of processes
CURVES = ("secp256r1", "secp384r1", "secp521r1")
MAKE_KEYS = (
    "openssl ecparam -name prime256v1 -genkey -noout -out signing.pem && openssl ec -in signing.pem -pubout -out "
    "signing.pub"
)
SIGN_AGAIN = "publish it under a number of its own, which is then signed: --version N"
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, IndexError)  # what foreign files come to in the library


class Signer:
    """Signs version folders with one private key, which was read and found to be of use.

    Raises MissingPackage without the extra `signing`, UsageError for a key that cannot be used.
    """

    def __init__(self, key: str | Path) -> None:
        packages.require((packages.MODEL_SIGNING, packages.OPENSSL), "signing")
        self.path = Path(key)
        self.password = os.environ.get(PASSWORD, "").encode() or None
        self.public = _public_bytes(_private_key(self.path, self.password).public_key(), self.path)

    def __call__(self, folder: Path) -> None:
        """Write the signature of all that is in the folder into it."""
        from model_signing import signing

        target = folder / SIGNATURE
        signing.Config().set_hashing_config(_hashing()).use_elliptic_key_signer(
            private_key=self.path,
            password=self.password,  # which the library hands on as it is, to what takes bytes
        ).sign(folder, target)
        target.chmod(0o644)  # servers run as another user

    def confirm(self, folder: Path) -> None:
        """Raise UsageError where a version that was there before is not signed with this key, RepositoryInvalid where
        it is not what was signed.
        """
        try:
            _verify(folder, self.public)
        except NotVerified as error:
            what = f"this model is published already, and is not signed with this key: {error.message}"
            raise UsageError(what, where=shown(folder), hint=SIGN_AGAIN) from error


def verify_signature(location: str | Path, key: str | Path) -> dict[str, Any]:
    """Whether an artifact, or a version of a repository, is what the owner of the public key signed; as a report.

    Raises MissingPackage, UsageError (no such file; a key that is none), NotVerified (there is no signature, or it is
    another key's), RepositoryInvalid (a file was changed, added or removed since, or the signature was).
    """
    packages.require((packages.MODEL_SIGNING, packages.OPENSSL), "verifying a signature")
    path = Path(key)
    public = _public_bytes(_public_key(path), path)
    folder = _signed_folder(Path(location))
    files = _verify(folder, public)
    return {
        "schema": SCHEMA,
        "ok": True,
        "exit_code": 0,
        "artifact": shown(location),
        "signature": shown(folder / SIGNATURE),
        "key": {"path": shown(path), "sha256": hashlib.sha256(public).hexdigest()},
        "files": [{"path": name, "sha256": digest} for name, digest in sorted(files.items())],
    }


def _signed_folder(place: Path) -> Path:
    """The folder with the signature: the one that is named, or one of those around the file."""
    if not place.exists():
        raise UsageError(f"{place} does not exist")
    around = [place, place.parent, place.parent.parent] if place.is_dir() else [place.parent, place.parent.parent]
    for folder in around:
        if (folder / SIGNATURE).is_file():
            return folder
    hint = "mlconvert publish … --sign KEY signs what it publishes; name the version's folder here: REPOSITORY/NAME/1"
    raise NotVerified(f"there is no signature ({SIGNATURE})", where=str(place), hint=hint)


def _verify(folder: Path, public: bytes) -> dict[str, str]:
    """The files of the folder that its signature names, with the digests that it has of them: they are all there is."""
    from cryptography.exceptions import InvalidSignature
    from model_signing import verifying

    bundle = _bundle(folder)
    told = bundle["verificationMaterial"].get("publicKey", {}).get("hint")
    if told != hashlib.sha256(public).hexdigest():
        what = "the signature is of another key" if told else "the signature does not say which key it is of"
        raise NotVerified(what, where=str(folder / SIGNATURE), hint="name the public key of who signed it")
    changed = "publish the model again, or ask who signed it"
    with tempfile.TemporaryDirectory(prefix="mlconvert-") as scratch:
        key = Path(scratch) / "public.pem"
        key.write_bytes(public)
        try:
            config = verifying.Config().set_hashing_config(_hashing())
            config.use_elliptic_key_verifier(public_key=key).verify(folder, folder / SIGNATURE)
        except InvalidSignature as error:
            what = "the signature itself was changed: it is not what the key signed"
            raise RepositoryInvalid(what, where=str(folder / SIGNATURE), hint=changed) from error
        except _UNREADABLE as error:
            # Only words: what the signature lists is not known to be the signer's where this is not a mismatch.
            listed = _listed(bundle)
            found = list(_differences(folder, listed)) if listed else []
            what = "; ".join(found) or f"the signature cannot be verified: {error}"
            raise RepositoryInvalid(what, where=str(folder / SIGNATURE), hint=changed) from error
    # The library leaves out what the signer's list says is to be left out: a server reads it all the same.
    signed = _listed(bundle)
    found = list(_differences(folder, signed))
    if found:
        raise RepositoryInvalid("; ".join(found), where=str(folder / SIGNATURE), hint=changed)
    return signed


def _hashing() -> Any:
    """The SHA-256 of every file but the signature; left to itself, the library passes over the files of git."""
    from model_signing import hashing

    config = hashing.Config().use_file_serialization(hashing_algorithm="sha256")
    return config.set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False)


def _bundle(folder: Path) -> dict[str, Any]:
    path = folder / SIGNATURE
    try:
        data = json.loads(path.read_bytes())
        key = data["verificationMaterial"].get("publicKey", {})  # absent where it was signed with a certificate
        sound = isinstance(key, dict) and isinstance(data["dsseEnvelope"]["payload"], str)
    except FileNotFoundError as error:
        raise NotVerified(f"there is no signature ({SIGNATURE})", where=str(folder)) from error
    except OSError as error:
        raise UsageError(f"the signature cannot be read: {error.strerror}", where=str(path)) from error
    except (*_UNREADABLE, RecursionError):
        sound = False
    if not sound:
        what = "this is no signature: it is not a Sigstore bundle with an envelope"
        raise RepositoryInvalid(what, where=str(path), hint="publish the model again with --sign KEY")
    return dict(data)


def _listed(bundle: Mapping[str, Any]) -> dict[str, str]:
    """The files that a bundle is of, and their digests; nothing where it is of something else."""
    try:
        statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
        return {str(row["name"]): str(row["digest"]) for row in statement["predicate"]["resources"]}
    except (*_UNREADABLE, RecursionError):
        return {}


def _differences(folder: Path, signed: Mapping[str, str]) -> Iterator[str]:
    """Sentences about files that are not what was signed."""
    there = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if not _is_plain(path)}
    there.pop(SIGNATURE, None)
    for name, path in there.items():
        if path.is_symlink() or not path.is_file():
            yield f"'{name}' is not a file but a link or a device, which is never signed"
        elif name not in signed:
            yield f"'{name}' was added after it was signed"
        elif len(signed[name]) == 64 and file_sha256(path) != signed[name]:
            yield f"'{name}' was changed after it was signed (sha256 differs)"
    for name in sorted(signed.keys() - there.keys()):
        yield f"'{name}' was signed, and is not there"


def _is_plain(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


# --- keys ---


def _private_key(path: Path, password: bytes | None) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    content = _read(path)
    try:
        return load_pem_private_key(content, password)
    except TypeError as error:  # a password, or none, where there should be the other
        what = f"the key {path} is encrypted" if password is None else f"the key {path} is not encrypted"
        hint = f"{'set' if password is None else 'unset'} {PASSWORD}"
        raise UsageError(what, hint=hint) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        what = f"{path} holds no private key in PEM that can be read"
        if password is not None:
            what += f", or {PASSWORD} is not its password"
        raise UsageError(what, hint=MAKE_KEYS) from error


def _public_key(path: Path) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    content = _read(path)
    if b"PRIVATE KEY" in content:
        what = f"{path} is a private key: a signature is verified with the public one, which can be given away"
        raise UsageError(what, hint=f"openssl ec -in {path} -pubout -out {path.with_suffix('.pub')}")
    try:
        return load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(f"{path} holds no public key in PEM that can be read", hint=MAKE_KEYS) from error


def _public_bytes(public: Any, path: Path) -> bytes:
    """The public key as the library hashes it. Raises UsageError for one of a kind that it does not take."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    if not isinstance(public, ec.EllipticCurvePublicKey) or public.curve.name not in CURVES:
        kind = public.curve.name if isinstance(public, ec.EllipticCurvePublicKey) else type(public).__name__
        what = f"{path} is a key of another kind ({kind.strip('_')}): signatures are made with P-256, P-384 or P-521"
        raise UsageError(what, hint=MAKE_KEYS)
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"the key {path} cannot be read: {error.strerror}", hint=MAKE_KEYS) from error
