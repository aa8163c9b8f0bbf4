from __future__ import annotations

import json
import math
import re
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlconvert.errors import UsageError
from mlconvert.parity.compare import compare
from mlconvert.parity.float_errors import measure
from mlconvert.parity.result import Parity
from mlconvert.parity.tolerance import Tolerance, Tolerances
from mlconvert.tensors import TensorWriter, read_tensors, write_tensors

EXACT = Tolerances(Tolerance(0, 0))
LOOSE = Tolerances(Tolerance(1e-4, 1e-5))
RNG = np.random.default_rng(0)


def only(parity: Parity):
    (output,) = parity.outputs
    assert parity.ok == output.ok
    return output


# --- against a naive implementation ---

SPECIAL = [
    0.0,
    -0.0,
    np.nan,
    np.inf,
    -np.inf,
    1.0,
    1.0000001,
    -1.0,
    1e-45,
    -1e-45,
    5e-324,
    3e38,
    -3e38,
    65504.0,
    1e-5,
    1e-4,
]
FLOATS = ["float16", "float32", "float64", "bfloat16"]


@st.composite
def pairs(draw):
    size = draw(st.integers(1, 40))
    values = st.one_of(st.sampled_from(SPECIAL), st.floats(width=32), st.floats(-2, 2))
    a = draw(st.lists(values, min_size=size, max_size=size))
    b = [draw(st.one_of(st.just(x), st.just(x * 1.0001), st.just(-x), values)) for x in a]
    kinds = draw(st.tuples(st.sampled_from(FLOATS), st.sampled_from(FLOATS)))
    with np.errstate(all="ignore"):
        pair = [np.array(v, np.float64).astype(dtype(kind)) for v, kind in zip((a, b), kinds, strict=True)]
    tolerance = draw(st.sampled_from([Tolerance(0, 0), Tolerance(1e-4, 1e-5), Tolerance(1e-4, 0), Tolerance(0, 1e-45)]))
    return pair[0], pair[1], tolerance


def dtype(name):
    return np.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else np.dtype(name)


def ulps(x, y):
    """The number of floats between two values, one at a time along the ordered bits."""
    order = []
    for value in (x, y):
        bits = int(np.array([value]).view(f"u{value.dtype.itemsize}")[0])
        sign = 1 << (8 * value.dtype.itemsize - 1)
        order.append(-(bits - sign) if bits >= sign else bits)
    return abs(order[0] - order[1])


def naive(a, b, tolerance):
    work = np.float64 if "float64" in (a.dtype.name, b.dtype.name) else np.float32
    narrow = min(a.dtype, b.dtype, key=lambda d: ["bfloat16", "float16", "float32", "float64"].index(d.name))
    found = {"one_sided": 0, "mismatched": 0, "errors": [], "rels": [], "ulps": []}
    for x, y in zip(a, b, strict=True):
        x64, y64 = float(x), float(y)
        if math.isfinite(x64) and math.isfinite(y64):
            error = abs(x64 - y64)
            found["errors"].append(error)
            found["mismatched"] += error > tolerance.atol + tolerance.rtol * abs(x64)
            if x64:
                found["rels"].append(error / abs(x64))
            found["ulps"].append(ulps(work(x).astype(narrow), work(y).astype(narrow)))
        elif not (x64 == y64 or (math.isnan(x64) and math.isnan(y64))):
            found["one_sided"] += 1
            found["mismatched"] += 1
    return found


@given(pairs())
@settings(deadline=None, max_examples=400)
@example((np.array([3e38], "f4"), np.array([-3e38], "f4"), Tolerance(0, 0)))
@example((np.array([0.0, 1e-45], "f4"), np.array([-0.0, 0.0], "f4"), Tolerance(0, 0)))
@example((np.array([np.inf, np.nan, 1.0], "f4"), np.array([-np.inf, np.nan, np.nan], "f4"), Tolerance(1, 1)))
def test_figures_agree_with_a_naive_implementation(drawn):
    a, b, tolerance = drawn
    with np.errstate(all="ignore"):
        expected = naive(a, b, tolerance)
    got = measure(a, b, tolerance)
    assert got.elements == a.size
    assert got.one_sided == expected["one_sided"]
    assert got.mismatched == expected["mismatched"]
    assert got.compared == len(expected["errors"])
    if not expected["errors"]:
        assert got.max_abs is None
        assert got.worst is None
        return
    assert got.max_abs == pytest.approx(max(expected["errors"]), rel=1e-6, abs=1e-45)
    assert got.mean_abs == pytest.approx(np.mean(expected["errors"]), rel=1e-5, abs=1e-45)
    assert got.max_ulp == max(expected["ulps"])
    if expected["rels"]:
        assert got.max_rel == pytest.approx(max(expected["rels"]), rel=1e-5, abs=1e-45)
    else:
        assert got.max_rel is None
    errors = sorted(expected["errors"])
    work = np.float64 if "float64" in (a.dtype.name, b.dtype.name) else np.float32
    true = min(errors[math.ceil(0.99 * len(errors)) - 1], float(np.finfo(work).max))
    assert true * (1 - 2**-8) - 1e-40 <= got.p99_abs <= true * (1 + 1e-6)


