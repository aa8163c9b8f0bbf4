"""models.config: which models a server has, where they lie, which of their versions it serves, what their labels are.

One file for all models of a repository, and often written by hand as well. So of a model's entry only the fields that
change are written, and everything else stays as it is, byte for byte: other entries, comments, fields of newer servers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlconvert.errors import MlconvertError, RepositoryInvalid
from mlconvert.repositories import staging
from mlconvert.repositories.policies import LATEST, VersionPolicy
from mlconvert.repositories.tf_serving.textproto import (
    Edit,
    Field,
    before_closing,
    edited,
    fields_of,
    indentation,
)
from mlconvert.serving.tf_serving.messages import message, pool

CONFIG = "models.config"
PLATFORM = "tensorflow"
HEAD = "# The models of this repository. mlconvert changes the entries of models that it publishes, and nothing else.\n"


@dataclass(frozen=True)
class Entry:
    """What mlconvert writes of a model's entry."""

    name: str
    base_path: str  # the model's folder, as the server sees it
    policy: VersionPolicy = LATEST
    labels: Mapping[str, int] = field(default_factory=dict)

    def lines(self) -> list[str]:
        return [
            f"name: {quoted(self.name)}",
            f"base_path: {quoted(self.base_path)}",
            f"model_platform: {quoted(PLATFORM)}",
            *self.written("model_version_policy"),
            *self.written("version_labels"),
        ]

    def written(self, name: str) -> list[str]:
        """The lines of one field."""
        if name == "base_path":
            return [f"base_path: {quoted(self.base_path)}"]
        if name == "version_labels":
            return [
                f"version_labels {{ key: {quoted(label)} value: {number} }}"
                for label, number in sorted(self.labels.items())
            ]
        if self.policy.kind == "latest":
            inside = f"latest {{ num_versions: {self.policy.count} }}"
        elif self.policy.kind == "all":
            inside = "all { }"
        else:
            inside = f"specific {{ {' '.join(f'versions: {number}' for number in self.policy.versions)} }}"
        return [f"model_version_policy {{ {inside} }}"]


_CHANGED = ("base_path", "model_version_policy", "version_labels")


def quoted(text: str) -> str:
    """A string of the text format: escapes for what is not a plain character of ASCII."""
    plain = {'"': '\\"', "\\": "\\\\"}
    return '"' + "".join(plain.get(c, c if " " <= c <= "~" else _octal(c)) for c in text) + '"'


def _octal(character: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in character.encode())


# --- reading ---


def read(repository: Path) -> str | None:
    """The text of a repository's models.config, None where there is none. Raises RepositoryInvalid."""
    path = repository / CONFIG
    if path.is_symlink():
        raise RepositoryInvalid(
            f"{CONFIG} is a link: a change would come in its place",
            where=str(path),
            hint="put the file itself into the repository",
        )
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise RepositoryInvalid(f"not a {CONFIG}: not UTF-8 text", where=str(path)) from error


def entries(text: str | None, *, where: str) -> dict[str, Entry]:
    """The entries of a models.config by the names of their models. Raises RepositoryInvalid with file and line."""
    found: dict[str, Entry] = {}
    for row in parsed(text, where=where).model_config_list.config if text else ():
        if row.name in found:
            raise RepositoryInvalid(f"{CONFIG} names the model '{row.name}' twice", where=where)
        found[row.name] = Entry(row.name, row.base_path, _policy(row), dict(sorted(row.version_labels.items())))
    return found


def parsed(text: str, *, where: str) -> Any:
    """The message, without what only servers with other types than ours could read."""
    from google.protobuf import text_format

    config = message("ModelServerConfig")()
    known = _blanked(text, _strange(fields_of(text, where=where)))
    try:
        text_format.Parse(known, config, descriptor_pool=pool(), allow_unknown_field=True)
    except text_format.ParseError as error:
        line = f":{error.GetLine()}" if error.GetLine() else ""
        raise RepositoryInvalid(f"not a {CONFIG} of TensorFlow Serving: {error}", where=f"{where}{line}") from error
    if config.WhichOneof("config") == "custom_model_config":
        raise RepositoryInvalid(
            f"{CONFIG} has a custom_model_config, beside which there can be no list of models",
            where=where,
            hint="publish into a repository of its own",
        )
    return config


def _strange(fields: tuple[Field, ...]) -> Iterator[Field]:
    """Extensions and the contents of google.protobuf.Any, whose types are not ours to know."""
    for one in fields:
        if one.name.startswith("["):
            yield one
        else:
            yield from _strange(one.fields)


