"""Operators of strings, against ONNX Runtime: what the ONNX node cases do not hold."""

from __future__ import annotations

import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from mlconvert.errors import ConversionFailed

TEXTS = ["a  b c ", "  a b  c", "", "   ", "a\u00a0b\u3000c", "ein Wörtchen", "x", "a\tb\nc d"]
LISTS = ["a,,b,c,", ",a", "", "x", ",,", "é,ü,ß"]
EVERY = "".join(chr(code) for code in range(1, sys.maxunicode + 1) if not 0xD800 <= code < 0xE000)


def strings(*texts, shape=None):
    made = np.empty(len(texts), dtype=object)
    made[:] = texts
    return made.reshape(shape or (len(texts),))


def in_onnxruntime(model, feeds):
    """What ONNX Runtime gives, strings as UTF-8."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    found = onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, feeds)
    return [
        strings(*[str(word).encode() for word in one.reshape(-1)], shape=one.shape) if one.dtype == object else one
        for one in found
    ]


@pytest.fixture
def strings_agree(graph_agrees):
    """A node of string inputs in the graphs that know the lengths and in those that do not."""

    def check(op, *inputs, outputs=1, wanted=None, lengths=(True,), **given):
        names = [f"x{number}" for number in range(len(inputs))]
        node = helper.make_node(op, names, [f"out{number}" for number in range(outputs)], **given)
        graph = helper.make_graph(
            [node],
            "one",
            [
                helper.make_tensor_value_info(name, onnx.TensorProto.STRING, array.shape)
                for name, array in zip(names, inputs, strict=True)
            ],
            [helper.make_empty_tensor_value_info(name) for name in node.output],
        )
        feeds = dict(zip(names, inputs, strict=True))
        if not inputs[0].ndim:  # the fixtures cannot compare a string of rank 0: it becomes a vector
            graph.node[0].output[0] = "scalar"
            graph.node.append(helper.make_node("Reshape", ["scalar", "length"], ["out0"]))
            graph.initializer.append(helper.make_tensor("length", onnx.TensorProto.INT64, [1], [-1]))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
        model = onnx.shape_inference.infer_shapes(model)
        wanted = in_onnxruntime(model, feeds) if wanted is None else wanted
        return graph_agrees(model, feeds, wanted=wanted, lengths=lengths)

    return check


@pytest.mark.parametrize("shapes", [((), ()), ((2, 1), (3,)), ((0,), (1,)), ((2,), ())])
def test_strings_are_joined_with_broadcasting(strings_agree, shapes):
    one, other = (strings(*["aé", "ß", "", "x y", "zz", "q"][: int(np.prod(s))], shape=s) for s in shapes)
    strings_agree("StringConcat", one, other, lengths=(False, True))


@pytest.mark.parametrize("maxsplit", [None, -1, 0, 1, 2, 7])
def test_strings_are_split(strings_agree, maxsplit):
    given = {} if maxsplit is None else {"maxsplit": maxsplit}
    strings_agree("StringSplit", strings(*TEXTS), outputs=2, **given)
    strings_agree("StringSplit", strings(*LISTS), outputs=2, delimiter=",", **given)
    strings_agree(
        "StringSplit", strings("a::b:::c", "::::", "", "::", shape=(2, 2)), outputs=2, delimiter="::", **given
    )


def test_strings_without_a_part_or_without_an_element_are_split(strings_agree):
    strings_agree("StringSplit", strings("", " "), outputs=2)
    strings_agree("StringSplit", strings("", ""), outputs=2, delimiter=",", maxsplit=1)
    strings_agree("StringSplit", strings("a b", shape=()), outputs=2)
    strings_agree("StringSplit", strings(), outputs=2)
    strings_agree("StringSplit", strings(shape=(2, 0)), outputs=2, delimiter=",", maxsplit=1)


@pytest.mark.parametrize("pattern", [r"\w+@\w+\.com", "(?i)é.*", ".*", "", r"\p{Lu}+"])
def test_whole_strings_are_matched(strings_agree, pattern):
    texts = strings("a@b.com", "É und e", "", "ÄÖ", "a\nb", "a@b.com ", shape=(2, 3))
    strings_agree("RegexFullMatch", texts, pattern=pattern)


def test_a_wrong_expression_is_refused_at_conversion(strings_agree):
    with pytest.raises(ConversionFailed, match="RegexFullMatch"):
        strings_agree("RegexFullMatch", strings("a"), pattern="(", wanted=[])


@pytest.mark.parametrize(
    ("action", "locale"),
    [("LOWER", "C.UTF-8"), ("UPPER", "C.UTF-8"), ("LOWER", "C"), ("UPPER", "C"), ("NONE", "C.UTF-8")],
)
def test_every_character_changes_its_case_as_in_onnx_runtime(strings_agree, action, locale):
    strings_agree("StringNormalizer", strings(EVERY, "ΟΔΟΣ İẞ"), case_change_action=action, locale=locale)


@pytest.mark.parametrize("stopwords", [["A", "Ünd", "oder"], ["A", "Ünd", "ODER", "b", "ünd", "a"]])
@pytest.mark.parametrize("sensitive", [0, 1])
@pytest.mark.parametrize("action", ["LOWER", "UPPER", "NONE"])
def test_stop_words_are_left_out(strings_agree, stopwords, sensitive, action):
    shape = (5,) if sensitive else (1, 5)
    strings_agree(
        "StringNormalizer", strings("a", "B", "ünd", "ÜND", "ODER", shape=shape), stopwords=stopwords,
        is_case_sensitive=sensitive, case_change_action=action, locale="C.UTF-8",
    )  # fmt: skip


def test_where_all_words_are_stop_words_one_empty_string_is_left(strings_agree):
    for shape in ((2,), (1, 2)):
        strings_agree("StringNormalizer", strings("a", "B", shape=shape), stopwords=["A", "b"], locale="C.UTF-8")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"case_change_action": "LOWER", "locale": "tr_TR.UTF-8"}, "tr_TR"),
        ({"case_change_action": "lower"}, "case_change_action"),
    ],
)
def test_what_a_normalizer_cannot_do_is_refused(strings_agree, given, told):
    with pytest.raises(ConversionFailed, match=told):
        strings_agree("StringNormalizer", strings("a"), wanted=[], **given)


def test_more_than_one_row_is_refused(strings_agree):
    with pytest.raises(ConversionFailed, match="takes"):
        strings_agree("StringNormalizer", strings("a", "b", shape=(2, 1)), wanted=[], lengths=(False,))
