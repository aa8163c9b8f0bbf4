"""Linear models and support vector machines of ai.onnx.ml, against ONNX Runtime and against their own trainers."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from mlconvert.errors import ConversionFailed
from mlconvert.tensorflow.scores import coupled

TRANSFORMS = ["NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"]
KERNELS = {
    "LINEAR": [0.0, 0.0, 0.0],
    "POLY": [0.3, 0.5, 3.0],
    "POLY 2": [0.3, -0.5, 2.0],
    "RBF": [0.7, 0.0, 0.0],
    "SIGMOID": [0.2, -0.1, 0.0],
}
NAMES = ["aß", "b", "ü", "d"]


def drawn(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def listed(array):
    return np.asarray(array).reshape(-1).tolist()


@pytest.fixture
def ml_agrees(graph_agrees):
    """A node of ai.onnx.ml against ONNX Runtime, whose strings become UTF-8; `kind` is that of the rows."""

    def check(op, x, *, wanted=None, lengths=(True,), rtol=1e-5, **given):
        strings = "classlabels_strings" in given
        types = [TensorProto.STRING if strings else TensorProto.INT64] if "Classifier" in op else []
        outputs = [
            helper.make_tensor_value_info(f"out{place}", kind, None)
            for place, kind in enumerate([*types, TensorProto.FLOAT])
        ]
        given = {name: value for name, value in given.items() if value != []}
        node = helper.make_node(op, ["x"], [one.name for one in outputs], domain="ai.onnx.ml", **given)
        source = helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(x.dtype), [None] * x.ndim)
        opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 1)]
        model = helper.make_model(helper.make_graph([node], "g", [source], outputs), opset_imports=opsets, ir_version=8)
        if wanted is None:
            wanted = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
        if strings and wanted:
            wanted = [np.array([one.encode() for one in wanted[0]], object), *wanted[1:]]
        return graph_agrees(model, {"x": x}, wanted=wanted, lengths=lengths, rtol=rtol)

    return check


# --- linear models ---


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("targets", [1, 3])
def test_linear_regressor(ml_agrees, transform, targets):
    x = np.clip(drawn(1, 9, 4), -2, 2)
    scale = 0.02 if transform == "PROBIT" else 1  # between 0 and 1
    given = {"coefficients": listed(scale * drawn(2, targets, 4)), "targets": targets, "post_transform": transform}
    ml_agrees("LinearRegressor", x, intercepts=[0.5, 0.25, 0.7][:targets], lengths=(False, True), **given)
    if transform != "PROBIT":
        ml_agrees("LinearRegressor", x, **given)
    ml_agrees("LinearRegressor", x[0], intercepts=[0.5, 0.25, 0.7][:targets], **given)
    ml_agrees("LinearRegressor", x[:0], intercepts=[0.5, 0.25, 0.7][:targets], **given)


def test_rows_of_double_are_computed_in_double(ml_agrees):
    x = np.array([[1e8 + 0.25, 1e8], [2.0, 1.0]])
    wanted = [np.array([[0.25], [1.0]], np.float32)]
    ml_agrees("LinearRegressor", x, coefficients=[1.0, -1.0], targets=1, wanted=wanted, rtol=0)
    wanted = [np.array([1, 0]), np.array([[0.75, 0.25], [2.0, -1.0]], np.float32)]
    given = {"coefficients": [1.0, -1.0], "intercepts": [0.0], "classlabels_ints": [0, 1]}
    x[1] = x[1][::-1]
    ml_agrees("LinearClassifier", x, wanted=wanted, rtol=0, **given)
    wanted = [np.array([[0.25], [-1.0]], np.float32)]
    ml_agrees("SVMRegressor", x, coefficients=[1.0, -1.0], rho=[0.0], wanted=wanted, rtol=0)


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize(("scores", "classes", "strings"), [(1, 2, True), (2, 2, False), (3, 3, True), (3, 4, False)])
def test_linear_classifier(ml_agrees, transform, scores, classes, strings):
    x = np.clip(drawn(3, 40, 5), -2, 2)
    x[0] = 0
    scale = 0.02 if transform == "PROBIT" else 1
    labels = {"classlabels_strings": NAMES[:classes]} if strings else {"classlabels_ints": [7, -3, 5, 2**40][:classes]}
    given = {
        "coefficients": listed(scale * drawn(4, scores, 5)),
        "intercepts": [0.5, 0.4, 0.6][:scores] if transform == "PROBIT" else [0.0, 0.4, -0.6][:scores],
        "post_transform": transform,
        **labels,
    }
    if transform == "PROBIT" and (scores, classes) == (1, 2):
        with pytest.raises(ConversionFailed, match="PROBIT"):
            ml_agrees("LinearClassifier", x, wanted=[], **given)
        return
    ml_agrees("LinearClassifier", x, **given)


@pytest.mark.parametrize("kind", [np.int32, np.int64, np.float64])
def test_rows_of_other_types(ml_agrees, kind):
    x = np.random.default_rng(5).integers(-9, 9, (30, 3)).astype(kind)
    labels = {"classlabels_ints": [0, 1, 2]}
    ml_agrees("LinearClassifier", x, coefficients=listed(drawn(6, 3, 3)), intercepts=[0.1, 0.2, 0.3], **labels)
    ml_agrees("SVMClassifier", x, **machine(3, 3, [3, 4, 2]), **labels)


def test_a_row_by_itself_and_none(ml_agrees):
    for x in (drawn(1, 3), drawn(1, 0, 3)):
        labels = {"classlabels_ints": [0, 1, 2]}
        ml_agrees("LinearClassifier", x, coefficients=listed(drawn(6, 3, 3)), intercepts=[0.1, 0.2, 0.3], **labels)
        ml_agrees("SVMClassifier", x, **machine(3, 3, [3, 4, 2]), **labels)


# --- support vector machines ---


def machine(seed, features, counts, kernel="RBF", *, probabilities=False):
    """Attributes of a SVMClassifier with these numbers of support vectors."""
    vectors, pairs = sum(counts), len(counts) * (len(counts) - 1) // 2
    given = {
        "support_vectors": listed(drawn(seed, vectors, features)),
        "coefficients": listed(drawn(seed + 1, len(counts) - 1, vectors)),
        "rho": listed(drawn(seed + 2, pairs)),
        "vectors_per_class": counts,
        "kernel_type": kernel.split()[0],
        "kernel_params": KERNELS[kernel],
    }
    if probabilities:
        given["prob_a"] = listed(-np.abs(drawn(seed + 3, pairs)) - 0.2)
        given["prob_b"] = listed(drawn(seed + 4, pairs) / 5)
    return given


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("counts", [[3, 5], [1, 3, 2, 2]])
@pytest.mark.parametrize("probabilities", [False, True])
def test_svm_classifier(ml_agrees, kernel, counts, probabilities):
    given = machine(8, 4, counts, kernel, probabilities=probabilities)
    if probabilities:
        given["classlabels_strings"] = NAMES[: len(counts)]
    else:
        given["classlabels_ints"] = [5, 7, -1, 9][: len(counts)]
    ml_agrees("SVMClassifier", drawn(7, 60, 4), **given)


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("counts", [[3, 5], [2, 4, 3]])
@pytest.mark.parametrize("probabilities", [False, True])
def test_transforms_of_a_svm(ml_agrees, transform, counts, probabilities):
    given = machine(9, 3, counts, probabilities=probabilities)
    given |= {"post_transform": transform, "classlabels_ints": list(range(len(counts)))}
    if transform == "PROBIT" and not probabilities:
        given["coefficients"] = [one / 1000 for one in given["coefficients"]]
        given["rho"] = [0.5, 0.4, 0.6][: len(given["rho"])]
    if transform == "PROBIT" and not probabilities and len(counts) == 2:
        with pytest.raises(ConversionFailed, match="PROBIT"):
            ml_agrees("SVMClassifier", drawn(7, 20, 3), wanted=[], **given)
        return
    # ONNX Runtime approximates PROBIT in float32, a difference of numbers that are nearly equal.
    ml_agrees("SVMClassifier", drawn(7, 20, 3), rtol=1e-3 if transform == "PROBIT" else 1e-5, **given)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("transform", ["NONE", "LOGISTIC"])
def test_a_svm_without_vectors(ml_agrees, classes, positive, transform):
    coefficients = drawn(11, classes, 4)
    coefficients = np.abs(coefficients) if positive else coefficients
    ml_agrees(
        "SVMClassifier", drawn(10, 60, 4), coefficients=listed(coefficients), rho=[0.25, 3.0], kernel_type="RBF",
        kernel_params=[0.1, 0.0, 0.0], classlabels_ints=[4, 2, 9][:classes], post_transform=transform,
    )  # fmt: skip


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("one_class", [0, 1])
def test_svm_regressor(ml_agrees, kernel, one_class):
    kind = {"kernel_type": kernel.split()[0], "kernel_params": KERNELS[kernel]}
    given = {"rho": [-0.125], "one_class": one_class, **kind}
    vectors = {"support_vectors": listed(drawn(12, 7, 4)), "coefficients": listed(drawn(13, 7)), "n_supports": 7}
    for x in (drawn(14, 30, 4), drawn(14, 4), drawn(14, 0, 4)):
        ml_agrees("SVMRegressor", x, **vectors, **given)
        ml_agrees("SVMRegressor", x, coefficients=listed(drawn(15, 4)), n_supports=0, **given)


def test_far_and_missing_values(ml_agrees):
    """Distances of large numbers keep their digits, and a value without bound is far from everything."""
    vectors = 1000 + drawn(16, 5, 3)
    given = {
        "support_vectors": listed(vectors), "coefficients": listed(drawn(17, 5)), "n_supports": 5, "rho": [0.5],
        "kernel_type": "RBF", "kernel_params": [0.5, 0.0, 0.0],
    }  # fmt: skip
    x = np.vstack([vectors, vectors + np.float32(0.01), [[np.inf, 1, 2], [-np.inf, 1, np.inf], [np.nan, np.inf, 0]]])
    ml_agrees("SVMRegressor", x.astype(np.float32), **given)


def pairwise_coupling(pairwise):
    """Algorithm 2 of the paper for one row, an element at a time."""
    classes = len(pairwise)
    q = [
        [
            sum(pairwise[k][i] ** 2 for k in range(classes) if k != i) if i == j else -pairwise[j][i] * pairwise[i][j]
            for j in range(classes)
        ]
        for i in range(classes)
    ]
    p = [1 / classes] * classes
    for _ in range(100):
        share = [sum(q[i][j] * p[j] for j in range(classes)) for i in range(classes)]
        whole = sum(p[i] * share[i] for i in range(classes))
        if max(abs(one - whole) for one in share) < 0.005 / classes:
            break
        for t in range(classes):
            share = [sum(q[i][j] * p[j] for j in range(classes)) for i in range(classes)]
            whole = sum(p[i] * share[i] for i in range(classes))
            p[t] += (whole - share[t]) / q[t][t]
            total = sum(p)
            p = [one / total for one in p]
    return p


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 6))
def test_probabilities_of_pairs_become_those_of_classes(seed, classes):
    random = np.random.default_rng(seed)
    rows = np.zeros((8, classes, classes))
    for i, j in itertools.combinations(range(classes), 2):
        rows[:, i, j] = random.choice([1e-7, 0.5, 1 - 1e-7, *random.random(5)], 8)
        rows[:, j, i] = 1 - rows[:, i, j]
    found = coupled(tf.constant(rows)).numpy()
    np.testing.assert_allclose(found, [pairwise_coupling(row) for row in rows.tolist()], atol=1e-9)
    np.testing.assert_allclose(found.sum(axis=1), 1)


@pytest.mark.parametrize("kernel", ["linear", "poly", "rbf", "sigmoid"])
def test_machines_of_scikit_learn(ml_agrees, kernel):
    """With classes that lie apart: LIBSVM's own answers, which are computed in double."""
    from sklearn.datasets import load_wine
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    x, y = load_wine(return_X_y=True)
    x = StandardScaler().fit_transform(x).astype(np.float32)
    for classes in (2, 3):
        kept = y < classes
        rows = x[kept].astype(np.float64)
        model = SVC(kernel=kernel, decision_function_shape="ovo").fit(rows, y[kept])
        scores = model.decision_function(rows).astype(np.float32)
        scores = np.stack([scores, -scores], axis=1) if classes == 2 else scores
        ml_agrees(
            "SVMClassifier", rows, wanted=[model.predict(rows), scores],
            support_vectors=listed(model.support_vectors_), vectors_per_class=model.n_support_.tolist(),
            coefficients=listed(model._dual_coef_),
            rho=listed(model._intercept_), kernel_type={"poly": "POLY"}.get(kernel, kernel.upper()),
            kernel_params=[float(model._gamma), model.coef0, model.degree], classlabels_ints=list(range(classes)),
        )  # fmt: skip


