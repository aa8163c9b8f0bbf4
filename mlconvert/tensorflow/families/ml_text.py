"""Text as numbers: TfIdfVectorizer, and the Tokenizer of ONNX Runtime in the form that text pipelines take.

N-grams are counted by a walk of all positions at once through the tree of the pool's prefixes. A token is looked up in
the sorted tokens of the pool, a prefix of k tokens in the sorted pairs (prefix of k - 1 tokens, token). So the tables
have the pool's size, whatever the tokens are, and nothing is hashed but strings, each of which is compared with what
its hash has found.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from mlconvert.tensorflow import dimensions
from mlconvert.tensorflow.node import Node
from mlconvert.tensorflow.operators import Operator

_BUCKETS = 2**63 - 1
_CODE = r"\\x\{([0-9A-Fa-f]+)\}"
_CLASS = rf"\[((?:{_CODE}(?:-{_CODE})?)+)\]".replace("([0-9A-Fa-f]+)", "[0-9A-Fa-f]+")
_WORD = re.compile(rf"(?:{_CLASS}\*(?P<end>\w)\|)?{_CLASS}\+")

Grams = Mapping[int, Sequence[tuple[tuple[int, ...], int]]]
"""By their length, the n-grams of a pool: the numbers of their tokens, and the column of the output."""


def tokenizer(
    x: tf.Tensor, *, mark: int, pad_value: str, tokenexp: str = "", mincharnum: int = 1, node: Node
) -> tf.Tensor:
    r"""Runs of the characters of a class, each cut off after an end character, if there is one: `[…]*E|[…]+`.

    What is between the words becomes spaces, and there the text is split. Raises for other expressions, and for a class
    that is not one of code points, `\x{61}-\x{7A}`, or has a space in it.
    """
    found = _WORD.fullmatch(tokenexp)
    end = found["end"] if found else None
    letters = found[3] if found else ""
    if found is None or (end and found[1] != letters) or _holds(letters, " ") or (end and _holds(letters, end)):
        raise node.refuse(
            f"has tokenexp={tokenexp[:40]!r}, and is known for words of a class of code points alone",
            r"[\x{61}-\x{7A}]+",
        )
    if mark or mincharnum < 1:
        raise node.refuse(f"has mark={mark} and mincharnum={mincharnum}", "known: mark=0 and mincharnum of 1 and more")
    flat = tf.strings.unicode_transcode(tf.reshape(x, [-1]), "UTF-8", "UTF-8", errors="strict")
    spaced = tf.strings.regex_replace(flat, f"[^{letters}{end or ''}]+", " ")
    if end:
        spaced = tf.strings.regex_replace(spaced, end, f"{end} ")
    words = tf.strings.split(spaced, " ")
    kept = tf.strings.length(words.flat_values, unit="UTF8_CHAR") >= mincharnum
    long = tf.RaggedTensor.from_value_rowids(
        tf.boolean_mask(words.flat_values, kept), tf.boolean_mask(words.value_rowids(), kept), nrows=words.nrows()
    )
    most = tf.maximum(tf.reduce_max(long.row_lengths()), 0)
    table = long.to_tensor(default_value=pad_value)
    return tf.reshape(table, dimensions.vector([*dimensions.dims(x), most]))


def _holds(letters: str, character: str) -> bool:
    """Whether a class of code points has a character in it."""
    ranges = re.findall(rf"{_CODE}(?:-{_CODE})?", letters)
    return any(int(first, 16) <= ord(character) <= int(last or first, 16) for first, last in ranges)


def tf_idf_vectorizer(
    x: tf.Tensor,
    *,
    max_gram_length: int,
    max_skip_count: int,
    min_gram_length: int,
    mode: str,
    ngram_counts: tuple[int, ...],
    ngram_indexes: tuple[int, ...],
    node: Node,
    pool_int64s: tuple[int, ...] = (),
    pool_strings: tuple[str, ...] = (),
    weights: tuple[float, ...] = (),
) -> tf.Tensor:
    """How often each n-gram of the pool occurs, weighed by its own weight. Raises for a pool that holds one twice."""
    if x.shape.rank not in (1, 2):
        raise node.refuse(f"gets a tensor of shape {x.shape}: it takes [C] and [N, C]")
    if mode not in ("TF", "IDF", "TFIDF"):
        raise node.refuse(f"has mode={mode!r}", "known: TF, IDF and TFIDF")
    if bool(pool_int64s) == bool(pool_strings) or bool(pool_strings) != (x.dtype == tf.string):
        raise node.refuse("needs either pool_int64s and integers or pool_strings and strings")
    if weights and len(weights) != len(ngram_indexes):
        raise node.refuse(f"has {len(weights)} weights for {len(ngram_indexes)} n-grams")
    rows = x if x.shape.rank == 2 else x[None]
    if pool_strings:
        numbers, ids = _numbered_strings(rows, pool_strings, node)
    else:
        numbers, ids = _numbered_integers(rows, pool_int64s)
    grams = _cut(numbers, ngram_counts, ngram_indexes, range(min_gram_length, max_gram_length + 1))
    if any(len({gram for gram, _ in of_size}) < len(of_size) for of_size in grams.values()):
        raise node.refuse("has an n-gram twice in its pool")
    width = 1 + max(ngram_indexes)
    counts = _counted(ids, grams, 1 + max(numbers), max_skip_count, width)
    if mode != "TF":
        scale = np.ones(width, np.float32)
        scale[list(ngram_indexes)] = weights or 1.0
        # IDF: a gram's weight, however often the gram is there.
        counts = tf.where(counts > 0.0, scale, 0.0) if mode == "IDF" else counts * scale
    return counts if x.shape.rank == 2 else counts[0]


def _numbered_strings(rows: tf.Tensor, pool: Sequence[str], node: Node) -> tuple[list[int], tf.Tensor]:
    """The numbers of the tokens of a pool, and of each string of a tensor: -1 for one that is not in the pool."""
    words = list(dict.fromkeys(pool))
    with tf.init_scope():
        hashes = tf.strings.to_hash_bucket_fast([word.encode() for word in words], _BUCKETS).numpy()
    order = np.argsort(hashes, kind="stable")
    if len(np.unique(hashes)) < len(words):
        raise node.refuse("has two words in its pool that have the same hash")
    ordered = [words[place] for place in order]
    places = _found(hashes[order], tf.strings.to_hash_bucket_fast(rows, _BUCKETS))
    same = tf.gather(tf.constant([word.encode() for word in ordered]), tf.maximum(places, 0)) == rows
    ids = tf.where(same & (places >= 0), places, tf.constant(-1, tf.int64))
    number_of = {word: place for place, word in enumerate(ordered)}
    return [number_of[word] for word in pool], ids


def _numbered_integers(rows: tf.Tensor, pool: Sequence[int]) -> tuple[list[int], tf.Tensor]:
    known = sorted(set(pool))
    number_of = {token: place for place, token in enumerate(known)}
    return [number_of[token] for token in pool], _found(known, tf.cast(rows, tf.int64))


def _cut(numbers: Sequence[int], starts: Sequence[int], columns: Sequence[int], sizes: range) -> Grams:
    """The pool cut into grams: those of length n lie from starts[n - 1] on."""
    grams: dict[int, list[tuple[tuple[int, ...], int]]] = {size: [] for size in range(1, sizes.stop)}
    each = iter(columns)
    for length, (start, end) in enumerate(zip(starts, [*starts[1:], len(numbers)], strict=True), 1):
        found = [(tuple(numbers[at : at + length]), int(next(each))) for at in range(start, end, length)]
        if length in sizes:
            grams[length] = found
    return grams


def _levels(grams: Grams, tokens: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each length the sorted keys of prefixes (number of the shorter prefix, token), and the columns of those that
    are grams (-1: no gram). The number of a prefix is its place among the keys.
    """
    numbers: dict[tuple[int, ...], int] = {(): 0}
    found = []
    for length in grams:
        prefixes = {gram[:length] for one, of_size in grams.items() if one >= length for gram, _ in of_size}
        keys = {prefix: numbers[prefix[:-1]] * tokens + prefix[-1] for prefix in prefixes}
        ordered = sorted(keys, key=keys.__getitem__)
        numbers = {prefix: place for place, prefix in enumerate(ordered)}
        columns = np.full(len(ordered), -1, np.int64)
        for gram, column in grams[length]:
            columns[numbers[gram]] = column
        found.append((np.array([keys[prefix] for prefix in ordered], np.int64), columns))
    return found


