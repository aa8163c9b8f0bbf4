"""What a jar's class is made of: its resource, the texts and the flags of its source, and further sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from mlconvert.errors import ConversionFailed
from mlconvert.forests.model import ZERO
from mlconvert.jars import resource
from mlconvert.jars.model import JarModel, answers_of
from mlconvert.jars.numbers import number
from mlconvert.jars.packing import AT_ONCE, Packed, pack
from mlconvert.jars.tree_code import tree_code

Style = Literal["arrays", "code"]

RESOURCE_LIMIT = (1 << 31) - 64  # bytes: an array of Java's


@dataclass(frozen=True)
class Contents:
    resource: bytes  # in the order in which the class reads it
    texts: Mapping[str, object]
    flags: frozenset[str]
    sources: Mapping[str, str] = field(default_factory=dict)


def contents(model: JarModel, style: Style, package: str, simple: str, where: str) -> Contents:
    """Raises ConversionFailed, with a way out, for a model that is too large."""
    trees, forest = model.trees, model.trees.forest
    steps = bool(model.steps.operation) or model.columns != tuple(range(len(model.names)))
    rules = [_rows_rule(model, rule) for rule in (forest.zero_is_missing, forest.truncates)]
    parts = [resource.texts(model.names), *_classes(model), *_columns_of_text(model), resource.doubles(trees.base)]
    if steps:
        parts += _steps(model)
    if any(rule.any() for rule in rules):
        parts += map(resource.integers, rules)
    flags = _flags(model, style, steps=steps)
    texts = _texts(model)
    sources: Mapping[str, str] = {}
    if style == "arrays":
        packed = pack(forest, where)
        parts += _arrays(model, packed)
        texts |= _arrays_texts(forest.trees, packed)
        flags |= {"two_sided"} if packed.two_sided else set()
    else:
        columns = np.array(model.columns, np.int64)
        code = tree_code(trees, columns, package, simple, where)
        parts += _code(model)
        texts |= {"calls": code.calls, "columns_seen": int(columns.max(initial=0)) + 1}
        sources = code.sources
    whole = b"".join(parts)
    if len(whole) > RESOURCE_LIMIT:
        what = f"the model takes {len(whole) / 1e9:.1f} GB, and a jar's resource cannot hold more than 2 GB"
        raise ConversionFailed(what, where=where, hint="use --to onnx, or train fewer or smaller trees")
    return Contents(whole, texts | {"bytes": len(whole)}, frozenset(flags), sources)


# --- the resource ---


def _classes(model: JarModel) -> list[bytes]:
    classes = model.trees.classes
    if not classes:
        return []
    numbers = range(len(classes)) if isinstance(classes[0], str) else classes
    return [resource.texts([str(one) for one in classes]), resource.doubles(np.array(list(numbers), np.float64))]


def _columns_of_text(model: JarModel) -> list[bytes]:
    """For every column its texts, in the order of Java's comparison, and their numbers."""
    parts = []
    for column in range(len(model.names) if model.texts else 0):
        codes = model.texts.get(column, ())
        order = sorted(range(len(codes)), key=lambda code: codes[code].encode("utf-16-be", "surrogatepass"))
        parts += [resource.texts([codes[code] for code in order]), resource.integers(order)]
    return parts


def _steps(model: JarModel) -> list[bytes]:
    steps = model.steps
    empty = np.empty(0)
    return [
        resource.integers(steps.operation),
        resource.integers(steps.column),
        resource.doubles(steps.first),
        resource.doubles(steps.second),
        resource.integers(np.cumsum([0, *(len(table.keys) for table in steps.tables)])),
        resource.doubles(np.concatenate([empty, *(table.keys for table in steps.tables)])),
        resource.doubles(np.concatenate([empty, *(table.values for table in steps.tables)])),
        resource.doubles([table.missing for table in steps.tables]),
    ]


def _rows_rule(model: JarModel, rule: np.ndarray) -> np.ndarray:
    """A rule of the forest's features as one of the columns that a row has behind the steps: 1 or 0."""
    columns = np.array(model.columns, np.int64)
    whole = np.zeros(int(columns.max(initial=0)) + 1, np.int64)
    whole[columns[rule]] = 1
    return whole


def _arrays(model: JarModel, packed: Packed) -> list[bytes]:
    forest = model.trees.forest
    padding = -forest.trees % AT_ONCE
    width = forest.leaf_values.shape[1]
    columns = np.array(model.columns, np.int64)
    nothing = np.full((padding, width), -0.0)  # what leaves a sum as it is
    parts = [
        resource.integers(columns[packed.features] if len(columns) else packed.features),
        resource.integers(packed.starts),
        resource.doubles(packed.thresholds),
    ]
    if model.trees.outputs > 1:
        parts.append(resource.integers(np.append(forest.tree_output, np.zeros(padding, np.int64))))
    parts += [
        resource.integers(np.append(packed.is_inner, np.zeros(padding, np.int64))),
        resource.integers(packed.node_slots),
        resource.integers(packed.node_ranks),
        resource.doubles(np.concatenate([forest.leaf_values[packed.leaves], nothing]).reshape(-1)),
    ]
    if _has_sets(model):
        parts += [resource.integers(packed.set_starts), resource.integers(packed.set_bits)]
    return parts + _linear(model, packed.leaves, padding)