WRITTEN = {
    "SVC": {"kernel": "poly", "degree": 2},
    "NuSVC": {"nu": 0.2},
    "SVR": {},
    "OneClassSVM": {"nu": 0.1},
    "LinearSVR": {},
    "LogisticRegression": {},
    "RidgeClassifier": {},
}


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("classes", [2, 3])
def test_models_that_skl2onnx_writes(graph_agrees, name, classes):
    from skl2onnx import to_onnx
    from sklearn import linear_model, svm
    from sklearn.base import is_regressor
    from sklearn.datasets import load_wine
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer, StandardScaler

    x, y = load_wine(return_X_y=True)
    x, y = StandardScaler().fit_transform(x)[y < classes].astype(np.float32), y[y < classes]
    estimator = getattr(svm, name, None) or getattr(linear_model, name)
    labels = y.astype(np.float64) if name.endswith("SVR") else np.array(["rot", "weiß", "rosé"])[y]
    model = make_pipeline(Normalizer("l2"), estimator(**WRITTEN[name])).fit(x, labels)
    options = {} if is_regressor(model) or name == "OneClassSVM" else {"options": {"zipmap": False}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # scikit-learn 1.9 of `probA_`, which skl2onnx asks for
        written = to_onnx(model, x[:1], target_opset={"": 18, "ai.onnx.ml": 3}, **options)
    wanted = onnxruntime.InferenceSession(written.SerializeToString()).run(None, {"X": x})
    found = [one if one.dtype != object else np.array([word.encode() for word in one], object) for one in wanted]
    # ONNX Runtime adds up hundreds of kernels in float32.
    graph_agrees(written, {"X": x}, wanted=found, lengths=(True,), rtol=5e-5)


# --- what is refused ---


@pytest.mark.parametrize(
    ("op", "change", "told"),
    [
        ("SVMClassifier", {"kernel_type": "COSINE"}, "kernel_type"),
        ("SVMClassifier", {"kernel_params": [1.0]}, "kernel_params"),
        ("SVMClassifier", {"classlabels_ints": [1]}, "fewer than two"),
        ("SVMClassifier", {"rho": [1.0]}, "rho"),
        ("SVMClassifier", {"prob_a": [1.0], "prob_b": [1.0]}, "prob_a"),
        ("SVMClassifier", {"vectors_per_class": [4, 5]}, "vectors_per_class"),
        ("SVMClassifier", {"coefficients": [1.0, 2.0]}, "coefficients"),
        ("SVMClassifier", {"support_vectors": [1.0, 2.0]}, "support vectors"),
        ("SVMClassifier", {"post_transform": "COSINE"}, "post_transform"),
        ("SVMClassifier", {"vectors_per_class": [], "prob_a": [1.0]}, "no support vectors"),
        ("SVMRegressor", {"post_transform": "LOGISTIC", "rho": [1.0]}, "post_transform"),
        ("SVMRegressor", {"rho": []}, "rho"),
        ("LinearRegressor", {"targets": 2}, "coefficients"),
        ("LinearClassifier", {}, "intercepts"),
        ("LinearClassifier", {"intercepts": [1.0], "classlabels_ints": [1, 2, 3]}, "3 labels, not two"),
        ("LinearClassifier", {"intercepts": [1.0, 2.0, 3.0], "classlabels_ints": [1, 2]}, "2 labels for 3 scores"),
    ],
)
def test_what_is_refused(ml_agrees, op, change, told):
    plain = {
        "SVMClassifier": {**machine(3, 3, [3, 4, 2]), "classlabels_ints": [0, 1, 2]},
        "SVMRegressor": {"coefficients": [1.0, 2.0, 3.0]},
        "LinearRegressor": {"coefficients": [1.0, 2.0, 3.0]},
        "LinearClassifier": {"coefficients": [1.0, 2.0, 3.0], "classlabels_ints": [0, 1]},
    }
    with pytest.raises(ConversionFailed, match=told):
        ml_agrees(op, np.zeros((2, 3), np.float32), wanted=[], **plain[op] | change)