def _blanked(text: str, fields: Iterator[Field]) -> str:
    """The text with blanks for these fields, so that every line keeps its number."""
    for one in fields:
        text = text[: one.start] + re.sub(r"[^\n]", " ", text[one.start : one.end]) + text[one.end :]
    return text


def _policy(row: Any) -> VersionPolicy:
    policy = row.model_version_policy
    kind = policy.WhichOneof("policy_choice")
    if kind == "specific":
        return VersionPolicy("specific", versions=tuple(sorted(set(policy.specific.versions))))
    return VersionPolicy("all") if kind == "all" else VersionPolicy("latest", policy.latest.num_versions or 1)


# --- writing ---


def with_entry(text: str | None, entry: Entry, *, where: str) -> str:
    """The text with that entry in place of the model's old one, or added to the list. Raises RepositoryInvalid."""
    before = entries(text, where=where)
    text = text if text is not None else HEAD
    fields = fields_of(text, where=where)
    lists = [one for one in fields if one.name == "model_config_list"]
    block = _block_of(text, entry.name, lists)
    if block is not None:
        _check_platform(text, block, entry.name, where)
        if before[entry.name] == entry:
            return text
        changed = edited(text, _changes(text, block, before[entry.name], entry))
    elif lists:
        changed = edited(text, [before_closing(text, lists[-1].body_end, _as_block(entry))])
    else:
        new = "" if text.endswith("\n") or not text else "\n"
        listed = "".join(f"  {line}\n" for line in _as_block(entry))
        changed = f"{text}{new}model_config_list {{\n{listed}}}\n"
    _check_written(changed, {**before, entry.name: entry}, where)
    return changed


def without_entry(text: str, name: str, *, where: str) -> str:
    """The text without the model's entry."""
    before = entries(text, where=where)
    lists = [one for one in fields_of(text, where=where) if one.name == "model_config_list"]
    block = _block_of(text, name, lists)
    if block is None:
        return text
    if [one.start for one in lists[0].of("config")].count(block.start) > 1:
        what = f"the entry of '{name}' in {CONFIG} is one of a list in brackets, out of which mlconvert takes none"
        raise RepositoryInvalid(what, where=where, hint="take it out by hand")
    changed = edited(text, [Edit(block.start, block.end)])
    _check_written(changed, {key: value for key, value in before.items() if key != name}, where)
    return changed


def _check_written(text: str, expected: Mapping[str, Entry], where: str) -> None:
    if entries(text, where=where) != expected:
        raise MlconvertError(f"{CONFIG} does not read back as it was written", where=text)


def _as_block(entry: Entry) -> list[str]:
    return ["config {", *(f"  {line}" for line in entry.lines()), "}"]


def _block_of(text: str, name: str, lists: list[Field]) -> Field | None:
    """The entry of the model, where it stands."""
    from google.protobuf import text_format

    for block in (block for one in lists for block in one.of("config")):
        for one in block.of("name"):
            named = message("ModelConfig")()
            text_format.Parse(text[one.start : one.end], named, descriptor_pool=pool())
            if named.name == name:
                return block
    return None


def _check_platform(text: str, block: Field, name: str, where: str) -> None:
    for one in block.of("model_platform"):
        if one.value is not None and one.value[1:-1] != PLATFORM:
            raise RepositoryInvalid(
                f"the entry of '{name}' in {CONFIG} is for model_platform {one.value}, not for TensorFlow",
                where=f"{where}:{text.count(chr(10), 0, one.start) + 1}",
                hint="publish it under another name",
            )


def _changes(text: str, block: Field, before: Entry, entry: Entry) -> list[Edit]:
    edits, added = [], []
    for name in _CHANGED:
        lines = entry.written(name)
        if lines == before.written(name):
            continue
        spans = list(dict.fromkeys((one.start, one.end) for one in block.of(name)))
        if not spans:
            added += lines
            continue
        glue = f"\n{indentation(text, spans[0][0])}"
        edits.append(Edit(*spans[0], glue.join(lines)))
        edits += [Edit(start, end) for start, end in spans[1:]]
    if added:
        edits.append(before_closing(text, block.body_end, added))
    return edits


def put(path: Path, content: bytes, work: Path) -> None:
    """Put the file in the place of the one that is there, in one rename."""
    folder = work / "config"
    folder.mkdir(exist_ok=True)
    staged = folder / path.name
    staged.unlink(missing_ok=True)  # of a change that failed
    staging.write_bytes(content, staged)
    staging.sync(staged)
    staged.replace(path)
    staging.sync(path.parent)