def _found(table: Sequence[int] | np.ndarray, sought: tf.Tensor) -> tf.Tensor:
    """The place of each value in a sorted table that is not empty, or -1."""
    held = tf.constant(table, tf.int64)
    flat = tf.concat(
        [tf.constant([0], tf.int64), tf.reshape(sought, [-1])], 0
    )  # searchsorted fails where nothing is sought
    places = tf.reshape(tf.searchsorted(held, flat, out_type=tf.int64)[1:], tf.shape(sought))
    near = tf.minimum(places, len(table) - 1)
    return tf.where(tf.gather(held, near) == sought, places, tf.constant(-1, tf.int64))


def _counted(ids: tf.Tensor, grams: Grams, tokens: int, skips: int, width: int) -> tf.Tensor:
    """How often each gram is found, [rows, columns]. Skips do not concern single tokens, which are counted once."""
    count, total = tf.shape(ids, tf.int64)[0], tf.shape(ids, tf.int64)[1]
    levels = _levels(grams, tokens)
    columns = []
    for distance in range(1, skips + 2):
        states = tf.zeros_like(ids)
        for length, (keys, outputs) in enumerate(levels, 1):
            if not len(keys):
                break
            first = (length - 1) * distance
            token = ids[:, first:]  # those of which a gram that begins at some place has its last token
            states = states[:, : tf.maximum(total - first, 0)]
            sought = tf.where((states >= 0) & (token >= 0), states * tokens + token, tf.constant(-1, tf.int64))
            states = _found(keys, sought)
            if (length > 1 or distance == 1) and (outputs >= 0).any():
                column = tf.gather(tf.constant(outputs), tf.maximum(states, 0))
                columns.append(tf.where(states >= 0, column, tf.constant(-1, tf.int64)))
    if not columns:
        return tf.zeros(tf.stack([count, tf.constant(width, tf.int64)]), tf.float32)
    hits = tf.concat(columns, axis=1)
    segments = tf.where(hits >= 0, tf.range(count)[:, None] * width + hits, tf.constant(-1, tf.int64))
    flat = tf.math.unsorted_segment_sum(tf.ones(tf.shape(segments)), segments, count * width)
    return tf.ensure_shape(tf.reshape(flat, tf.stack([count, tf.constant(width, tf.int64)])), [None, width])


OPERATORS: tuple[Operator, ...] = (
    Operator("TfIdfVectorizer", 9, tf_idf_vectorizer),
    Operator(
        "Tokenizer",
        1,
        tokenizer,
        domain="com.microsoft",
        note="words of a class of code points, without start and end marks",
    ),
)