@given(pairs(), st.integers(1, 7))
@settings(deadline=None, max_examples=200)
def test_the_size_of_chunks_changes_nothing(drawn, chunk):
    a, b, tolerance = drawn
    whole, pieces = measure(a, b, tolerance), measure(a, b, tolerance, chunk=chunk)
    for field in (
        "elements",
        "one_sided",
        "first_one_sided",
        "compared",
        "mismatched",
        "max_abs",
        "p99_abs",
        "max_ulp",
    ):
        assert getattr(whole, field) == getattr(pieces, field), field
    if whole.compared and whole.max_abs:
        assert whole.worst == pieces.worst
        assert whole.mean_abs == pytest.approx(pieces.mean_abs, rel=1e-6)
        assert whole.max_rel is None or whole.max_rel == pytest.approx(pieces.max_rel, rel=1e-6)


@pytest.mark.parametrize("order", ["random", "rising", "falling", "equal", "sparse", "wide"])
@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_p99_whatever_the_order_of_the_errors(order, kind):
    n = 300_000
    errors = RNG.exponential(1e-6, n).astype(kind)
    if order in ("rising", "falling"):
        errors = np.sort(errors)[:: 1 if order == "rising" else -1]
    elif order == "equal":
        errors[:] = 1e-6
    elif order == "sparse":
        errors[RNG.random(n) < 0.995] = 0
    elif order == "wide":
        errors = (10.0 ** RNG.uniform(-30, 30, n)).astype(kind)
    got = measure(np.zeros(n, kind), np.ascontiguousarray(errors), Tolerance(0, 0))
    true = np.sort(errors)[math.ceil(0.99 * n) - 1]
    assert true * (1 - 2**-8) <= got.p99_abs <= true


# --- the rules ---


def test_equal_outputs_pass_in_any_order():
    y, z = RNG.standard_normal((4, 3)).astype("f4"), np.arange(4)
    parity = compare({"y": y, "label": z}, {"label": z.copy(), "y": y.copy()}, EXACT, samples_sha256="ab")
    assert parity.ok
    assert parity.samples == 4
    assert parity.samples_sha256 == "ab"
    assert [output.name for output in parity.outputs] == ["y", "label"]
    assert parity.outputs[0].max_abs == 0
    assert parity.outputs[1].label_flips == 0
    assert parity.failures == ()


def test_equal_nans_and_infinities_pass_and_a_proof_of_nothing_says_so():
    y = np.array([[np.nan, np.inf], [-np.inf, 1.0]], "f4")
    assert only(compare({"y": y}, {"y": y.copy()}, EXACT)).ok
    assert "proves little" in only(compare({"y": y[:1]}, {"y": y[:1].copy()}, EXACT)).reason


