"""Vectorisers cut, lower and count nasty texts as Python does, and refuse by name what they cannot."""

from __future__ import annotations

import re
import sys

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline, make_union

from mlconvert.errors import ConversionFailed
from mlconvert.pipelines.text import word_characters

from .conftest import fitted

TEXTS = [
    "the cat sat on the mat",
    "a dog's life! ÉTÉ été Été",
    "İstanbul DİL İİ İb aİİb di stanbul istanbul",
    "one two, three one ONE two one",
    "",
    "!!! ... ",
    "42 x2 _a_ a_b ²³ ½ Ⅷ",
    "naïve café cafe\u0301 co\u0301te",
    "日本語 テスト 中文",
    "word\tword\nword  word\u00a0word",
    "Straße STRASSE ß ẞ",
    "ﬁ ﬂ \u212a \u212b",
    "emoji 😀 a😀b 👩‍👩‍👧",
    "don't e-mail x.y.z",
    "Ǆ ǅ ǆ ǲ",
    "كتاب ١٢٣ हिन्दी",
    "soft\u00adhyphen zero\u200bwidth",
]
GREEK = "ΟΔΥΣΣΕΥΣ Σοφός ΣΟΦΟΣ \u03c3'\u03b1"
ROWS = np.array([*TEXTS, GREEK, " ".join(TEXTS), "cat"])


@pytest.mark.parametrize("kind", [CountVectorizer, TfidfVectorizer])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"binary": True},
        {"lowercase": False},
        {"ngram_range": (1, 2)},
        {"ngram_range": (2, 3)},
        {"token_pattern": r"(?u)\b\w+\b"},
        {"token_pattern": r"\w+"},
        {"token_pattern": r"\b\w{3,}\b"},
        {"stop_words": "english"},
        {"stop_words": ["cat", "one"], "vocabulary": ["cat", "dog", "one"]},
        {"max_features": 6},
        {"vocabulary": ["cat", "Dog", "été", "one two", "the cat sat"], "ngram_range": (1, 2)},
    ],
    ids=str,
)
def test_counts(assert_exact, kind, options):
    made = assert_exact(fitted(kind(**options), TEXTS), ROWS)
    assert not made.rounding


@pytest.mark.parametrize(
    "options",
    [
        {"sublinear_tf": True},
        {"norm": "l1"},
        {"norm": None, "smooth_idf": False},
        {"use_idf": False},
        {"sublinear_tf": True, "binary": True, "ngram_range": (1, 3)},
    ],
    ids=str,
)
def test_weights(assert_exact, options):
    assert_exact(fitted(TfidfVectorizer(**options), TEXTS), ROWS)
    assert_exact(fitted(TfidfVectorizer(**options), TEXTS), ROWS, 1e-6, floats="float32")
    options = {name: value for name, value in options.items() if name not in ("binary", "ngram_range")}
    assert_exact(fitted(make_pipeline(CountVectorizer(), TfidfTransformer(**options)), TEXTS), ROWS)


def test_texts_without_a_word(assert_exact):
    part = fitted(TfidfVectorizer(), TEXTS)
    assert_exact(part, np.array([""]))
    assert_exact(part, np.array(["!", "a", " "]))


def test_models_of_text(assert_exact):
    labels = np.arange(len(TEXTS)) % 3
    words = TfidfVectorizer(ngram_range=(1, 2))
    assert_exact(fitted(make_pipeline(words, LogisticRegression()), TEXTS, labels), ROWS)
    reduced = make_pipeline(words, TruncatedSVD(3, random_state=0), LogisticRegression())
    assert_exact(fitted(reduced, TEXTS, labels), ROWS)
    both = make_pipeline(make_union(CountVectorizer(), TfidfVectorizer(lowercase=False)), LogisticRegression())
    assert_exact(fitted(both, TEXTS, labels), ROWS)


def test_float32_vectorisers_round_as_the_library_does(assert_exact):
    made = assert_exact(fitted(TfidfVectorizer(dtype=np.float32), TEXTS), ROWS, 1e-6)
    assert made.rounding == ("TfidfVectorizer: TfidfVectorizer has dtype=float32",)


def test_capital_sigmas_are_exact_where_nothing_is_lowered(assert_exact):
    assert_exact(fitted(CountVectorizer(lowercase=False), [*TEXTS, GREEK]), ROWS)