def _code(model: JarModel) -> list[bytes]:
    forest = model.trees.forest
    columns = np.array(model.columns, np.int64)
    parts = [resource.integers(np.unique(columns[np.unique(forest.feature)]))]
    if forest.leaf_values.shape[1] > 1 or forest.linear is not None:
        parts.append(resource.doubles(forest.leaf_values.reshape(-1)))
    if _has_sets(model):
        parts += [resource.integers(forest.set_bounds), resource.doubles(forest.set_values + 0.0)]
    return parts + _linear(model, np.arange(forest.leaves), 0)


def _linear(model: JarModel, order: np.ndarray, padding: int) -> list[bytes]:
    """Sums of features, for the leaves in an order, and behind them leaves that add nothing."""
    linear = model.trees.forest.linear
    if linear is None:
        return []
    feature, coefficient = linear.feature[order], linear.coefficient[order]
    used = feature >= 0
    columns = np.array(model.columns, np.int64)
    ends = np.concatenate([[0], np.cumsum(used.sum(axis=1)), np.full(padding, used.sum())])
    return [
        resource.integers(ends),
        resource.integers(columns[feature[used]]),
        resource.doubles(coefficient[used]),
        resource.doubles(np.append(linear.constant[order], np.full(padding, -0.0))),
    ]


def _has_sets(model: JarModel) -> bool:
    return bool((model.trees.forest.category_set >= 0).any())


# --- the source ---


def _flags(model: JarModel, style: Style, *, steps: bool) -> set[str]:
    trees, forest = model.trees, model.trees.forest
    only_scores = trees.task == "binary" and model.answers == "scores"
    chosen = {
        "divided": trees.divisor != 1,
        "label": bool(trees.classes),
        "link": trees.link.name != "softmax" and not only_scores,
        "linear": forest.linear is not None,
        "many": trees.outputs > 1,
        "sets": _has_sets(model),
        "steps": steps,
        "texts": bool(model.texts),
        "truncates": bool(forest.truncates.any()),
        "vector": forest.leaf_values.shape[1] > 1,
        "zeros": bool(forest.zero_is_missing.any()),
    }
    always = {style, trees.task, model.answers, trees.link.name, forest.compares}
    return always | {name for name, on in chosen.items() if on}


def _texts(model: JarModel) -> dict[str, object]:
    trees, forest = model.trees, model.trees.forest
    real = "float" if trees.arithmetic == "float32" else "double"
    answers = answers_of(model)
    function, apply = {
        "probabilities": ("#predictProba(double[])", "predictProba"),
        "scores": ("#scores(double[])", "scores"),
        "variable": ("#predict(double[])", "predict"),
    }[model.answers]
    predicted = {"value": "The values that the model predicts.", "outlier": "1 for an inlier, and -1 for an outlier."}
    named = bool(trees.classes) and isinstance(trees.classes[0], str)
    of_class = "The number of the class among {@link #classes}." if named else "The class."
    largest = "sums[{}]" if trees.label_by_sums else "answer[to + 1 + {}]"
    return {
        "apply": apply,
        "as_real": "(float) " if real == "float" else "",
        "below": "<=" if forest.strict else "<",
        "columns": ", ".join(f"{name} ({width})" for name, width in answers),
        "cut": number(trees.cut),
        "divisor": number(trees.divisor),
        "exact": int(answers[0][0] == "label"),
        "features": len(model.names),
        "function": function,
        "largest": largest.format("k"),
        "largest_best": largest.format("best"),
        "minus_scale": number(-trees.link.scale),
        "one_minus": "(float) (1 - likely)" if real == "float" else "1 - likely",
        "offset": number(trees.link.offset),
        "predict_doc": predicted.get(trees.task, of_class),
        "real": real,
        "scale": number(trees.link.scale),
        "sums": trees.outputs,
        "text_columns": ", ".join(map(str, sorted(model.texts))),
        "text_doc": ", and text in the columns of text" if model.texts else "",
        "tolerance": "1e-12" if real == "double" else "1e-5",
        "whole_below": "Math.floor(x)" if forest.floors else "Math.ceil(x)",
        "width": sum(width for _, width in answers),
        "zero": number(ZERO),
    }


def _arrays_texts(trees: int, packed: Packed) -> dict[str, object]:
    return {
        "as_int": "(int) " if packed.wide else "",
        "as_node": "(long) " if packed.wide else "",
        "child_bits": packed.slot_bits + packed.rank_bits,
        "lists": packed.numeric_lists,
        "node": "long" if packed.wide else "int",
        "numeric": packed.numeric_lists * (1 + packed.two_sided),
        "rank_mask": (1 << packed.rank_bits) - 1,
        "slot_bits": packed.slot_bits,
        "slot_mask": (1 << packed.slot_bits) - 1,
        "slots": packed.slots,
        "trees": trees + -trees % AT_ONCE,
    }
