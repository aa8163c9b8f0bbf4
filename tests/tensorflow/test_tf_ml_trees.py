"""Forests in core operations: the leaf of every row, on every threshold and beside it, and ONNX Runtime's answers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from mlconvert.errors import ConversionFailed
from mlconvert.tensorflow import trees as t
from mlconvert.tensorflow.families import ml_trees
from mlconvert.tensorflow.scores import transformed
from mlconvert.tensorflow.trees import Trees


def weight(_key, array):
    return tf.constant(array)


def grown(random, sizes, modes, *, features=4, kind=np.float64, missing=True) -> Trees:
    """Trees with these numbers of leaves, of random shape, with thresholds that several nodes share."""
    columns = {name: [] for name in ("feature", "mode", "value", "on_true", "on_false", "missing_true")}
    members, roots = {}, []
    leaf = itertools.count()

    def grow(count):
        if count == 1:
            return ~next(leaf)
        place = len(columns["mode"])
        mode = int(random.choice(modes))
        given = (random.integers(features), mode, random.integers(-6, 7) / 4, 0, 0, missing and random.random() < 0.5)
        for name, value in zip(columns, given, strict=True):
            columns[name].append(value)
        if mode == t.MEMBER:
            members[place] = np.unique(random.integers(-6, 7, random.integers(1, 5)) / 4).astype(kind)
        first = int(random.integers(1, count))
        columns["on_true"][place] = grow(first)
        columns["on_false"][place] = grow(count - first)
        return place

    roots = [grow(count) for count in sizes]
    kinds = {"feature": int, "mode": int, "value": kind, "on_true": int, "on_false": int, "missing_true": bool}
    return Trees(np.array(roots), **{name: np.array(columns[name], kinds[name]) for name in columns}, members=members)


def walked(trees: Trees, row) -> list[int]:
    """The leaves of a row, a node at a time."""
    found = []
    for root in trees.roots:
        at = int(root)
        while at >= 0:
            value, bound, mode = row[trees.feature[at]], trees.value[at], trees.mode[at]
            holds = (
                np.isin(value, trees.members[at]).item()
                if mode == t.MEMBER
                else [value <= bound, value < bound, value >= bound, value > bound, value == bound, value != bound][
                    mode
                ]
            )
            if np.isnan(value):
                holds = holds or trees.missing_true[at]
            at = int(trees.on_true[at] if holds else trees.on_false[at])
        found.append(~at)
    return found


def rows_for(random, kind, count=60, features=4):
    """Values on thresholds, next to them, missing and infinite."""
    rows = (random.integers(-6, 7, (count, features)) / 4).astype(kind)
    beside = random.choice([-np.inf, np.inf, 0], rows.shape)
    rows = np.where(beside == 0, rows, np.nextafter(rows, beside.astype(kind)))
    rows[random.random(rows.shape) < 0.1] = np.finfo(kind).smallest_subnormal
    rows[random.random(rows.shape) < 0.1] = -np.finfo(kind).smallest_subnormal
    rows[random.random(rows.shape) < 0.1] = -0.0
    rows[random.random(rows.shape) < 0.15] = np.nan
    rows[random.random(rows.shape) < 0.05] = np.inf
    rows[random.random(rows.shape) < 0.05] = -np.inf
    return rows.astype(kind)


MODES = [
    (t.LEQ,),
    (t.LT,),
    (t.LEQ, t.GT),
    (t.GTE, t.LT),
    (t.LEQ, t.LT),
    (t.EQ, t.NEQ),
    (t.LEQ, t.MEMBER),
    tuple(range(7)),
]


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    sizes=st.lists(st.sampled_from([1, 2, 3, 9, 31, 32, 33, 64, 65, 90]), min_size=1, max_size=6),
    modes=st.sampled_from(MODES),
    kind=st.sampled_from([np.float32, np.float64]),
)
def test_every_row_comes_to_its_leaf(seed, sizes, modes, kind):
    random = np.random.default_rng(seed)
    trees = grown(random, sizes, modes, kind=kind)
    rows = rows_for(random, kind)
    found = t.leaves(trees, tf.constant(rows), weight).numpy()
    assert found.tolist() == [walked(trees, row) for row in rows]


def test_no_rows_and_many_trees_of_all_sizes(monkeypatch):
    random = np.random.default_rng(0)
    trees = grown(random, [5, 70, 40, 1, 32, 64, 2, 80], (t.LEQ,))
    rows = rows_for(random, np.float64)
    wanted = [walked(trees, row) for row in rows]
    monkeypatch.setattr(t, "TOGETHER", 2)
    monkeypatch.setattr(t, "UNROLLED", 2)  # walks are loops
    graph = tf.function(lambda x: t.leaves(trees, x, weight), input_signature=[tf.TensorSpec([None, 4], tf.float64)])
    assert graph(tf.constant(rows)).numpy().tolist() == wanted
    assert graph(tf.zeros([0, 4], tf.float64)).shape == [0, 8]


# --- operators, against ONNX Runtime ---


def model_of(op, attributes, version, kind, outputs, features=4):
    node = helper.make_node(op, ["x"], list(outputs), domain="ai.onnx.ml", **attributes)
    given = [helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(np.dtype(kind)), [None, features])]
    values = [helper.make_tensor_value_info(name, one, None) for name, one in outputs.items()]
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", version)]
    return helper.make_model(helper.make_graph([node], "g", given, values), opset_imports=opsets, ir_version=8)


def version_5(trees: Trees, random, targets, kind, **more):
    leaves = 1 + max(-int(side.min()) - 1 for side in (trees.on_true, trees.on_false))
    split = numpy_helper.from_array
    return {
        "tree_roots": trees.roots.tolist(),
        "nodes_featureids": trees.feature.tolist(),
        "nodes_splits": split(trees.value.astype(kind), "splits"),
        "nodes_modes": split(trees.mode.astype(np.uint8), "modes"),
        "nodes_truenodeids": np.where(trees.on_true < 0, ~trees.on_true, trees.on_true).tolist(),
        "nodes_falsenodeids": np.where(trees.on_false < 0, ~trees.on_false, trees.on_false).tolist(),
        "nodes_trueleafs": (trees.on_true < 0).astype(int).tolist(),
        "nodes_falseleafs": (trees.on_false < 0).astype(int).tolist(),
        "nodes_missing_value_tracks_true": trees.missing_true.astype(int).tolist(),
        "leaf_targetids": random.integers(0, targets, leaves).tolist(),
        "leaf_weights": split(random.normal(size=leaves).astype(kind), "weights"),
        "n_targets": targets,
        **more,
    }


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize(("targets", "aggregate"), [(1, 1), (3, 1), (3, 0), (1, 2), (2, 3)])
def test_tree_ensemble(graph_agrees, monkeypatch, kind, targets, aggregate):
    random = np.random.default_rng(targets + aggregate)
    trees = grown(random, [31, 8, 70, 33], (t.LEQ, t.LT, t.GT), kind=kind, missing=False)
    attributes = version_5(trees, random, targets, kind, aggregate_function=aggregate)
    rows = np.nan_to_num(rows_for(random, kind), posinf=9, neginf=-9)
    outputs = {"y": helper.np_dtype_to_tensor_dtype(np.dtype(kind))}
    model = model_of("TreeEnsemble", attributes, 5, kind, outputs)
    # ONNX Runtime has its threads add up trees of their own.
    exact = dict.fromkeys(("rtol", "atol"), 1e-6 if kind == np.float32 else 1e-15)
    wanted = graph_agrees(model, {"x": rows}, **exact)
    monkeypatch.setattr(ml_trees, "_AT_ONCE", 10)  # row by row
    graph_agrees(model, {"x": rows}, wanted=wanted, lengths=(True,), **exact)
    graph_agrees(model, {"x": rows[:0]}, wanted=[wanted[0][:0]], lengths=(True,))


def version_3(trees: Trees, prefix: str, random, targets: int, *, positive: bool = False):
    """A node list of trees that share no node: leaves are nodes too."""
    columns = {
        name: [] for name in ("treeids", "nodeids", "featureids", "modes", "values", "truenodeids", "falsenodeids")
    }
    entries = {name: [] for name in ("treeids", "nodeids", "ids", "weights")}

    def add(tree, child, count):
        number = next(count)
        row = [tree, number, 0, "LEAF", 0.0, 0, 0]
        place = len(columns["modes"])
        for name, value in zip(columns, row, strict=True):
            columns[name].append(value)
        if child < 0:
            entries["treeids"].append(tree)
            entries["nodeids"].append(number)
            entries["ids"].append(int(random.integers(targets)))
            entries["weights"].append(float(np.float32(abs(random.normal()) if positive else random.normal())))
            return number
        columns["featureids"][place] = int(trees.feature[child])
        columns["modes"][place] = ml_trees._MODES[trees.mode[child]]
        columns["values"][place] = float(trees.value[child])
        columns["truenodeids"][place] = add(tree, int(trees.on_true[child]), count)
        columns["falsenodeids"][place] = add(tree, int(trees.on_false[child]), count)
        return number

    for tree, root in enumerate(trees.roots):
        add(tree, int(root), itertools.count())
    nodes = {f"nodes_{name}": column for name, column in columns.items()}
    return nodes | {f"{prefix}_{name}": column for name, column in entries.items()}


@pytest.mark.parametrize("transform", ["NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO"])
@pytest.mark.parametrize("aggregate", ["SUM", "AVERAGE", "MIN", "MAX"])
def test_tree_ensemble_regressor(graph_agrees, transform, aggregate):
    random = np.random.default_rng(3)
    trees = grown(random, [9, 40, 70], (t.LEQ, t.GTE), kind=np.float32, missing=False)
    attributes = version_3(trees, "target", random, 2)
    attributes |= {
        "n_targets": 2,
        "base_values": [0.25, -1.0],
        "aggregate_function": aggregate,
        "post_transform": transform,
    }
    rows = np.nan_to_num(rows_for(random, np.float32), posinf=9, neginf=-9)
    model = model_of("TreeEnsembleRegressor", attributes, 3, np.float32, {"y": TensorProto.FLOAT})
    graph_agrees(model, {"x": rows})


def classifier(random, classes, columns, kind, transform="NONE", *, positive=False, strings=False, labels=None, **more):
    trees = grown(random, [9, 40, 33], (t.LEQ,), kind=np.float32, missing=False)
    attributes = version_3(trees, "class", random, columns, positive=positive)
    if labels is None:
        labels = ["a", "b", "ü"][:classes] if strings else [4, 7, 9][:classes]
    attributes |= {f"classlabels_{'strings' if strings else 'int64s'}": labels, "post_transform": transform} | more
    outputs = {"label": TensorProto.STRING if strings else TensorProto.INT64, "scores": TensorProto.FLOAT}
    return model_of("TreeEnsembleClassifier", attributes, 3, kind, outputs)


def check_labels(graph_agrees, model, rows):
    """Texts are bytes in TensorFlow."""
    from onnxruntime import InferenceSession

    label, scores = InferenceSession(model.SerializeToString()).run(None, {"x": rows})
    if label.dtype == object:
        label = np.array([one.encode() for one in label], object)
    graph_agrees(model, {"x": rows}, wanted=[label, scores])


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("strings", [False, True])
@pytest.mark.parametrize("transform", ["NONE", "SOFTMAX", "LOGISTIC"])
@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64])
def test_tree_ensemble_classifier(graph_agrees, classes, strings, transform, positive, kind):
    random = np.random.default_rng(classes)
    columns = 1 if classes == 2 else classes
    model = classifier(random, classes, columns, kind, transform, positive=positive, strings=strings)
    rows = np.nan_to_num(rows_for(random, np.float32), posinf=9, neginf=-9).astype(kind)
    check_labels(graph_agrees, model, rows)


@pytest.mark.parametrize("base", [0.25, -0.5])
def test_one_score_of_two_classes_with_a_base(graph_agrees, base):
    random = np.random.default_rng(5)
    model = classifier(random, 2, 1, np.float32, "LOGISTIC", base_values=[base])
    check_labels(graph_agrees, model, np.nan_to_num(rows_for(random, np.float32)))


def votes(random, labels, trees=20):
    """A forest of stumps that vote for both classes, 1 of `trees` each."""
    names = ("treeids", "nodeids", "featureids", "modes", "values", "truenodeids", "falsenodeids")
    columns = {f"nodes_{name}": [] for name in names}
    entries = {f"class_{name}": [] for name in ("treeids", "nodeids", "ids", "weights")}
    for tree in range(trees):
        bound = float(random.integers(0, 20))
        for number, mode in enumerate(("BRANCH_LEQ", "LEAF", "LEAF")):
            row = (tree, number, 0, mode, 0.0 if number else bound, 0 if number else 1, 0 if number else 2)
            for column, value in zip(columns.values(), row, strict=True):
                column.append(value)
            for label in (0, 1) if number else ():
                entry = (tree, number, label, float(number - 1 == label) / trees)
                for column, value in zip(entries.values(), entry, strict=True):
                    column.append(value)
    key = "classlabels_strings" if isinstance(labels[0], str) else "classlabels_int64s"
    return columns | entries | {key: labels}


@pytest.mark.parametrize("labels", [[0, 1], ["no", "yes"]])
def test_two_scores_of_two_classes(graph_agrees, labels):
    attributes = votes(np.random.default_rng(1), labels)
    label = TensorProto.STRING if isinstance(labels[0], str) else TensorProto.INT64
    outputs = {"l": label, "s": TensorProto.FLOAT}
    model = model_of("TreeEnsembleClassifier", attributes, 3, np.float32, outputs, 1)
    check_labels(graph_agrees, model, np.arange(-1, 21, 0.5, dtype=np.float32)[:, None])


def test_labels_that_onnx_runtime_would_not_answer(graph_agrees):
    attributes = votes(np.random.default_rng(1), [4, 7])
    outputs = {"l": TensorProto.INT64, "s": TensorProto.FLOAT}
    model = model_of("TreeEnsembleClassifier", attributes, 3, np.float32, outputs, 1)
    with pytest.raises(ConversionFailed, match="labels are not 0 and 1"):
        graph_agrees(model, {"x": np.zeros((2, 1), np.float32)})


@pytest.mark.parametrize("transform", ["PROBIT", "SOFTMAX_ZERO"])
def test_the_other_transforms(graph_agrees, transform):
    """As ONNX Runtime approximates them."""
    random = np.random.default_rng(7)
    scores = {"base_values": [0.2, 0.0, 0.7]} if transform == "PROBIT" else {}
    model = classifier(random, 3, 3, np.float32, transform, positive=True, **scores)
    for tensor in model.graph.node[0].attribute:
        if tensor.name == "class_weights":
            tensor.floats[:] = [one / 100 for one in tensor.floats]
    check_labels(graph_agrees, model, np.nan_to_num(rows_for(random, np.float32), posinf=9, neginf=-9))


def test_a_transform_that_does_not_exist():
    with pytest.raises(ValueError, match="no post_transform 'COSINE'"):
        transformed(tf.zeros([1, 2]), "COSINE")