def test_every_character_is_cut_and_lowered_as_python_does():
    """Each code point, between letters: whether it ends the word, and what it is lowered to."""
    known = [chr(code) for code in range(1, sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
    words = [f"QQ{character}ZZ" for character in known if character not in "\u0130\u03a3"]
    texts = [" ".join(words[start : start + 500]) for start in range(0, len(words), 500)]
    pattern = f"[{word_characters()}]+"
    nodes = [
        helper.make_node("Tokenizer", ["x"], ["words"], domain="com.microsoft", mark=0, mincharnum=2, pad_value="\x00",
                         tokenexp=pattern),
        helper.make_node("Shape", ["words"], ["shape"]),
        helper.make_node("Reshape", ["words", "flat"], ["all"]),
        helper.make_node("StringNormalizer", ["all"], ["low"], case_change_action="LOWER", locale="C.UTF-8"),
        helper.make_node("Reshape", ["low", "shape"], ["y"]),
    ]  # fmt: skip
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.STRING, [None])],
            [helper.make_tensor_value_info("y", TensorProto.STRING, None)],
            [helper.make_tensor("flat", TensorProto.INT64, [1], [-1])],
        ),
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)],
        ir_version=8,
    )
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    cut = re.compile(r"(?u)\b\w\w+\b")
    answers = session.run(None, {"x": np.array(texts, dtype=object)})[0]
    for text, found in zip(texts, answers, strict=True):
        assert [word for word in found if word != "\x00"] == cut.findall(text.lower())


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"analyzer": "char"}, "analyzer='char'"),
        ({"analyzer": "char_wb", "ngram_range": (2, 3)}, "analyzer='char_wb'"),
        ({"analyzer": str.split}, "analyzer=a function"),
        ({"strip_accents": "unicode"}, "strip_accents='unicode'"),
        ({"strip_accents": "ascii"}, "strip_accents='ascii'"),
        ({"tokenizer": str.split, "token_pattern": None}, "tokenizer=a function"),
        ({"preprocessor": str.strip}, "preprocessor=a function"),
        ({"token_pattern": r"[a-z]+"}, r"token_pattern='\[a-z\]\+'"),
        ({"token_pattern": r"\b\w\w\b"}, "token_pattern="),
        ({"token_pattern": r"(?u)\b\w+-\w+\b", "vocabulary": ["e-mail"]}, "token_pattern="),
        ({"stop_words": "english", "ngram_range": (1, 2)}, "stop_words with n-grams"),
    ],
)
@pytest.mark.parametrize("kind", [CountVectorizer, TfidfVectorizer])
def test_what_cannot_be_exact_is_refused(assert_exact, kind, options, named):
    model = Pipeline([("words", kind(**options)), ("model", LogisticRegression())])
    fitted(model, TEXTS, np.arange(len(TEXTS)) % 2)
    with pytest.raises(ConversionFailed, match=f"Pipeline > words > {kind.__name__}: {named}") as caught:
        assert_exact(model, ROWS)
    assert caught.value.hint


def test_a_greek_vocabulary_is_refused(assert_exact):
    with pytest.raises(ConversionFailed, match="CountVectorizer: lowercase with a Greek vocabulary") as caught:
        assert_exact(fitted(CountVectorizer(), [GREEK, "a text"]), ROWS)
    assert "lowercase=False" in (caught.value.hint or "")
    # In the middle of a word it is as any letter.
    assert_exact(fitted(CountVectorizer(), ["ΣΟΦΙΑ μέσα"]), np.array(["σοφια ΣΟΦΙΑ Μέσα"]))


def test_hashing_is_refused(assert_exact):
    words = FeatureUnion([("count", CountVectorizer()), ("hash", HashingVectorizer(n_features=4))])
    model = Pipeline([("union", words), ("model", LogisticRegression())])
    fitted(model, TEXTS, np.arange(len(TEXTS)) % 2)
    with pytest.raises(ConversionFailed, match="Pipeline > union > FeatureUnion > hash > HashingVectorizer: its hash"):
        assert_exact(model, ROWS)


def test_texts_among_columns(assert_exact):
    import pandas as pd

    frame = pd.DataFrame({"note": TEXTS, "value": np.arange(len(TEXTS)) / 3, "title": TEXTS[::-1]})
    parts = [("note", TfidfVectorizer(), "note"), ("title", CountVectorizer(binary=True), "title")]
    model = make_pipeline(ColumnTransformer(parts, remainder="passthrough"), LogisticRegression())
    fitted(model, frame, np.arange(len(TEXTS)) % 2)
    text = {name: np.array(frame[name].tolist())[:, None] for name in ("note", "title")}
    samples = {"note": text["note"], "value": frame[["value"]].to_numpy(), "title": text["title"]}
    assert_exact(model, samples)
