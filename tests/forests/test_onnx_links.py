"""Links in ONNX over the whole range of sums: accurate, and without overflow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest

from mlconvert.forests.evaluation import answers
from mlconvert.forests.model import Forest, LinearLeaves, Link, TreeModel
from mlconvert.forests.onnx_file import write_trees

SUMS = np.concatenate(
    [
        np.linspace(-60, 60, 2001),
        np.linspace(-1100, 1100, 501),
        10.0 ** np.arange(-320, 300, 10),
        -(10.0 ** np.arange(-320, 300, 10)),
        [0.0, -0.0, 700.0, 709.0, 710.0, np.inf, -np.inf],
    ]
)


def features_as_sums(task, link, outputs=1, **kind):
    """A model whose sum number k is its feature number k."""
    none = np.zeros(0, np.int32)
    return TreeModel(
        Forest(
            features=outputs,
            compares="float64",
            strict=False,
            roots=~np.arange(outputs, dtype=np.int32),
            feature=none,
            threshold=np.zeros(0),
            left=none,
            right=none,
            missing_left=np.zeros(0, bool),
            category_set=none,
            set_bounds=np.zeros(1, np.int64),
            set_values=np.zeros(0),
            leaf_values=np.zeros((outputs, 1)),
            leaf_ids=np.zeros(outputs, np.int32),
            tree_output=np.arange(outputs, dtype=np.int32),
            truncates=np.zeros(outputs, bool),
            zero_is_missing=np.zeros(outputs, bool),
            linear=LinearLeaves(np.zeros(outputs), np.arange(outputs, dtype=np.int32)[:, None], np.ones((outputs, 1))),
        ),
        task,
        (0.0,) * outputs,
        link,
        classes=tuple(range(max(2, outputs))) if task in ("binary", "multiclass") else (),
        **kind,
    )


def run(path, model, rows):
    write_trees(model, path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"input": rows}), strict=True))


def assert_close(got, wanted):
    assert sorted(got) == sorted(wanted)
    for name, expected in wanted.items():
        if expected.dtype.kind == "f":
            np.testing.assert_allclose(got[name], expected, rtol=1e-15, atol=1e-15, err_msg=name)
        else:
            np.testing.assert_array_equal(got[name], expected, err_msg=name)


@pytest.mark.parametrize("name", ["identity", "sigmoid", "exp", "log1p-exp", "signed-square", "step", "isolation"])
@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_values(tmp_path, name, scale):
    model = features_as_sums("value", Link(name, scale, -0.5 if name == "isolation" else 0.0))
    assert_close(run(tmp_path / "m.onnx", model, SUMS[:, None]), answers(model, SUMS[:, None]))


@pytest.mark.parametrize("link", [Link("sigmoid"), Link("sigmoid", 0.3), Link("step")])
@pytest.mark.parametrize("cut", [0.0, 1.1e-16, -0.25])
def test_two_classes(tmp_path, link, cut):
    model = features_as_sums("binary", link, cut=cut)
    rows = np.concatenate([SUMS, [cut, np.nextafter(cut, 1), np.nextafter(cut, -1)]])[:, None]
    got = run(tmp_path / "m.onnx", model, rows)
    assert_close(got, answers(model, rows))
    assert set(got["label"]) == {0, 1}


@pytest.mark.parametrize("link", [Link("softmax"), Link("softmax", 0.5), Link("sigmoid"), Link("identity")])
@pytest.mark.parametrize("outputs", [2, 3, 10])
@pytest.mark.parametrize("by_sums", [False, True])
def test_several_classes(tmp_path, link, outputs, by_sums):
    """With ties of sums, and of probabilities that are both 1 to the last bit."""
    rng = np.random.default_rng(1)
    rows = np.concatenate([rng.normal(size=(300, outputs)) * scale for scale in (1, 30, 1000)])
    rows[::3, 1] = rows[::3, 0]
    model = features_as_sums("multiclass", link, outputs, label_by_sums=by_sums)
    assert_close(run(tmp_path / "m.onnx", model, rows), answers(model, rows))


def test_float32_probabilities_that_are_equal_belong_to_the_first_class(tmp_path):
    rows = np.array([[0.0, 1e-9], [1e-9, 0.0], [0.0, 1e-3]])
    model = features_as_sums("multiclass", Link("softmax"), 2, arithmetic="float32")
    got = run(tmp_path / "m.onnx", model, rows)
    assert got["label"].tolist() == answers(model, rows)["label"].tolist() == [0, 0, 1]
    by_sums = run(tmp_path / "m.onnx", replace(model, label_by_sums=True), rows)
    assert by_sums["label"].tolist() == [1, 0, 1]


def test_outliers_lie_below_the_cut(tmp_path):
    model = features_as_sums("outlier", Link("isolation", 3.0, -0.5), cut=0.25)
    rows = np.array([[-1.0], [0.25], [np.nextafter(0.25, 1)], [5.0]])
    got = run(tmp_path / "m.onnx", model, rows)
    assert_close(got, answers(model, rows))
    assert got["label"].tolist() == [-1, -1, 1, 1]
