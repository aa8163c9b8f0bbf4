"""Publishing to a Triton repository in an object store.

Publishing makes the model in a scratch folder, by the very steps and checks of a repository on a disk, and sends it:

    claim      the number is ours, and the version counts as incomplete            remote.claims
    hold       the configuration lists what is in service, and nothing else is     remote.state
    send       the files beside config.pbtxt, then the version's, its model last and its record after it;
               each is read back and compared
    commit     config.pbtxt lists the version: one write, on the condition that nobody else wrote meanwhile
    release    the claim goes

A publisher that dies leaves what was in service before `commit`, and the new version after it.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from mlconvert import records
from mlconvert.artifact import Artifact, combine_sha256, file_sha256
from mlconvert.converter import check_options
from mlconvert.errors import MlconvertError, RepositoryInvalid, UsageError
from mlconvert.repositories.arriving import Sign
from mlconvert.repositories.keeping import check_keep
from mlconvert.repositories.names import check_name
from mlconvert.repositories.remote import RemoteRepository, connect
from mlconvert.repositories.trials import Server
from mlconvert.repositories.triton import config as cfg
from mlconvert.repositories.triton.backends import backend_for
from mlconvert.repositories.triton.labels import labels_of
from mlconvert.repositories.triton.layout import options as options_for
from mlconvert.repositories.triton.publishing import publish as publish_in_a_folder
from mlconvert.repositories.triton.remote import claims
from mlconvert.repositories.triton.remote.files import (
    digests_of,
    mirror,
    record_of,
    refuse_server,
    send_file,
    write_config,
)
from mlconvert.repositories.triton.remote.results import RemotePublished
from mlconvert.repositories.triton.remote.state import (
    RemoteModel,
    alike,
    is_beside,
    is_record,
    look,
    model_key,
    next_live,
    pinned,
    policy_of,
)
from mlconvert.repositories.versions import PublishedVersion


def publish(
    artifact: Artifact,
    repository: RemoteRepository,
    name: str,
    *,
    version: int | None = None,
    options: Mapping[str, Any] = MappingProxyType({}),
    record: Mapping[str, Any] | None = None,
    keep: int | None = None,
    server: Server | None = None,
    sign: Sign | None = None,
) -> RemotePublished:
    """Make the artifact the next (or the given) version of model `name`, as `publish` into a folder does.

    Raises what that raises, and RepositoryInvalid for a store that cannot be reached or used, OutOfResources when
    other publishers are in the way. Nothing that a server looks at has changed then.
    """
    check_name(name)
    check_keep(keep)
    refuse_server(server)
    if artifact.format == "ensemble":
        raise UsageError(
            f"{artifact.location} is an ensemble, which is checked against its members: they have to lie beside it",
            hint="publish all of them into a folder, then copy it",
        )
    bucket = connect(repository)
    model = look(bucket, name)
    if version is None and _is_newest(artifact, model):
        if sign is not None:
            raise UsageError(
                f"version {max(model.live)} is this model already, and a version in a store is not signed afterwards",
                where=model.where,
                hint="publish it under a number of its own, which is then signed: --version N",
            )
        done = _published_before(artifact, model, options) or _reconfigured(artifact, model, options, record)
        return done if keep is None else replace(done, removed=_remove_older(look(bucket, name), keep, model.live))
    claim = claims.take(bucket, name, model, version)
    work = _Work(claim, artifact, options, record, keep, sign)
    try:
        claims.settle(model, claim)
        with tempfile.TemporaryDirectory(prefix="mlconvert-") as scratch:
            return work.run(Path(scratch) / repository.prefix.rpartition("/")[2])
    except BaseException:
        with contextlib.suppress(Exception):  # what cannot be removed now is incomplete by its claim
            work.clear()
        raise


class _Work:
    """One publishing. Until `committed`, nothing of it is seen by any server."""

    def __init__(
        self,
        claim: claims.Claim,
        artifact: Artifact,
        options: Mapping[str, Any],
        record: Mapping[str, Any] | None,
        keep: int | None,
        sign: Sign | None,
    ) -> None:
        self.claim, self.artifact, self.options, self.record = claim, artifact, options, record
        self.keep, self.sign = keep, sign
        self.bucket, self.name, self.number = claim.bucket, claim.name, claim.number
        self.committing = False
        self.committed = False

    def run(self, scratch: Path) -> RemotePublished:
        model = look(self.bucket, self.name)
        local = self._made(model, scratch)
        folder = scratch / self.name
        wanted = cfg.read(folder / cfg.CONFIG)
        comments = cfg.comments_of((folder / cfg.CONFIG).read_text("utf-8"))
        self._hold(model)
        self._send(folder, local)
        after = self._commit(wanted, comments, model)
        with contextlib.suppress(MlconvertError):  # it is done; the next publisher removes the claim
            self.claim.remove()
        removed = _remove_older(after, self.keep, model.live) if self.keep is not None else ()
        return RemotePublished(
            name=self.name,
            version=self.number,
            path=f"{model.where}/{self.number}",
            files=tuple(f"{model.where}/{self.number}/{path}" for path in _model_files(folder, self.number)),
            config_path=f"{model.where}/{cfg.CONFIG}",
            config="written" if model.text is None else local.config,
            bytes=local.bytes,
            sha256=local.sha256,
            unchanged=False,
            live=self.number in after.live,
            removed=removed,
            warnings=local.warnings,
        )

    def clear(self) -> None:
        """Remove what was sent. After a commit of which nobody knows whether it came, the configuration is asked."""
        if self.committed:
            return
        model = look(self.bucket, self.name)
        if self.committing and self.number in model.live:
            return
        self.claim.renew(at_once=True)
        claims.remove_version(model, self.number)
        self.claim.remove()

    def _made(self, model: RemoteModel, scratch: Path) -> PublishedVersion:
        """The version in a repository of its own, after all the checks that a repository on a disk has."""
        # A new configuration has to do for what is in service, too.
        mirror(model, scratch, newest_too=bool(self.options))
        return publish_in_a_folder(
            self.artifact,
            scratch,
            self.name,
            version=self.number,
            options=self.options,
            record=self.record,
            sign=self.sign,
        )

    def _hold(self, model: RemoteModel) -> None:
        """Have the configuration list what is in service, so that what is sent now is not."""
        if model.text is None or _is_pinned(model.config):
            return

        def held(current: RemoteModel) -> Any:
            return pinned(current.config, current.live - {self.number}, policy_of(current.config), current.whole)

        if model.live:
            write_config(model, held)

    def _send(self, folder: Path, local: PublishedVersion) -> None:
        version = folder / str(self.number)
        main = local.artifact.path.relative_to(version).as_posix()
        beside = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != cfg.CONFIG)
        paths = [path.relative_to(folder).as_posix() for path in beside]
        ours = [path for path in paths if path.startswith(f"{self.number}/")]
        order = {f"{self.number}/{main}": 1}  # the model after its data, the record last of all
        ours.sort(key=lambda path: (2 if is_record(path) else order.get(path, 0), path))
        there = look(self.bucket, self.name).objects
        others = [path for path in paths if not path[0].isdigit() and path not in there]
        for path in [*others, *ours]:
            self.claim.renew()
            send_file(self.bucket, folder / path, model_key(self.bucket, self.name, path))

    def _commit(self, wanted: Any, comments: Sequence[str], start: RemoteModel) -> RemoteModel:
        self.claim.renew(at_once=True)  # or it is not ours any more

        def committed(current: RemoteModel) -> Any:
            if start.text is not None and current.text is None:
                raise RepositoryInvalid("the model was removed while it was being published", where=start.where)
            if current.text is not None:
                expected = start.config if start.text is not None else wanted
                if not alike(current.config, expected):
                    raise RepositoryInvalid(
                        f"the configuration of '{self.name}' was changed while it was being published",
                        where=f"{start.where}/{cfg.CONFIG}",
                        hint="run it again",
                    )
            base = wanted
            if labels_of(wanted) and current.text is not None:  # others' labels of meanwhile
                base = current.config
            live = next_live(base, current, self.number)
            if not live:
                raise RepositoryInvalid(
                    f"the version policy of '{self.name}' ({cfg.policy_text(base)}) would serve none of its versions",
                    where=f"{start.where}/{cfg.CONFIG}",
                )
            return pinned(base, live, policy_of(base), current.whole | {self.number})

        self.committing = True
        _, after = write_config(start, committed, comments=comments)
        self.committed = True
        return after


def _remove_older(model: RemoteModel, keep: int, served_before: frozenset[int]) -> tuple[int, ...]:
    """Remove what is older, but nothing that is in service, labelled, or was in service until now."""
    needed = {*model.live, *served_before, *labels_of(model.config).values()}
    whole = sorted(model.whole)
    leaving = [number for number in whole[: max(len(whole) - keep, 0)] if number not in needed]
    if leaving:
        left = model.whole - {*leaving}
        write_config(model, lambda now: pinned(now.config, now.live, policy_of(now.config), left))
    removed = []
    for number in leaving:
        claim = claims.take_over(model, number)  # from here on it is incomplete
        if claim is not None:
            now = look(model.bucket, model.name)
            if number not in now.live:
                claims.remove_version(now, number)
                removed.append(number)
            claim.remove()
    return tuple(removed)


def _is_pinned(config: Any) -> bool:
    return bool(config.version_policy.WhichOneof("policy_choice") == "specific")


def _is_newest(artifact: Artifact, model: RemoteModel) -> bool:
    """Whether the newest version in service has these very files; sizes are looked at before anything is read."""
    if model.text is None or not model.live:
        return False
    number = max(model.live)
    files = backend_for(artifact.format).load().placed_files(artifact)
    there = {name: found.size for name, found in model.files(number).items() if not is_beside(name)}
    if there != {name: path.stat().st_size for name, path in files.items()}:
        return False
    digests = digests_of(model, number, record_of(model, number))
    return digests == {name: file_sha256(path) for name, path in files.items()}


def _published_before(artifact: Artifact, model: RemoteModel, asked: Mapping[str, Any]) -> RemotePublished | None:
    """What the very same publishing did before: the options, too, are those of the version's record."""
    checked = check_options("publish", options_for(artifact.format), asked)
    record = record_of(model, max(model.live))
    if record is None or record.get("published", {}).get("options") != json.loads(json.dumps(checked)):
        return None
    return _as_it_was(artifact, model, "kept")


