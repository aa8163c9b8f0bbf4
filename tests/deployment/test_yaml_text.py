"""The YAML that is written reads back as the data that it was written from, comments or not."""

from __future__ import annotations

import yaml
from hypothesis import given
from hypothesis import strategies as st

from mlconvert.deployment.yaml_text import Noted, as_data, to_yaml

LINES = st.text("ab :#-'\"\\é\t{}[]%&*!|>@`", max_size=12)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**6), 10**6),
    LINES,
    st.sampled_from(
        ["on", "Yes", "null", "~", "1000:1000", "1e3", "0x1", "8g", "a: b", "# c", "- d", "2026-01-01", ""]
    ),
)


def nested(inner: st.SearchStrategy) -> st.SearchStrategy:
    values = st.one_of(inner, inner.map(lambda value: Noted(value, "why\n\nand how")))
    return st.one_of(st.lists(values, max_size=3).filter(no_list_in_it), st.dictionaries(LINES, values, max_size=3))


def no_list_in_it(items: list) -> bool:
    return not any(isinstance(as_data(item), list) for item in items)  # our files have none


@given(st.dictionaries(LINES, st.recursive(SCALARS, nested, max_leaves=12), max_size=4))
def test_what_is_written_is_read_back(data):
    assert (yaml.safe_load(to_yaml(data)) or {}) == as_data(data)


def test_comments_stand_above_their_keys():
    text = to_yaml({"a": Noted(1, "why\nso"), "b": [Noted({"c": Noted(True, "inner")}, "first"), "x"], "d": "1:2"})
    assert text == (
        "# why\n# so\na: 1\nb:\n  # first\n  -\n    # inner\n    c: true\n  - x\n"  # nothing may follow a dash
        'd: "1:2"\n'
    )


def test_long_text_is_a_block():
    assert yaml.safe_load(to_yaml({"a": "x: 1\n\n  y\n"})) == {"a": "x: 1\n\n  y\n"}
