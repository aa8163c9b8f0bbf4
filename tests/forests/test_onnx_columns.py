"""Categories, zeros and fractions in ONNX: what ONNX Runtime would get wrong by itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlconvert.errors import ConversionFailed
from mlconvert.forests import onnx_columns
from mlconvert.forests.evaluation import answers
from mlconvert.forests.model import Forest, Link, TreeModel
from mlconvert.forests.onnx_file import write_trees

VALUES = [
    *(-3, -2, -1.5, -1, -0.5, -0.0, 0, 1e-36, 0.5, 0.999, 1, 1.0000001, 1.5, 2, 2.5, 3, 3.7, 5, 29, 30, 30.5, 31, 32),
    *(33, 63, 64, 64.5, 65, 66, 100, 100.5, 1000, 2**24, 2**24 + 1, 2**31 - 128, 2**31 - 1, 2**31, 2**32 + 1, 2**53),
    *(1e300, np.inf, -np.inf, np.nan, -(2**31), -(2**31) - 1, -(2**32)),
]
SETS = {
    "0": [0],
    "1": [1],
    "small": [0, 2, 5],
    "the last that one word of bits holds": [31, 32],
    "64": [1, 64],
    "65": [1, 65],
    "beyond 31": [3, 100],
    "many": list(range(40)),
    "a hundred": list(range(0, 201, 2)),
    "the largest": [4, 2147483519],
    "a float32's last whole numbers": [2**24 - 1, 2**24],
    "none": [],
}


def model_of(*sets, compares="float64", missing=(False, True), truncates=False, zero_is_missing=False):
    """Two trees for each set, of one node on the only feature; NaN goes right in one and left in the other."""
    count = len(sets) * len(missing)
    members = [sorted(members) for members in sets for _ in missing]
    return TreeModel(
        Forest(
            features=1,
            compares=compares,
            strict=False,
            roots=np.arange(count, dtype=np.int32),
            feature=np.zeros(count, np.int32),
            threshold=np.full(count, np.nan),
            left=~np.arange(0, 2 * count, 2, dtype=np.int32),
            right=~np.arange(1, 2 * count, 2, dtype=np.int32),
            missing_left=np.tile(missing, len(sets)),
            category_set=np.arange(count, dtype=np.int32),
            set_bounds=np.cumsum([0, *map(len, members)]),
            set_values=np.array([value for own in members for value in own], float),
            leaf_values=np.stack([2.0 ** np.arange(count), np.zeros(count)], axis=1).reshape(-1, 1),
            leaf_ids=np.zeros(2 * count, np.int32),
            tree_output=np.zeros(count, np.int32),
            truncates=np.array([truncates]),
            zero_is_missing=np.array([zero_is_missing]),
        ),
        "value",
        (0.0,),
        Link("identity"),
    )


def check(model, path, values=VALUES, **options):
    write_trees(model, path, **options)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    rows = np.array(values, float)[:, None]
    if options.get("dtype") == "float32":
        with np.errstate(over="ignore"):
            rows = rows.astype(np.float32)
    got = session.run(["variable"], {"input": rows})[0]
    np.testing.assert_array_equal(got, answers(model, rows.astype(np.float64))["variable"])


@pytest.mark.parametrize("truncates", [False, True], ids=["whole", "truncated"])
@pytest.mark.parametrize("runtime", [None, "1.22", "1.19"])
@pytest.mark.parametrize("compares", ["float64", "float32"])
@pytest.mark.parametrize("members", SETS.values(), ids=SETS)
def test_a_value_is_in_a_set_only_if_it_is_equal_to_a_member(tmp_path, members, compares, runtime, truncates):
    model = model_of(members, compares=compares, truncates=truncates)
    check(model, tmp_path / "m.onnx", target_runtime=runtime)
    check(model, tmp_path / "m.onnx", target_runtime=runtime, dtype="float32")


@pytest.mark.parametrize("truncates", [False, True])
@pytest.mark.parametrize("compares", ["float64", "float32"])
def test_what_is_looked_up_can_be_cast_to_an_integer_on_every_processor(tmp_path, compares, truncates):
    """What a cast of other numbers gives is not the same on all, and here it may be a right answer by luck."""
    model = model_of([0, 77], compares=compares, truncates=truncates)
    write_trees(model, tmp_path / "m.onnx")
    graph = onnx.load(tmp_path / "m.onnx")
    (trees,) = (node for node in graph.graph.node if node.op_type == "TreeEnsemble")
    looked_up = graph.graph.output.add(name=trees.input[0])
    looked_up.type.tensor_type.elem_type = 11
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    columns = session.run([looked_up.name], {"input": np.array(VALUES, float)[:, None]})[0]
    right, left = columns[:, 1], columns[:, 2]  # those that send NaN right, and left
    np.testing.assert_array_equal(np.isnan(left), np.isnan(VALUES))
    known = np.concatenate([right, left[~np.isnan(left)]])
    whole = (known == np.floor(known)) & (np.abs(known) < onnx_columns.CATEGORIES)
    assert whole.all()


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sets(st.integers(0, 70) | st.integers(0, 5000), max_size=60), min_size=1, max_size=8),
    st.sampled_from(["float64", "float32"]),
    st.sampled_from([None, "1.22"]),
    st.booleans(),
    st.booleans(),
)
def test_any_sets(tmp_path, sets, compares, runtime, truncates, zero_is_missing):
    model = model_of(*sets, compares=compares, truncates=truncates, zero_is_missing=zero_is_missing)
    near = [member + step for members in sets for member in members for step in (0, 0.25, 1)]
    check(model, tmp_path / "m.onnx", [*VALUES, *near], target_runtime=runtime)


@pytest.mark.parametrize("missing", [(False,), (True,)])
def test_a_feature_whose_missing_values_all_go_one_way(tmp_path, missing):
    for runtime in (None, "1.22"):
        check(model_of([0, 3, 77], missing=missing), tmp_path / "m.onnx", target_runtime=runtime)


def test_a_feature_may_be_compared_and_looked_up(tmp_path):
    """Its fraction is cut off for both; what is no category is still a number."""
    model = model_of([0, 5, 64], truncates=True, zero_is_missing=True)
    forest = model.forest
    threshold, category_set = forest.threshold.copy(), forest.category_set.copy()
    threshold[1], category_set[1] = 2.0, -1
    model = replace(model, forest=replace(forest, threshold=threshold, category_set=category_set))
    for runtime in (None, "1.22"):
        check(model, tmp_path / "m.onnx", target_runtime=runtime)


@pytest.mark.parametrize("category", [0.5, -1.0, -3.0, 2147483520.0, np.inf, -np.inf])
@pytest.mark.parametrize("runtime", [None, "1.22"])
def test_categories_that_cannot_be_looked_up_are_numbered_first(tmp_path, category, runtime):
    values = [*VALUES, category, np.nextafter(category, 0)]
    check(model_of([1, category], [category], [3]), tmp_path / "m.onnx", values, target_runtime=runtime)


def test_a_set_may_be_shared_by_features(tmp_path, random_forests):
    model = random_forests.random_forest(random_forests.Kind(sets=9, missing=True, trees=6), 5)
    forest = model.forest
    for members in ([0.0, 2.0, 3.0], [-1.0, 2.5, 3.0]):
        sets = np.minimum(forest.category_set, 0)
        values = np.array(members)
        shared = replace(forest, category_set=sets, set_bounds=np.array([0, 3]), set_values=values)
        assert len(np.unique(shared.feature[sets == 0])) > 1
        rows = random_forests.rows_for(replace(model, forest=shared), 5)
        for runtime in (None, "1.22"):
            path = tmp_path / "m.onnx"
            write_trees(replace(model, forest=shared), path, target_runtime=runtime)
            session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
            wanted = answers(replace(model, forest=shared), rows)["variable"]
            np.testing.assert_allclose(session.run(["variable"], {"input": rows})[0], wanted, rtol=1e-12, atol=1e-12)


def test_too_many_sets_for_a_runtime_that_cannot_look_them_up_are_refused(tmp_path, monkeypatch):
    model = model_of(*[list(range(20))] * 10)
    monkeypatch.setattr(onnx_columns, "MOST_INDICATORS", 21 * 20)
    check(model, tmp_path / "m.onnx", target_runtime="1.22")
    monkeypatch.setattr(onnx_columns, "MOST_INDICATORS", 21 * 20 - 1)
    with pytest.raises(ConversionFailed, match="20 splits on categories are too many") as caught:
        write_trees(model, tmp_path / "m.onnx", target_runtime="1.22")
    assert "1.23" in caught.value.hint
    check(model, tmp_path / "m.onnx", target_runtime="1.23")
