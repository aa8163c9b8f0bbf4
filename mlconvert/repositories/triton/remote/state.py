"""A model in an object store: what is there, which versions are whole, and who is at work on which.

    <prefix>/<model>/config.pbtxt             one write of it is what makes a version visible, or takes it back
    <prefix>/<model>/<version>/…
    <parent>/.mlconvert-<repository>/<model>/<version>.json     a claim: this version is being written, or removed

Since nothing can be renamed, config.pbtxt always lists the versions in service (version_policy `specific`): files of
another version may lie there, in part or whole, and no server looks at them. What the policy would be where folders
can be renamed (`latest 1`) is kept beside it as the parameter `mlconvert.policy`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from mlconvert.errors import RepositoryInvalid, UsageError
from mlconvert.records import BESIDE
from mlconvert.records import IN_FOLDER as RECORD
from mlconvert.repositories.names import check_name
from mlconvert.repositories.remote import Bucket, Found, Tag
from mlconvert.repositories.triton import checksums
from mlconvert.repositories.triton import config as cfg

PARAMETER = "mlconvert.policy"


@dataclass(frozen=True)
class RemoteModel:
    """One look at a model. `objects` are by their path in the model's folder."""

    bucket: Bucket
    name: str
    text: str | None  # of config.pbtxt
    tag: Tag | None
    objects: Mapping[str, Found]
    claimed: frozenset[int]

    @property
    def where(self) -> str:
        return f"{self.bucket.repository}/{self.name}"

    @property
    def taken(self) -> frozenset[int]:
        """Every number that a server would read in a folder's name, or that somebody has claimed."""
        found = {int(digits[1]) for path in self.objects if (digits := re.match(r"([0-9]+)(?:[^/]*/|$)", path))}
        return frozenset(found | self.claimed)

    @property
    def config(self) -> Any:
        """The configuration. Raises RepositoryInvalid where there is none, or it cannot be read."""
        if self.text is None:
            raise RepositoryInvalid("the model has no config.pbtxt", where=self.where)
        return cfg.parse(self.text, where=f"{self.where}/{cfg.CONFIG}")

    @property
    def whole(self) -> frozenset[int]:
        """The versions that are whole: nobody is at work on them, or the configuration has them in service."""
        found = {int(number) for path in self.objects if (number := _plain(path))}
        in_service = set(self.config.version_policy.specific.versions) if self.text is not None else set()
        return frozenset(number for number in found if number not in self.claimed or number in in_service)

    @property
    def live(self) -> frozenset[int]:
        return frozenset(cfg.live_versions(self.config, self.whole)) if self.text is not None else frozenset()

    def files(self, number: int) -> dict[str, Found]:
        """The objects of a version, by their path in its folder."""
        start = f"{number}/"
        return {path.removeprefix(start): found for path, found in self.objects.items() if path.startswith(start)}

    def key(self, path: str) -> str:
        return model_key(self.bucket, self.name, path)


def look(bucket: Bucket, name: str) -> RemoteModel:
    """The model as it is now; one that is not there has no configuration and no objects."""
    before = _claimed(bucket, name)
    start = model_key(bucket, name, "")
    objects = {key.removeprefix(start): found for key, found in bucket.list(start.rstrip("/")).items()}
    found = bucket.read(model_key(bucket, name, cfg.CONFIG))
    claimed = before | _claimed(bucket, name)  # both: one that came or went meanwhile is not whole in this look
    text, tag = (_decoded(found[0], bucket, name), found[1]) if found else (None, None)
    return RemoteModel(bucket, name, text, tag, objects, claimed)


def existing(bucket: Bucket, name: str) -> RemoteModel:
    """The model. Raises UsageError where there is none of that name."""
    check_name(name)
    model = look(bucket, name)
    if model.text is None:
        started = f": versions {sorted(model.claimed)} are being published" if model.claimed else ""
        raise UsageError(f"no model '{name}' in {bucket.repository}{started}", where=str(bucket.repository))
    return model


def model_key(bucket: Bucket, name: str, path: str) -> str:
    return f"{bucket.repository.prefix}/{name}/{path}"


def claim_key(bucket: Bucket, name: str, number: int) -> str:
    return f"{bucket.repository.notes}/{name}/{number}.json"


def is_record(path: str) -> bool:
    return path.rpartition("/")[2] == RECORD


def is_beside(path: str) -> bool:
    """Whether it is a record or a signature: no file of the model."""
    return path.rpartition("/")[2] in BESIDE


def _claimed(bucket: Bucket, name: str) -> frozenset[int]:
    stems = (key.rpartition("/")[2].removesuffix(".json") for key in bucket.list(f"{bucket.repository.notes}/{name}"))
    return frozenset(int(stem) for stem in stems if stem.isdigit())


def _plain(path: str) -> str | None:
    found = re.match(r"([1-9][0-9]*)/", path)
    return found[1] if found else None


def _decoded(data: bytes, bucket: Bucket, name: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        where = f"{bucket.repository}/{name}/{cfg.CONFIG}"
        raise RepositoryInvalid("not a Triton model configuration: not UTF-8 text", where=where) from error


# --- the version policy, as it is meant and as it is written ---


def policy_of(config: Any) -> str:
    """`latest N`, `all` or `specific`: as the configuration means it."""
    if PARAMETER in config.parameters:
        text = str(config.parameters[PARAMETER].string_value)
        if re.fullmatch(r"all|latest [1-9][0-9]*", text):
            return text
        raise RepositoryInvalid(f"the parameter {PARAMETER} is {text!r}: expected `all` or `latest 1`")
    kind = config.version_policy.WhichOneof("policy_choice")
    if kind in ("all", "specific"):
        return str(kind)
    return f"latest {max(config.version_policy.latest.num_versions, 1)}"


def as_meant(config: Any) -> Any:
    """A copy with the version policy as it would be written where folders can be renamed."""
    changed = _copy(config)
    policy = policy_of(config)
    if PARAMETER in changed.parameters:
        del changed.parameters[PARAMETER]
    if policy == "all":
        changed.version_policy.all.SetInParent()
    elif policy != "specific":
        changed.version_policy.latest.num_versions = int(policy.split()[1])
    return changed


def pinned(config: Any, live: Collection[int], policy: str, whole: Collection[int]) -> Any:
    """A copy that lists the versions in service, and sums of files that are there."""
    changed = _copy(as_meant(config))
    changed.ClearField("version_policy")
    changed.version_policy.specific.versions.extend(sorted(live))
    if policy != "specific":
        changed.parameters[PARAMETER].string_value = policy
    sums = checksums.sums_of(changed)
    kept = {path: digest for path, digest in sums.items() if int(path.partition("/")[0]) in {*live, *whole}}
    return changed if kept == sums else checksums.with_sums(changed, kept)


def next_live(config: Any, model: RemoteModel, arriving: int) -> frozenset[int]:
    """The versions in service once that one is there too; versions that were rolled back do not come back."""
    policy = policy_of(config)
    if policy == "specific":
        return frozenset(config.version_policy.specific.versions) & {*model.whole, arriving}
    candidates = sorted({*model.live, arriving})
    return frozenset(candidates if policy == "all" else candidates[-int(policy.split()[1]) :])


def alike(first: Any, second: Any) -> bool:
    """Whether two configurations differ by nothing but the versions in service and their files' sums."""
    return bool(_stripped(first) == _stripped(second))


def _stripped(config: Any) -> Any:
    changed = checksums.with_sums(as_meant(config), {})
    changed.ClearField("version_policy")
    return changed


def _copy(config: Any) -> Any:
    copied = type(config)()
    copied.CopyFrom(config)
    return copied
