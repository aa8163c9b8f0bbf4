r"""Vectorisers of text: words are cut, lowered and counted as Python does it, and weighed in double.

What differs between Python and ONNX Runtime, and is brought together here:

- `\w` is written out as the ranges of code points that Python's `re` takes for it: those of RE2 are of another version
  of Unicode, and its `\w` is ASCII.
- Words are cut before they are lowered. Python lowers İ (U+0130) to an i and a combining dot, which ends a word;
  ONNX Runtime lowers it to an i. So an İ ends a word here.
- Python lowers a capital sigma to ς at the end of a word, ONNX Runtime never does. No other letter depends on its
  neighbours. A vocabulary in which that could matter is refused.
- Words are lowered under the locale C.UTF-8: the default one knows ASCII letters only.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from mlconvert.pipelines.scaling import normalised

if TYPE_CHECKING:
    from mlconvert.pipelines.build import Build, Columns
    from mlconvert.pipelines.graph import Tensor

_WORDS = re.compile(r"(?:\(\?u\))?(?:\\b)?(?P<single>(?:\\w)*)\\w(?:\+|\{(?P<least>\d+),\})(?:\\b)?")
_FINAL_SIGMA = re.compile(r"\u03C2|\u03C3(?![^\W\d_])")  # ς, and a small sigma before no letter
_DOTTED_I = "\u0130"
_NO_WORD = "\x00"


def count_vectorizer(build: Build, part: Any, given: Columns) -> Tensor:
    counts = _counts(build, part, given)
    return counts.cast("int64") if np.dtype(part.dtype).kind in "iu" else counts


def tfidf_vectorizer(build: Build, part: Any, given: Columns) -> Tensor:
    if np.dtype(part.dtype) != np.float64:
        build.rounds(f"{type(part).__name__} has dtype={np.dtype(part.dtype).name}")
    return _weighed(build, part._tfidf, _counts(build, part, given))


def tfidf_transformer(build: Build, part: Any, given: Columns) -> Tensor:
    return _weighed(build, part, build.numbers(given))


def _weighed(build: Build, part: Any, counts: Tensor) -> Tensor:
    """Of feature_extraction/text.py, TfidfTransformer.transform."""
    weighed = counts
    if part.sublinear_tf:
        present = build.graph.where(counts > 0.0, counts, 1.0)
        weighed = build.graph.where(counts > 0.0, present.apply("Log") + 1.0, 0.0)
    if part.use_idf:
        weighed = weighed * np.asarray(part.idf_, np.float64)
    # Rows of a sparse matrix are divided by whatever is not zero.
    return normalised(weighed, part.norm, float(np.finfo(build.floats).tiny)) if part.norm else weighed


def _counts(build: Build, part: Any, given: Columns) -> Tensor:
    """How often each n-gram of the vocabulary occurs in each text: floats [N, V]."""
    least = _shortest_word(build, part)
    vocabulary: Mapping[str, int] = part.vocabulary_
    if part.lowercase:
        wrong = [term for term in vocabulary if _FINAL_SIGMA.search(term)]
        if wrong:
            what = f"lowercase with a Greek vocabulary ('{wrong[0]}'): ONNX Runtime has no final sigma"
            raise build.refused(what, "lower the texts before the model, and fit it with lowercase=False")
    if part.stop_words is not None and part.ngram_range[1] > 1:
        raise build.refused(
            "stop_words with n-grams of more than one word", "leave stop_words out: min_df and max_df do as much"
        )
    if sum(tensor.width or 0 for tensor in given) != 1:
        raise build.refused(
            "it takes one column of text", "name the column alone, not in a list: ('words', TfidfVectorizer(), 'text')"
        )
    (texts,) = given
    if texts.dtype != "string":
        raise build.wrong_type(texts, "holds numbers", "takes text")
    words = _words(build, texts, least, lower=part.lowercase)
    counts = build.graph.op(
        "TfIdfVectorizer", words, dtype="float32", width=len(vocabulary), mode="TF", max_skip_count=0, **_pool(part)
    )
    counts = counts.cast(build.floats)
    return (counts > 0.0).cast(build.floats) if part.binary else counts


def _shortest_word(build: Build, part: Any) -> int:
    """The least length of a word, where words are runs of word characters. Refuses anything else."""
    for name, plain, hint in (
        ("input", "content", "give the texts themselves"),
        ("preprocessor", None, "prepare the texts before the model"),
        ("tokenizer", None, "use token_pattern"),
        ("strip_accents", None, "strip them before the model"),
        ("analyzer", "word", "use analyzer='word'"),
    ):
        value = getattr(part, name)
        if value != plain:
            shown = repr(value) if isinstance(value, str) else "a function"
            raise build.refused(f"{name}={shown} has no exact ONNX form", hint)
    pattern = part.token_pattern
    found = _WORDS.fullmatch(pattern if isinstance(pattern, str) else "")
    if not found:
        raise build.refused(
            f"token_pattern={pattern!r} has no exact ONNX form", r"known: (?u)\b\w\w+\b, \w+ and \w{3,}"
        )
    return len(found["single"]) // 2 + int(found["least"] or 1)


def _words(build: Build, texts: Tensor, least: int, *, lower: bool) -> Tensor:
    """The words of each text [N, 1]: strings [N, T + 1], filled up with a character that no word has."""
    graph = build.graph
    letters = f"[{word_characters(without=_DOTTED_I if lower else '')}]"
    pattern = f"{letters}*{_DOTTED_I}|{letters}+" if lower else f"{letters}+"
    words = graph.op(
        "Tokenizer",
        texts.flat(),
        width=0,  # as many as there are
        domain="com.microsoft",
        mark=0,
        mincharnum=least,
        pad_value=_NO_WORD,
        tokenexp=pattern,
    )
    # One column more: where no text has a word, there would be none.
    words = graph.op("Concat", words, graph.rows_like(np.array([_NO_WORD], dtype=object), texts, None), axis=1)
    if not lower:
        return words
    shape = graph.op("Shape", words, dtype="int64", width=None)
    lowered = graph.op(
        "StringNormalizer", words.flat(), case_change_action="LOWER", is_case_sensitive=0, locale="C.UTF-8"
    )
    return graph.op("Reshape", lowered, shape, width=0)


def _pool(part: Any) -> dict[str, Any]:
    """The vocabulary as the operator's attributes: words, n-gram after n-gram, and the columns that they count in."""
    low, high = part.ngram_range
    stop = part.get_stop_words() or ()
    sizes: dict[int, list[tuple[list[str], int]]] = {size: [] for size in range(1, high + 1)}
    for term, column in sorted(part.vocabulary_.items(), key=lambda item: item[1]):
        words = term.split(" ")
        # A term that cannot occur keeps its column: as one word with a space in it, which no text has.
        possible = low <= len(words) <= high and all(words) and not any(word in stop for word in words)
        sizes[len(words) if possible else 1].append((words if possible else [f"{_NO_WORD} {term}"], int(column)))
    starts = np.cumsum([0] + [size * len(entries) for size, entries in sizes.items()])[:-1]
    entries = [entry for of_size in sizes.values() for entry in of_size]
    return {
        "min_gram_length": low,
        "max_gram_length": high,
        "ngram_counts": starts.tolist(),
        "ngram_indexes": [column for _, column in entries],
        "pool_strings": [word for words, _ in entries for word in words],
    }


@cache
def word_characters(without: str = "") -> str:
    r"""Python's `\w`, but for some characters, as ranges for a class of RE2."""
    known = re.findall(r"\w", "".join(map(chr, (*range(0xD800), *range(0xE000, sys.maxunicode + 1)))))
    codes = np.array([ord(character) for character in known if character not in without])
    breaks = np.flatnonzero(np.diff(codes) > 1)
    firsts, lasts = codes[np.append(0, breaks + 1)], codes[np.append(breaks, -1)]
    return "".join(
        f"\\x{{{first:X}}}" + (f"-\\x{{{last:X}}}" if last > first else "")
        for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True)
    )