FAULTS = {
    "renamed output": ({"y": np.ones((4, 2))}, {"z": np.ones((4, 2))}, r"'y' is missing .* Was it renamed\? 'z'"),
    "dropped output": ({"x": np.ones(4), "y": np.ones(4)}, {"x": np.ones(4)}, "'y' is missing"),
    "extra output": ({"x": np.ones(4)}, {"x": np.ones(4), "y": np.ones(4)}, "an output 'y' that the source"),
    "swapped axes": ({"y": np.ones((4, 2, 3))}, {"y": np.ones((4, 3, 2))}, "'y' has the shape .* swapped"),
    "NaN here": (
        {"y": np.ones(4)},
        {"y": np.array([1, 1, np.nan, 1])},
        r"'y' is NaN or infinite on one side.*at \[2\]",
    ),
    "NaN there": ({"y": np.array([1, np.nan])}, {"y": np.ones(2)}, r"'y' is NaN .*\[1\]: nan in the source, 1.0 here"),
    "infinity": ({"y": np.array([1, np.inf])}, {"y": np.ones(2)}, "'y' is NaN or infinite"),
    "other infinity": ({"y": np.array([np.inf])}, {"y": np.array([-np.inf])}, "'y' is NaN or infinite"),
    "frozen batch": ({"y": np.ones((4, 2))}, {"y": np.ones((1, 2))}, "'y' has the shape .* frozen batch axis"),
    "off by one": ({"y": np.arange(4)}, {"y": np.arange(4) + 1}, r"4 of 4 labels of output 'y' .* off by \+1"),
    "one flip": ({"y": np.arange(4)}, {"y": np.array([0, 1, 2, 5])}, r"1 of 4 labels of output 'y' .*\[3\]"),
    "text": ({"y": np.array(["a", "b"])}, {"y": np.array(["a", "bb"])}, "1 of 2 labels of output 'y'"),
    "booleans": ({"y": np.array([True, False])}, {"y": np.array([True, True])}, "1 of 2 labels of output 'y'"),
    "huge labels": ({"y": np.array([2**63], "u8")}, {"y": np.array([-(2**63)], "i8")}, "1 of 1 labels of output 'y'"),
    "other kind": ({"y": np.ones(4)}, {"y": np.ones(4, int)}, "'y' is int64.* another kind"),
    "bool for int": ({"y": np.ones(4, int)}, {"y": np.ones(4, bool)}, "'y' is bool.* another kind"),
    "text for int": ({"y": np.array([1])}, {"y": np.array(["1"])}, "'y' is string.* another kind"),
    "rank": ({"y": np.ones((4, 1))}, {"y": np.ones(4)}, "'y' has the shape"),
    "objects": ({"y": np.array([None])}, {"y": np.array([None])}, "'y' has the dtype object"),
    "zero samples": ({"y": np.ones((0, 2))}, {"y": np.ones((0, 2))}, "'y' has no rows"),
    "no elements": ({"y": np.ones((4, 0))}, {"y": np.ones((4, 0))}, "'y' .* no elements"),
    "no outputs": ({}, {}, "nothing was compared"),
    "too far": ({"y": np.ones(4)}, {"y": np.array([1, 1, 1.1, 1])}, r"1 of 4 values of output 'y' is further off"),
    "garbage": ({"y": np.full(4, 3e38, "f4")}, {"y": np.full(4, -3e38, "f4")}, "4 of 4 values of output 'y'"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_fails_and_names_the_output(fault):
    reference, candidate, message = FAULTS[fault]
    parity = compare(reference, candidate, LOOSE)
    assert not parity.ok
    (reason, *_) = parity.failures
    assert re.search(message, reason), reason
    text = json.dumps(parity.as_json(), allow_nan=False)
    assert Parity.from_json(json.loads(text)) == parity


def test_a_swapped_axis_of_equal_length_is_found_by_its_values():
    y = RNG.standard_normal((5, 3, 3)).astype("f4")
    output = only(compare({"y": y}, {"y": np.ascontiguousarray(y.transpose(0, 2, 1))}, LOOSE))
    assert not output.ok
    assert "axes look swapped" in output.reason
    square = RNG.standard_normal((4, 4))
    assert "axes look swapped" in only(compare({"y": square}, {"y": square.T}, LOOSE)).reason
    assert "swapped" not in only(compare({"y": square}, {"y": square + 1}, LOOSE)).reason


def test_width_is_reported_not_failed():
    y = RNG.standard_normal((4, 3))
    output = only(compare({"y": y}, {"y": y.astype("f4")}, LOOSE))
    assert output.ok
    assert output.dtype == "float64 -> float32"
    assert "another width" in output.reason
    labels = only(compare({"y": np.arange(4)}, {"y": np.arange(4, dtype="i4")}, EXACT))
    assert labels.ok
    assert labels.dtype == "int64 -> int32"
    wide = only(compare({"y": np.array(["a"], "<U1")}, {"y": np.array(["a"], "<U9")}, EXACT))
    assert wide.ok
    assert wide.reason is None


def test_outputs_pair_by_the_map_of_names():
    y = np.ones((2, 2))
    parity = compare({"y": y}, {"scores": y}, EXACT, renamed={"y": "scores"})
    assert parity.ok
    assert parity.outputs[0].name == "y"
    # Two names exchanged: pairs must follow the map and not the names.
    exchanged = compare({"a": y, "b": y * 2}, {"a": y * 2, "b": y}, EXACT, renamed={"a": "b", "b": "a"})
    assert exchanged.ok
    assert not compare({"y": y}, {"y": y}, EXACT, renamed={"y": "scores"}).ok


def test_tolerances_of_single_outputs():
    reference, candidate = {"y": np.ones(3), "z": np.ones(3)}, {"y": np.ones(3) + 0.01, "w": np.ones(3) + 0.01}
    loose = Tolerance(0, 0.1)
    found = compare(reference, candidate, Tolerances(EXACT.default, {"y": loose, "w": loose}), renamed={"z": "w"})
    assert found.ok
    found = compare(reference, candidate, Tolerances(loose, {"z": EXACT.default}), renamed={"z": "w"})
    assert [output.ok for output in found.outputs] == [True, False]
    with pytest.raises(UsageError, match=r"'yy', which no model has. Did you mean 'y'"):
        compare(reference, candidate, Tolerances(loose, {"yy": loose}))


def test_the_bound_is_relative_to_the_reference():
    tolerances = Tolerances(Tolerance(0.5, 0))
    assert compare({"y": np.array([2.0])}, {"y": np.array([1.0])}, tolerances).ok
    assert not compare({"y": np.array([1.0])}, {"y": np.array([2.0])}, tolerances).ok


def test_the_report_has_the_keys_of_the_contract():
    output = {"name", "ok", "reason", "dtype", "shape", "max_abs", "mean_abs", "p99_abs", "max_rel", "max_ulp"}
    output |= {"mismatched", "elements", "label_flips", "nan_mismatches", "worst_index", "worst", "spread"}
    data = compare({"y": np.array([[1.0, 3e38]], "f4")}, {"y": np.array([[1.5, -3e38]], "f4")}, LOOSE).as_json()
    assert set(data) == {"ok", "samples", "samples_sha256", "rtol", "atol", "outputs"}
    assert set(data["outputs"][0]) == output
    assert data["outputs"][0]["worst_index"] == [0, 1]
    assert data["outputs"][0]["max_abs"] == pytest.approx(6e38)
    far = np.array([1.7e308])
    assert compare({"y": far}, {"y": -far}, LOOSE).as_json()["outputs"][0]["max_abs"] == "inf"


@given(hnp.arrays(st.sampled_from(["i1", "u8", "i8", "?"]), st.integers(1, 30)), st.data())
def test_labels_are_exact(a, data):
    b = a.copy()
    flips = data.draw(st.sets(st.integers(0, a.size - 1)))
    for index in flips:
        b[index] = not b[index] if b.dtype == bool else (int(b[index]) ^ 1)
    output = only(compare({"y": a}, {"y": b}, Tolerances(Tolerance(9, 9))))
    assert output.ok == (not flips)
    assert output.label_flips == output.mismatched == len(flips)
    assert output.worst_index == ((min(flips),) if flips else None)


def test_mapped_bfloat16_and_strided_arrays(tmp_path):
    y = RNG.standard_normal((6, 4)).astype(ml_dtypes.bfloat16)
    write_tensors(tmp_path, {"y": y})
    mapped = read_tensors(tmp_path)["y"]
    assert compare({"y": y}, {"y": mapped}, EXACT).ok
    assert compare({"y": y[:, ::2]}, {"y": mapped[:, ::2]}, EXACT).ok
    off = y.copy()
    off[2, 1] = -off[2, 1]
    output = only(compare({"y": y}, {"y": off}, Tolerances(Tolerance(1e-2, 1e-2))))
    assert output.worst_index == (2, 1)


MEMORY = """
import resource, sys
from pathlib import Path
from mlconvert.parity.compare import compare
from mlconvert.tensors import read_tensors
from mlconvert.parity.tolerance import Tolerance, Tolerances
a, b = (read_tensors(Path(p)) for p in sys.argv[1:])
small = {"y": a["y"][:1000]}
compare(small, {"y": b["y"][:1000]}, Tolerances(Tolerance(0, 0)))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert compare(a, b, Tolerances(Tolerance(1e-4, 1e-5))).ok
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_does_not_grow_with_the_arrays(tmp_path):
    block = RNG.standard_normal((1000, 1000)).astype("f4")
    with TensorWriter(tmp_path / "a") as a, TensorWriter(tmp_path / "b") as b:
        for _ in range(20):
            a.append({"y": block})
            b.append({"y": block * np.float32(1 + 1e-6)})
    command = [sys.executable, "-c", MEMORY, str(tmp_path / "a"), str(tmp_path / "b")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    grown = int(done.stdout) * (1 if sys.platform == "darwin" else 1024)
    assert grown < 40 << 20, f"{grown >> 20} MiB for two arrays of 76 MiB"
