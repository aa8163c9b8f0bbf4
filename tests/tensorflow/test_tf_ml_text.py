"""TfIdfVectorizer and the Tokenizer of text pipelines, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from mlconvert.errors import ConversionFailed
from mlconvert.pipelines.text import word_characters

RANDOM = np.random.default_rng(5)
WORDS = ["der", "die", "Größe", "", "mit", "№"]
POOL = [0, 1, 2, 4, 0, 1, 1, 2, 0, 0, 0, 1, 2, 2, 2, 1]  # 4 single tokens, 3 pairs, 2 triples
PLAIN = {
    "ngram_counts": [0, 4, 10],
    "ngram_indexes": [3, 0, 2, 7, 1, 5, 4, 8, 6],
    "mode": "TF",
    "min_gram_length": 1,
    "max_gram_length": 3,
    "max_skip_count": 0,
}
WEIGHTS = [10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0]
ASCII = r"[\x{61}-\x{7A}]"


def strings(texts, shape=None):
    made = np.empty(len(texts), dtype=object)
    made[:] = texts
    return made.reshape(shape or (len(texts),))


def in_onnxruntime(model, feeds):
    """What ONNX Runtime gives, strings as UTF-8."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    found = onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, feeds)
    return [
        strings([str(word).encode() for word in one.reshape(-1)], one.shape) if one.dtype == object else one
        for one in found
    ]


@pytest.fixture
def node_agrees(graph_agrees):
    def check(op, x, *, domain="", rank=None, wanted=None, lengths=(True,), **given):
        element = onnx.TensorProto.STRING if x.dtype == object else helper.np_dtype_to_tensor_dtype(x.dtype)
        node = helper.make_node(op, ["x"], ["out"], domain=domain, **given)
        graph = helper.make_graph(
            [node],
            "one",
            [helper.make_tensor_value_info("x", element, x.shape)],
            [
                helper.make_tensor_value_info("out", onnx.TensorProto.STRING, [None] * rank)
                if rank
                else helper.make_empty_tensor_value_info("out")
            ],
        )
        opsets = [helper.make_opsetid("", 22), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        model = model if domain else onnx.shape_inference.infer_shapes(model)
        wanted = in_onnxruntime(model, {"x": x}) if wanted is None else wanted
        return graph_agrees(model, {"x": x}, wanted=wanted, lengths=lengths)

    return check


def tokenizer(node_agrees, texts, **given):
    given = {"mark": 0, "mincharnum": 1, "pad_value": "#", **given}
    return node_agrees("Tokenizer", texts, domain="com.microsoft", rank=texts.ndim + 1, **given)


def draw(shape):
    """The same numbers as integers and as words."""
    numbers = RANDOM.integers(0, 6, shape)
    return numbers, strings([WORDS[number] for number in numbers.reshape(-1)], shape)


@pytest.mark.parametrize(
    ("skips", "shortest", "longest"), [(0, 1, 1), (0, 1, 3), (1, 2, 3), (3, 1, 3), (3, 2, 2), (1, 3, 3)]
)
def test_grams_are_counted(node_agrees, skips, shortest, longest):
    given = {**PLAIN, "max_skip_count": skips, "min_gram_length": shortest, "max_gram_length": longest}
    numbers, words = draw((4, 9))
    node_agrees("TfIdfVectorizer", numbers.astype(np.int32), pool_int64s=POOL, **given)
    node_agrees("TfIdfVectorizer", words[0], pool_strings=[WORDS[number] for number in POOL], **given)


@pytest.mark.parametrize("shape", [(7,), (2, 1), (1,), (3, 0)])
def test_grams_of_short_rows_are_counted(node_agrees, shape):
    numbers, words = draw(shape)
    node_agrees("TfIdfVectorizer", numbers, pool_int64s=POOL, lengths=(False, True), **PLAIN)
    node_agrees("TfIdfVectorizer", words, pool_strings=[WORDS[number] for number in POOL], **PLAIN)


@pytest.mark.parametrize("mode", ["TF", "IDF", "TFIDF"])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_a_weight_is_that_of_a_gram_and_not_of_a_column(node_agrees, mode, weights):
    given = {**PLAIN, "mode": mode} | ({"weights": weights} if weights else {})
    node_agrees("TfIdfVectorizer", RANDOM.integers(0, 4, (5, 12)).astype(np.int32), pool_int64s=POOL, **given)


def test_columns_without_a_gram_stay_zero(node_agrees):
    given = {**PLAIN, "ngram_indexes": [13, 0, 2, 7, 1, 5, 4, 8, 6], "mode": "TFIDF", "weights": WEIGHTS}
    node_agrees("TfIdfVectorizer", RANDOM.integers(0, 4, (5, 12)), pool_int64s=POOL, **given)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"mode": "tf"}, "mode"),
        ({"weights": [1.0]}, "weights"),
        ({"pool_int64s": [0, 1, 1, *POOL[3:]]}, "twice"),
        ({"pool_strings": ["a"]}, "either"),
    ],
)
def test_a_wrong_vectorizer_is_refused(node_agrees, change, told):
    with pytest.raises(ConversionFailed, match=told):
        node_agrees(
            "TfIdfVectorizer", np.zeros((1, 3), np.int64), wanted=[], **{**PLAIN, "pool_int64s": POOL, **change}
        )


@pytest.mark.parametrize("least", [1, 2, 3])
@pytest.mark.parametrize("expression", [f"{ASCII}+", rf"{ASCII}*İ|{ASCII}+"])
def test_texts_are_cut_into_words(node_agrees, least, expression):
    texts = strings(["ab c def", "", "a", "aİb İ abİcd İİ", "x\ny\x00zz\tabc", "A-b_c", "İa", "\ufffdab"])
    tokenizer(node_agrees, texts.reshape((2, 4) if least == 2 else (8,)), tokenexp=expression, mincharnum=least)


def test_texts_without_a_word_have_none(node_agrees):
    (words,) = tokenizer(node_agrees, strings(["", "-"]), tokenexp=f"{ASCII}+")
    assert words.shape == (2, 0)


@pytest.mark.parametrize("lower", [False, True])
def test_words_are_those_of_python_in_all_of_unicode(node_agrees, lower):
    letters = word_characters("İ" if lower else "")
    expression = f"[{letters}]*İ|[{letters}]+" if lower else f"[{letters}]+"
    codes = [chr(code) for code in range(1, 0x110000, 7) if not 0xD800 <= code < 0xE000]
    texts = ["".join(RANDOM.choice(codes[: 5000 if row < 8 else None], 200)) for row in range(16)]
    tokenizer(node_agrees, strings(texts), tokenexp=expression, mincharnum=2, pad_value="\x01")


@pytest.mark.parametrize(
    "change",
    [
        {"tokenexp": r"\w+"},
        {"tokenexp": rf"{ASCII}*z|{ASCII}+"},  # the end is a letter too: words would be other ones
        {"tokenexp": rf"[\x{{61}}]*İ|{ASCII}+"},
        {"tokenexp": r"[\x{20}-\x{7A}]+"},
        {"tokenexp": f"{ASCII}+", "mark": 1},
        {"separators": [" "]},
    ],
)
def test_other_tokenizers_are_refused(node_agrees, change):
    given = {"mark": 0, "mincharnum": 1, "pad_value": "#", **change}
    with pytest.raises(ConversionFailed, match="Tokenizer"):
        node_agrees("Tokenizer", strings(["a b"]), domain="com.microsoft", rank=2, wanted=[], **given)
