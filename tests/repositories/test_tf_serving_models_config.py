"""models.config: what is written reads back with TensorFlow Serving's own message, and what was there stays."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from tensorflow_serving.config import model_server_config_pb2

from mlconvert.errors import RepositoryInvalid
from mlconvert.repositories.policies import VersionPolicy, parse_policy
from mlconvert.repositories.tf_serving.models_config import Entry, entries, quoted, with_entry, without_entry
from mlconvert.repositories.tf_serving.textproto import fields_of

GOLDEN = Path(__file__).with_name("golden") / "tf_serving"

MINE = """\
# Ours, kept in git.
model_config_list: {
  config: {
    name: 'risk'  # the old one
    base_path: "/srv/"
               "risk"
    model_platform: "tensorflow";
    model_version_policy: { specific { versions: [1, 2] } }
    version_labels: [ { key: "stable", value: 1 }, { key: "canary" value: 2 } ]
    logging_config {
      sampling_config { sampling_rate: 0.5 }
      custom_logging_config { [type.googleapis.com/ours.Sink] { path: "/log # not a comment }" } }
    }
    field_of_a_newer_server { of: ANY kind: -1.5e3 }
  }
  # brackets of another kind
  config < name: "churn" base_path: "/srv/churn", model_type: TENSORFLOW >
}
"""


def real(text: str) -> model_server_config_pb2.ModelServerConfig:
    """As the server reads it; what only other servers know is left out first."""
    known = re.sub(r"    (field_of_a_newer_server|  custom_logging_config) .*\n", "", text)
    return text_format.Parse(known, model_server_config_pb2.ModelServerConfig())


def told(text: str) -> dict[str, Entry]:
    """The entries by the server's own message."""
    found = {}
    for row in real(text).model_config_list.config:
        policy = row.model_version_policy
        kind = policy.WhichOneof("policy_choice") or "latest"
        numbers = tuple(sorted(policy.specific.versions))
        chosen = VersionPolicy(kind, policy.latest.num_versions or 1, numbers)  # type: ignore[arg-type]
        found[row.name] = Entry(row.name, row.base_path, chosen, dict(row.version_labels))
    return found


def golden(name: str, text: str) -> None:
    path = GOLDEN / f"{name}.config"
    assert path.exists(), f"golden file missing: {path}; it should hold\n{text}"
    assert text == path.read_text()


def test_a_new_file() -> None:
    text = with_entry(None, Entry("churn", "/models/churn"), where="x")
    text = with_entry(text, Entry("risk", "/models/risk", parse_policy("latest:2")), where="x")
    labelled = Entry("churn", "/models/churn", parse_policy("1,3"), {"stable": 1, "canary": 3})
    text = with_entry(text, labelled, where="x")
    golden("new", text)
    assert told(text) == entries(text, where="x")
    assert with_entry(text, labelled, where="x") == text
    assert without_entry(text, "risk", where="x") == with_entry(None, labelled, where="x")
    assert without_entry(text, "nobody", where="x") == text


def test_what_is_written_by_hand_stays() -> None:
    before = entries(MINE, where="x")
    assert before == told(MINE)
    assert before["risk"].labels == {"stable": 1, "canary": 2}
    assert before["risk"].base_path == "/srv/risk"
    text = with_entry(MINE, Entry("new", "/srv/new"), where="x")
    assert told(text).keys() == {"risk", "churn", "new"}
    text = with_entry(text, Entry("risk", "/srv/risk", parse_policy("2"), {"stable": 2}), where="x")
    text = with_entry(text, Entry("churn", "/srv/churn", parse_policy("all")), where="x")
    golden("by_hand", text)
    assert told(text) == entries(text, where="x")
    assert with_entry(text, Entry("risk", "/srv/risk"), where="x").count("version_labels") == 0


