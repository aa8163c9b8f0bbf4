"""Claims: who is writing which version of a model in an object store, and what becomes of one who died at it.

A claim is one object, written on the condition that it is not there yet: of two publishers one gets the number. While
it is there the version counts as incomplete, wherever its writer died. It is removed last. A claim that was not
renewed for `LEASE_SECONDS` is of a publisher that died: the next one takes it over, on the condition that it is still
what it was, and removes what lies there. A publisher that lost its claim this way stops before it changes anything
that servers see.
"""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass

from mlconvert.errors import OutOfResources, RepositoryInvalid
from mlconvert.repositories.remote import Bucket, Changed, Tag
from mlconvert.repositories.triton.remote.state import RemoteModel, claim_key, look
from mlconvert.repositories.versions import LARGEST

SCHEMA = "mlconvert.claim/1"
LEASE_SECONDS = 2 * 3600.0
RENEW_SECONDS = 300.0
_ATTEMPTS = 100


@dataclass
class Claim:
    """A claim that is ours; `renew` keeps it so."""

    bucket: Bucket
    name: str
    number: int
    tag: Tag
    token: str
    renewed: float  # on the monotonic clock

    @property
    def key(self) -> str:
        return claim_key(self.bucket, self.name, self.number)

    def renew(self, *, at_once: bool = False) -> None:
        """Say that we are still at work. Raises OutOfResources when the claim was taken over meanwhile."""
        if not at_once and time.monotonic() - self.renewed < RENEW_SECONDS:
            return
        try:
            self.tag = self.bucket.replace(self.key, _content(self.name, self.number, self.token), self.tag)
        except Changed as error:
            raise OutOfResources(
                f"publishing '{self.name}' took so long that another publisher took its number {self.number} back",
                where=str(self.bucket.repository),
                hint="run it again",
            ) from error
        self.renewed = time.monotonic()

    def remove(self) -> None:
        self.bucket.delete([self.key])


def take(bucket: Bucket, name: str, model: RemoteModel, asked: int | None) -> Claim:
    """Claim the version asked for, else the next one that nobody has.

    Raises RepositoryInvalid when the version that was asked for exists or is being written.
    """
    number = asked if asked is not None else max(model.taken, default=0) + 1
    if number > LARGEST:
        raise RepositoryInvalid(f"no version number is left above {LARGEST}", where=model.where)
    for _ in range(_ATTEMPTS):
        if asked is not None and asked in model.taken:
            what = "is being published by somebody" if asked in model.claimed else "exists and is never overwritten"
            raise RepositoryInvalid(
                f"version {asked} {what}", where=f"{model.where}/{asked}", hint="leave the version out for the next one"
            )
        try:
            return _claimed(bucket, name, number)
        except Changed:
            model = look(bucket, name)
            number = asked if asked is not None else max({*model.taken, number}) + 1
    raise OutOfResources(f"too many publishers of '{name}' at once", where=model.where, hint="run it again")


def take_over(model: RemoteModel, number: int) -> Claim | None:
    """The claim of a version that is in nobody's hands, for its removal; None when somebody has it."""
    try:
        return _claimed(model.bucket, model.name, number)
    except Changed:
        return None


def settle(model: RemoteModel, ours: Claim) -> None:
    """Remove what publishers that died have left, as seen by one that has just begun.

    Their claims are as old as the store says; it stamps ours with the same clock.
    """
    found = model.bucket.list(f"{model.bucket.repository.notes}/{model.name}")
    now = found[ours.key].modified if ours.key in found else None
    finish(model)
    for number in sorted(model.claimed - model.live - {ours.number}):
        key = claim_key(model.bucket, model.name, number)
        if now is not None and key in found and (now - found[key].modified).total_seconds() >= LEASE_SECONDS:
            _clear(model, number)


def finish(model: RemoteModel) -> None:
    """Remove the claims of versions that are in service: each was whole before its publisher died, or is done."""
    for number in sorted(model.claimed & model.live):
        model.bucket.delete([claim_key(model.bucket, model.name, number)])


def _clear(model: RemoteModel, number: int) -> None:
    key = claim_key(model.bucket, model.name, number)
    held = model.bucket.read(key)
    if held is None:
        return
    try:
        model.bucket.replace(key, _content(model.name, number, uuid.uuid4().hex), held[1])
    except Changed:  # another publisher does it, or it is alive after all
        return
    remove_version(look(model.bucket, model.name), number)
    model.bucket.delete([key])


def remove_version(model: RemoteModel, number: int) -> None:
    """Remove the objects of a version that is claimed by us; one that is in service by now is left alone."""
    if number not in model.live:
        model.bucket.delete([model.key(f"{number}/{path}") for path in model.files(number)])


def _claimed(bucket: Bucket, name: str, number: int) -> Claim:
    token = uuid.uuid4().hex
    key, content = claim_key(bucket, name, number), _content(name, number, token)
    try:
        tag = bucket.create(key, content)
    except Changed:
        found = bucket.read(key)  # a write whose answer was lost is sent again, and then finds itself there
        if found is None or found[0] != content:
            raise
        tag = found[1]
    return Claim(bucket, name, number, tag, token, time.monotonic())


def _content(name: str, number: int, token: str) -> bytes:
    note = "a version of this model is being written; without this file it is whole"
    claim = {"schema": SCHEMA, "model": name, "version": number, "token": token, "note": note, "time": time.time()}
    return f"{json.dumps(claim, indent=1)}\n".encode()
