"""Options: read from a converter's signature, checked, and parsed from a command line."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlconvert.converter import LocalFile, check_options, option_files, options_of, parse_settings
from mlconvert.errors import UsageError

if TYPE_CHECKING:
    import torch


def convert(
    source: torch.nn.Module,  # cannot be resolved here, and need not be
    target: Any,
    *,
    opset: Annotated[int, "of ai.onnx"] = 18,
    factor: float | None = None,
    fast: bool = False,
    mode: Literal["basic", "all", 3] = "all",
    name: Annotated[str | None, "of the graph"] = None,
    inputs: tuple[str, ...] = (),
    sizes: tuple[int, ...] = (),
    dynamic: dict[str, tuple[str, ...]] | None = None,
    renames: dict[str, str] | None = None,
    samples: Any = None,
):
    raise AssertionError


KNOWN = options_of(convert)


def checked(**values):
    return check_options("step", KNOWN, values)


def test_options_are_the_keyword_only_parameters():
    assert list(KNOWN) == ["opset", "factor", "fast", "mode", "name", "inputs", "sizes", "dynamic", "renames"]
    assert (KNOWN["opset"].type, KNOWN["opset"].default, KNOWN["opset"].help) == (int, 18, "of ai.onnx")
    assert (KNOWN["name"].type, KNOWN["name"].default, KNOWN["name"].help) == (str, None, "of the graph")
    names = {name: option.type_name for name, option in KNOWN.items()}
    assert names == {
        "opset": "integer", "factor": "number", "fast": "yes|no", "mode": "basic|all|3", "name": "text",
        "inputs": "A,B,…", "sizes": "A,B,…", "dynamic": "NAME=A,B;NAME=…", "renames": "NAME=VALUE;NAME=…",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("opset", "17", 17), ("opset", 17, 17), ("opset", 17.0, 17),
        ("factor", "0.5", 0.5), ("factor", 1, 1.0), ("factor", "1e-3", 0.001),
        ("fast", "yes", True), ("fast", "FALSE", False), ("fast", True, True), ("fast", "0", False), ("fast", 1, True),
        ("mode", "basic", "basic"), ("mode", "3", 3), ("mode", 3, 3),
        ("name", "graph", "graph"), ("name", "", ""), ("name", 7, "7"),
        ("inputs", "a, b", ("a", "b")), ("inputs", ["a", "b"], ("a", "b")), ("inputs", "a", ("a",)), ("inputs", [], ()),
        ("sizes", "1,2", (1, 2)), ("sizes", [1, 2], (1, 2)),
        ("dynamic", "x=batch,seq; y=batch", {"x": ("batch", "seq"), "y": ("batch",)}),
        ("dynamic", {"x": ["batch"]}, {"x": ("batch",)}),
        ("renames", "a=b;", {"a": "b"}), ("renames", {"a": "b"}, {"a": "b"}),
    ],
)  # fmt: skip
def test_values_become_what_the_function_wants(name, given, expected):
    value = checked(**{name: given})[name]
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("opset", "17.5"), ("opset", 17.5), ("opset", "x"), ("opset", True), ("opset", None), ("opset", ""),
        ("opset", math.inf), ("opset", math.nan), ("opset", [1]),
        ("factor", "nan"), ("factor", "inf"), ("factor", math.nan), ("factor", "1e999"), ("factor", False),
        ("factor", "9" * 400), ("fast", "maybe"), ("fast", 2), ("fast", None), ("mode", "most"), ("mode", None),
        ("name", None), ("name", ["a"]), ("name", {"a": 1}),
        ("inputs", ""), ("inputs", "a,,b"), ("inputs", "a,"), ("inputs", 5), ("inputs", None), ("inputs", {"a": 1}),
        ("sizes", "1,x"), ("sizes", [1.5]),
        ("dynamic", "x"), ("dynamic", ""), ("dynamic", ["x"]), ("dynamic", 3), ("dynamic", "=a"), ("dynamic", None),
        ("dynamic", {"x": {"y": "z"}}),
    ],
)  # fmt: skip
def test_values_of_the_wrong_type_are_refused(name, given):
    with pytest.raises(UsageError, match=rf"step\.{name}=.* is not valid: expected "):
        checked(**{name: given})


def test_an_unknown_option_is_refused_with_the_nearest_one():
    with pytest.raises(
        UsageError, match=re.escape("step 'step' has no option 'opste'. Did you mean 'opset'?")
    ) as caught:
        checked(opste=1)
    assert (caught.value.hint or "").startswith("its options: opset, factor")
    with pytest.raises(UsageError) as caught:
        check_options("bare", {}, {"x": 1})
    assert caught.value.hint == "its options: none"


@given(st.integers(-(10**12), 10**12))
def test_integers_survive_their_text(number):
    assert checked(opset=str(number)) == {"opset": number} == checked(opset=number)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_survive_their_text(number):
    assert checked(factor=repr(number)) == {"factor": number} == checked(factor=number)


WORDS = st.text("abcxyz_.0-9", min_size=1)


@given(st.lists(WORDS, min_size=1))
def test_lists_survive_their_text(words):
    assert checked(inputs=",".join(words)) == {"inputs": tuple(words)} == checked(inputs=words)


@given(st.dictionaries(WORDS, st.lists(WORDS, min_size=1).map(tuple), min_size=1))
def test_axes_survive_their_text(axes):
    text = ";".join(f"{name}={','.join(names)}" for name, names in axes.items())
    assert checked(dynamic=text) == {"dynamic": axes} == checked(dynamic={k: list(v) for k, v in axes.items()})


def test_settings_are_a_step_an_option_and_a_value():
    texts = [
        "onnx.opset=17",
        "opset=17",
        "int8-static.per-channel=yes",
        "onnx.dynamic=a=b,c;d=e",
        " onnx . x = y",
        "a=",
    ]
    assert parse_settings(texts) == (
        ("onnx", "opset", "17"),
        (None, "opset", "17"),
        ("int8-static", "per_channel", "yes"),
        ("onnx", "dynamic", "a=b,c;d=e"),
        ("onnx", "x", " y"),
        (None, "a", ""),
    )
    assert parse_settings(None) == ()


@pytest.mark.parametrize("text", ["opset", "", "=17", ".opset=17", "onnx.=17", " =1"])
def test_what_is_not_a_setting_is_refused(text):
    with pytest.raises(UsageError, match=r"is not STEP\.OPTION=VALUE"):
        parse_settings([text])


# --- options that name files ---


def with_files(source: Any, target: Any, *, library: LocalFile | None = None, more: tuple[LocalFile, ...] = ()):
    raise AssertionError


FILES = options_of(with_files)


def test_options_name_files_by_absolute_paths(tmp_path):
    first, second = tmp_path / "a.so", tmp_path / "b.so"
    for path in (first, second):
        path.touch()
    given = check_options("step", FILES, {"library": str(first), "more": f"{first},{second}"})
    assert given == {"library": str(first), "more": (str(first), str(second))}
    assert option_files(FILES, given) == [first, first, second]
    assert option_files(KNOWN, {"inputs": ("a.so",), "name": "a.so"}) == []
    assert [FILES[name].type_name for name in FILES] == ["FILE", "FILE,FILE,…"]


@pytest.mark.parametrize(
    ("given", "message", "hint"),
    [
        ({"library": "a.so"}, "step.library: a.so is no absolute path", '--set step.library="$PWD/a.so"'),
        ({"more": "/no/such/a.so"}, "step.more: there is no file /no/such/a.so", None),
        ({"library": "/"}, "step.library: there is no file /", None),
        ({"library": ["a.so"]}, "expected FILE", None),
    ],
)
def test_files_that_are_not_there_are_told_by_the_plan(given, message, hint):
    with pytest.raises(UsageError) as caught:
        check_options("step", FILES, given)
    assert message in caught.value.message
    assert caught.value.hint == hint