@pytest.mark.parametrize(
    "text",
    ["", "# nothing yet", "model_config_list { }", "model_config_list {}\n", 'model_config_list: <config {name: "a"}>'],
)
def test_files_that_say_little(text: str) -> None:
    changed = with_entry(text, Entry("m", "/models/m"), where="x")
    assert told(changed)["m"] == Entry("m", "/models/m")
    assert changed.replace("\n", "").startswith(text.rstrip("} >\n"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model_config_list {", "a '}' is missing"),
        ("model_config_list { config }", "'config' has no value"),
        ("model_config_list { config [ { } }", "has no end"),
        ('model_config_list { config { name: "a }', "not expected"),
        ("model_config_list { config { name: 3 } }", "not a models.config"),
        ("model_config_list: " + "{ config: " * 200, "nested too deeply"),
        ('model_config_list { config { name: "a" } config { name: "a" } }', "names the model 'a' twice"),
        ("custom_model_config { }", "custom_model_config"),
        ('model_config_list { config { name: "m" model_platform: "other" } }', "for model_platform"),
        ('model_config_list { config { name: "m" base_path: "/models/m" model_platform: "x" } }', "for model_platform"),
        ("model_config_list { config { model_version_policy { all {} latest {} } } }", "not a models.config"),
    ],
)
def test_files_that_are_none(text: str, words: str) -> None:
    with pytest.raises(RepositoryInvalid, match=words) as caught:
        with_entry(text, Entry("m", "/models/m"), where="models.config")
    assert (caught.value.where or "").startswith("models.config")


def test_an_entry_in_brackets_is_changed_and_not_removed() -> None:
    text = 'model_config_list { config: [ { name: "a" }, { name: "b" base_path: "/b" } ] }'
    changed = with_entry(text, Entry("b", "/c", parse_policy("all")), where="x")
    assert told(changed) == {"a": Entry("a", ""), "b": Entry("b", "/c", parse_policy("all"))}
    with pytest.raises(RepositoryInvalid, match="list in brackets"):
        without_entry(changed, "b", where="x")


NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.+=@-]{0,8}", fullmatch=True)
POLICIES = st.one_of(
    st.just(VersionPolicy("all")),
    st.integers(1, 9).map(lambda count: VersionPolicy("latest", count)),
    st.sets(st.integers(1, 1 << 62), min_size=1, max_size=3).map(
        lambda numbers: VersionPolicy("specific", versions=tuple(sorted(numbers)))
    ),
)
ENTRIES = st.builds(
    Entry,
    NAMES,
    st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12),
    POLICIES,
    st.dictionaries(st.text(min_size=1, max_size=4), st.integers(1, 1 << 62), max_size=3),
)


@given(st.lists(ENTRIES, max_size=6), st.sampled_from([None, MINE, MINE.replace("\n", "\r\n")]))
def test_any_entries_one_after_the_other(added: list[Entry], start: str | None) -> None:
    text, expected = start, entries(start, where="x")
    for entry in added:
        if entry.name in ("risk", "churn"):
            continue
        text, before = with_entry(text, entry, where="x"), text
        expected[entry.name] = entry
        assert entries(text, where="x") == expected
        if before is not None and entry.name not in entries(before, where="x"):
            again = without_entry(text, entry.name, where="x")
            assert again == before or fields_of(before, where="x") == ()
    if text is not None:
        assert told(text) == expected
    if start is not None and text is not None:
        assert [line for line in start.splitlines() if line not in text.splitlines()] == []


@given(st.text(st.characters(codec="utf-8")))
def test_strings_read_back(text: str) -> None:
    parsed = text_format.Parse(f"name: {quoted(text)}", model_server_config_pb2.ModelConfig())
    assert parsed.name == text


@given(st.text(alphabet='ab:{}<>[],;"#\n \\1.', max_size=30))
def test_nonsense_is_refused_and_nothing_else_happens(text: str) -> None:
    try:
        found = entries(text, where="x")
    except RepositoryInvalid:
        return
    assert found == {}
