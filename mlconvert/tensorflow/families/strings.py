"""Tensors of strings, which are UTF-8: joined, split, matched, normalised."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable

import tensorflow as tf

from mlconvert.tensorflow import dimensions
from mlconvert.tensorflow.node import Node
from mlconvert.tensorflow.operators import Operator

_LONGEST_PREFIX = 1000
"""Times that RE2 repeats an expression."""
_DOTTED = ("tr", "az", "lt")
"""Languages in which i and I are not each other's other case, or keep their dot."""


def string_concat(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    return tf.raw_ops.Add(x=x, y=y)  # tf.strings.join does not broadcast


def regex_full_match(x: tf.Tensor, *, pattern: str) -> tf.Tensor:
    """ONNX and TensorFlow both have the expressions of RE2. A wrong one is found at conversion."""
    with tf.init_scope():
        tf.strings.regex_full_match("", pattern)
    return tf.strings.regex_full_match(x, pattern)


def string_split(x: tf.Tensor, *, delimiter: str = "", maxsplit: int = -1, node: Node) -> tuple[tf.Tensor, tf.Tensor]:
    """The parts, filled up with empty ones, and how many there are; without a delimiter, runs of spaces separate.

    As ONNX Runtime has it: no other white space separates, and an empty string has no part, not even an empty one.
    """
    flat = tf.reshape(x, [-1])
    if delimiter:
        whole, cut = flat, flat
    else:
        whole = tf.strings.regex_replace(flat, "^ +| +$", "")
        cut = tf.strings.regex_replace(whole, " +", " ")
    parts = tf.strings.split(cut, delimiter or " ")
    filled = cut != ""
    counts = parts.row_lengths() * tf.cast(filled, tf.int64)
    if maxsplit >= 0:
        more = counts > maxsplit
        if maxsplit > _LONGEST_PREFIX:
            raise node.refuse(f"has maxsplit={maxsplit}", f"at most {_LONGEST_PREFIX}")
        # Not tf.strings.reduce_join of what is left: it loses empty parts at the front of a ragged row.
        part = f"(?s:.*?){re.escape(delimiter)}" if delimiter else "[^ ]+ +"
        rest = tf.strings.regex_replace(whole, f"^(?:{part}){{{maxsplit}}}", "") if maxsplit else whole
        rests = tf.RaggedTensor.from_row_lengths(tf.boolean_mask(rest, more), tf.cast(more, tf.int64))
        parts = tf.concat([parts[:, :maxsplit], rests], axis=1)
        counts = tf.minimum(counts, maxsplit + 1)
    most = tf.maximum(tf.reduce_max(counts), 0)
    lengths = dimensions.dims(x)
    table = parts.to_tensor(default_value="")[:, :most]
    return tf.reshape(table, dimensions.vector([*lengths, most])), tf.reshape(counts, dimensions.vector(lengths))


def string_normalizer(
    x: tf.Tensor,
    *,
    case_change_action: str = "NONE",
    is_case_sensitive: int = 0,
    stopwords: tuple[str, ...] = (),
    locale: str = "",
    node: Node,
) -> tf.Tensor:
    """Of a vector or of a single row; where no word is left, one empty string."""
    if x.shape.rank not in (1, 2) or (x.shape.rank == 2 and x.shape[0] not in (1, None)):
        raise node.refuse(f"gets a tensor of shape {x.shape}: it takes [C] and [1, C]")
    words = tf.reshape(x, [-1])
    if x.shape.rank == 2 and x.shape[0] is None:
        with tf.control_dependencies([tf.debugging.assert_equal(tf.shape(x)[0], 1, "StringNormalizer takes one row")]):
            words = tf.identity(words)
    if stopwords:
        compared, stopping = words, tf.constant([word.encode() for word in stopwords])
        if not is_case_sensitive:
            change = _case(case_change_action, locale, node) or _case("LOWER", locale, node)
            compared, stopping = change(compared), change(stopping)  # type: ignore[misc]
        words = tf.boolean_mask(words, tf.reduce_all(compared[:, None] != stopping, axis=1))
        words = tf.concat([words, tf.fill([tf.cast(tf.equal(tf.size(words), 0), tf.int32)], "")], 0)
    changed = _case(case_change_action, locale, node)
    words = changed(words) if changed else words
    return words[None] if x.shape.rank == 2 else words


def _case(action: str, locale: str, node: Node) -> Callable[[tf.Tensor], tf.Tensor] | None:
    """What changes the case of a vector of strings: of ASCII letters in the locale C, else of all of Unicode's."""
    if action == "NONE":
        return None
    if action not in ("LOWER", "UPPER"):
        raise node.refuse(f"has case_change_action={action!r}", "known: LOWER, UPPER and NONE")
    if locale in ("C", "POSIX"):
        return tf.strings.lower if action == "LOWER" else tf.strings.upper  # type: ignore[no-any-return]
    if locale.replace("-", "_").split("_")[0].lower() in _DOTTED:
        raise node.refuse(f"has locale={locale!r}, whose letters change case otherwise", "known: C, C.UTF-8, en_US")
    return functools.partial(_changed, lower=action == "LOWER")


def _changed(words: tf.Tensor, *, lower: bool) -> tf.Tensor:
    """Each character of a vector by itself, as the C library does it.

    tf.strings.lower does not do: it depends on the environment's language, makes ς of Σ at the end of a word and two
    characters of İ.
    """
    characters = tf.strings.unicode_decode(words, "UTF-8", errors="strict")
    firsts, others = _pairs(lower=lower)
    known = tf.constant(firsts, tf.int32)
    values = characters.flat_values
    places = tf.minimum(tf.searchsorted(known, tf.concat([[0], values], 0))[1:], len(firsts) - 1)  # of none it fails
    values = tf.where(tf.gather(known, places) == values, tf.gather(tf.constant(others, tf.int32), places), values)
    changed = tf.strings.unicode_encode(characters.with_flat_values(values), "UTF-8", errors="strict")
    return tf.ensure_shape(changed, words.shape)


@functools.cache
def _pairs(*, lower: bool) -> tuple[list[int], list[int]]:
    """The characters that have another case, ascending, and what they become: Unicode's simple mappings."""
    every = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
    if lower:
        pairs = {one: one.lower()[0] for one in every if one.lower() != one}  # only İ becomes two: an i and a dot above
    else:
        pairs = {one: _upper(one) for one in every if one.upper() != one}
    changed = [(ord(one), ord(other)) for one, other in pairs.items() if one != other]
    return [first for first, _ in changed], [other for _, other in changed]


def _upper(character: str) -> str:
    """Where Python maps to several characters, Unicode's simple mapping is that to title case, if there is one."""
    single = (character.upper(), character.title(), character)
    return next(one for one in single if len(one) == 1)


OPERATORS: tuple[Operator, ...] = (
    Operator("StringConcat", 20, string_concat, layout="any"),
    Operator("RegexFullMatch", 20, regex_full_match, layout="any"),
    Operator("StringSplit", 20, string_split),
    Operator("StringNormalizer", 10, string_normalizer, note="case changes in the locale C or as in C.UTF-8"),
)