def _reconfigured(
    artifact: Artifact, model: RemoteModel, asked: Mapping[str, Any], record: Mapping[str, Any] | None
) -> RemotePublished:
    """The version that is in service already under the configuration that is asked for; no version is sent."""
    number = max(model.live)
    with tempfile.TemporaryDirectory(prefix="mlconvert-") as folder:
        scratch = Path(folder) / model.bucket.repository.prefix.rpartition("/")[2]
        mirror(model, scratch, newest_too=True)
        local = publish_in_a_folder(artifact, scratch, model.name, options=asked, record=record)
        if local.version != number:
            raise RepositoryInvalid(f"version {number} was changed while it was read", where=model.where)
        made = scratch / model.name
        wanted = cfg.read(made / cfg.CONFIG)
        for path in sorted(made.rglob("*")):
            name = path.relative_to(made).as_posix()
            if path.is_file() and not name[0].isdigit() and name != cfg.CONFIG and name not in model.objects:
                send_file(model.bucket, path, model.key(name))

        def written(current: RemoteModel) -> Any:
            if current.text is None or not alike(current.config, model.config):
                raise RepositoryInvalid(f"'{model.name}' was changed meanwhile", where=model.where, hint="run it again")
            live = next_live(wanted, current, number)
            if not live:
                raise RepositoryInvalid("the version policy would serve none of the versions", where=model.where)
            return pinned(wanted, live, policy_of(wanted), current.whole)

        before, after = write_config(model, written, comments=cfg.comments_of((made / cfg.CONFIG).read_text("utf-8")))
    done = _as_it_was(artifact, after, "kept" if before.text == after.text else "replaced")
    return replace(done, warnings=local.warnings)


def _as_it_was(artifact: Artifact, model: RemoteModel, state: Literal["kept", "replaced"]) -> RemotePublished:
    files = backend_for(artifact.format).load().placed_files(artifact)
    number = max(model.live)
    return RemotePublished(
        name=model.name,
        version=number,
        path=f"{model.where}/{number}",
        files=tuple(f"{model.where}/{number}/{name}" for name in files),
        config_path=f"{model.where}/{cfg.CONFIG}",
        config=state,
        bytes=sum(path.stat().st_size for path in files.values()),
        sha256=combine_sha256((name, file_sha256(path)) for name, path in files.items()),
        unchanged=state == "kept",
        live=True,
    )


def _model_files(folder: Path, number: int) -> list[str]:
    version = folder / str(number)
    found = (path for path in sorted(version.rglob("*")) if path.is_file())
    return [path.relative_to(version).as_posix() for path in found if path.name not in records.BESIDE]
