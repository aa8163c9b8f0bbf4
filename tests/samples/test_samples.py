from __future__ import annotations

import math
import re
import zipfile

import ml_dtypes
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mlconvert.errors import NotVerified, UsageError
from mlconvert.packages import PYARROW
from mlconvert.samples import check_samples, generate_samples, read_samples, write_samples
from mlconvert.signature import Signature, TensorSpec


def takes(*specs: TensorSpec) -> Signature:
    return Signature(specs, ())


MATRIX = takes(TensorSpec("input", "float32", ("batch", 3)))
NAMED = takes(TensorSpec("input", "float32", ("batch", 3), ("a", "b", "c")))
COLUMNS = takes(
    TensorSpec("age", "float32", ("batch", 1)),
    TensorSpec("city", "string", ("batch", 1)),
    TensorSpec("rooms", "int64", ("batch", 1)),
)
TEXT = takes(
    TensorSpec("input_ids", "int64", ("batch", "sequence")), TensorSpec("mask", "int64", ("batch", "sequence"))
)


def read(tmp_path, name, content, signature=None):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    samples = read_samples(path, signature)
    return check_samples(samples, signature)


# --- tables ---


def test_csv_without_a_signature_is_an_input_per_column(tmp_path):
    text = "n,x,flag,city,hole\n1,0.5,true,Ulm,\n-2,,False,,3\n"
    samples = read(tmp_path, "x.csv", text)
    assert {name: (array.dtype.kind, array.shape) for name, array in samples.items()} == {
        "n": ("i", (2, 1)), "x": ("f", (2, 1)), "flag": ("b", (2, 1)), "city": ("U", (2, 1)), "hole": ("f", (2, 1)),
    }  # fmt: skip
    assert samples["n"].tolist() == [[1], [-2]]
    assert np.isnan(samples["x"][1, 0])
    assert samples["city"].tolist() == [["Ulm"], [""]]


def test_csv_columns_become_a_matrix_in_order_or_by_name(tmp_path):
    rows = "1,2,3\n4,,6\n"
    by_order = read(tmp_path, "x.csv", f"p,q,r\n{rows}", MATRIX)["input"]
    assert by_order.dtype == np.float32
    np.testing.assert_array_equal(by_order, np.array([[1, 2, 3], [4, np.nan, 6]], "f4"))
    by_name = read(tmp_path, "x.csv", f"c,a,b\n{rows}", NAMED)["input"]
    np.testing.assert_array_equal(by_name, by_order[:, [1, 2, 0]])


def test_csv_cells_are_typed_by_the_signature(tmp_path):
    # "007" is text for a model that takes text, and 3 a float for one that takes floats.
    samples = read(tmp_path, "x.csv", "\ufeffrooms,city,age\r\n3,007,3\r\n\r\n4,,4.5\r\n", COLUMNS)
    assert list(samples) == ["age", "city", "rooms"]
    assert samples["city"].tolist() == [["007"], [""]]
    assert samples["age"].dtype == np.float32
    assert samples["rooms"].dtype == np.int64


@pytest.mark.parametrize(
    ("text", "signature", "message"),
    [
        ("a,b,c,target\n1,2,3,0\n", NAMED, "has 'target', which the model does not take"),
        ("a,b,c,target\n1,2,3,0\n", MATRIX, "has 4 columns and the input 'input' takes 3"),
        ("a,b\n1,2\n", MATRIX, "has 2 columns"),
        ("a,b,cc\n1,2,3\n", NAMED, r"lacks the column 'c'.*Did you mean 'cc'"),
        ("age,city,rooms,target\n1,x,2,0\n", COLUMNS, "'target', which the model does not take"),
        ("age,citi,rooms\n1,x,2\n", COLUMNS, "lack the input 'city'.*Did you mean 'citi'"),
        ("age,city,rooms\n1,x,2.5\n", COLUMNS, "column 'rooms', line 2: expected int64, got '2.5'"),
        ("age,city,rooms\n1,x,2\n1,x,\n", COLUMNS, "column 'rooms', line 3: expected int64, got an empty cell"),
        ("age,city,rooms\nold,x,2\n", COLUMNS, "column 'age', line 2: expected float32, got 'old'"),
        ("age,city,rooms\n1_000,x,2\n", COLUMNS, "got '1_000'"),
        ("age,city,rooms\n1,x,99999999999999999999999\n", COLUMNS, "'rooms' holds an integer that does not fit"),
        ("a,b,c\n1e39,2,3\n", MATRIX, "column 'a': the value 1e.39 .* does not fit float32"),
        ("a,b\n1,2\n3\n", None, "line 3 has 1 cells where the header has 2"),
        ("a,a\n1,2\n", None, "two columns are named 'a'"),
        (",a\n0,2\n", None, "column 1 has no name"),
        ("\n1\n", None, "no header"),
        ("a;b\n1;2\n", None, "separated by commas"),
        ('a,b\n1,"2\n', None, "cut off"),
        ("a,b\n", None, "zero rows"),
        ("a,b,c\n", MATRIX, "zero rows"),
        (b"a\n\xff\xfe\n", None, "not UTF-8"),
        ("a,b\n1,2\n", TEXT, "lack the input 'input_ids'"),
        ("a\n1\n", takes(TensorSpec("image", "float32", ("batch", 1, 8, 8))), "no room for the input image"),
    ],
)
def test_tables_that_do_not_fit_are_refused(tmp_path, text, signature, message):
    with pytest.raises(UsageError) as caught:
        read(tmp_path, "x.csv", text, signature)
    assert re.search(message, caught.value.message), caught.value.message


def test_integers_too_large_for_int64_are_read_as_floats_or_by_the_signature(tmp_path):
    text = f"x\n{2**63}\n"
    assert read(tmp_path, "x.csv", text)["x"].dtype == np.float64
    unsigned = takes(TensorSpec("x", "uint64", ("batch", 1)))
    assert read(tmp_path, "x.csv", text, unsigned)["x"].tolist() == [[2**63]]


def test_parquet(tmp_path):
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    from pyarrow import parquet

    table = pa.table({
        "age": pa.array([1.5, None]), "city": pa.array(["Ulm", None]).dictionary_encode(),
        "rooms": pa.array([1, 2], pa.int8()), "__index_level_0__": pa.array([0, 1]),
    })  # fmt: skip
    parquet.write_table(table, tmp_path / "x.parquet")
    samples = check_samples(read_samples(tmp_path / "x.parquet", COLUMNS), COLUMNS)
    assert samples["age"].dtype == np.float32
    assert np.isnan(samples["age"][1, 0])
    assert samples["city"].tolist() == [["Ulm"], [""]]
    assert samples["rooms"].dtype == np.int64
    loose = read_samples(tmp_path / "x.parquet", None)
    assert set(loose) == {"age", "city", "rooms"}
    parquet.write_table(pa.table({"v": pa.array([[1.0, 2, 3], [4, 5, 6]])}), tmp_path / "v.parquet")
    assert check_samples(read_samples(tmp_path / "v.parquet", MATRIX), MATRIX)["input"].shape == (2, 3)
    for column, message in (
        (pa.array([[1.0], [1.0, 2.0]]), "not all of one length"),
        (pa.array([None, True]), "booleans, and 1"),
        (pa.array([0, 1], pa.timestamp("s")), "timestamp"),
    ):
        parquet.write_table(pa.table({"v": column}), tmp_path / "bad.parquet")
        with pytest.raises(UsageError, match=message):
            read_samples(tmp_path / "bad.parquet", None)
    parquet.write_table(
        pa.table({**{n: table[n] for n in ("age", "city")}, "rooms": pa.array([1, None])}), tmp_path / "n.parquet"
    )
    with pytest.raises(UsageError, match="column 'rooms': expected int64, got float64"):
        read_samples(tmp_path / "n.parquet", COLUMNS)
    whole = (tmp_path / "x.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[:-20])
    with pytest.raises(UsageError, match="cut off"):
        read_samples(tmp_path / "cut.parquet", None)
    assert PYARROW.extra == "parquet"


# --- arrays ---


def test_npz_and_npy(tmp_path):
    np.savez_compressed(tmp_path / "x.npz", a=np.arange(4, dtype=">i4"), b=np.array([b"x", b"\xc3\xa9"]))
    samples = read_samples(tmp_path / "x.npz", None)
    assert samples["a"].dtype.isnative
    assert samples["b"].tolist() == ["x", "é"]
    np.save(tmp_path / "x.npy", np.zeros((2, 3)))
    assert list(read_samples(tmp_path / "x.npy", None)) == ["input"]
    other = takes(TensorSpec("pixels", "float32", ("batch", 3)))
    assert list(read_samples(tmp_path / "x.npy", other)) == ["pixels"]
    with pytest.raises(UsageError, match="takes 2 inputs"):
        read_samples(tmp_path / "x.npy", TEXT)


class Evil:
    def __reduce__(self):
        return (open, ("/nonexistent/ran", "w"))


def test_bad_files_are_refused_and_never_unpickled(tmp_path):
    np.savez(tmp_path / "good.npz", x=np.zeros((1000, 3)))
    good = (tmp_path / "good.npz").read_bytes()
    np.save(tmp_path / "good.npy", np.zeros((1000, 3)))
    npy = (tmp_path / "good.npy").read_bytes()
    np.savez(tmp_path / "objects.npz", x=np.array([Evil()], dtype=object), allow_pickle=True)
    np.save(tmp_path / "objects.npy", np.array([Evil()], dtype=object), allow_pickle=True)
    with zipfile.ZipFile(tmp_path / "empty_zip.npz", "w"):
        pass
    np.savez(tmp_path / "complex.npz", x=np.zeros(2, complex))
    with zipfile.ZipFile(tmp_path / "rotten.npz", "w") as archive:
        archive.writestr("x.npy", npy[:200])
    cases = {
        "cut.npz": (good[: len(good) // 2], "cut off"),
        "text.npz": (b"hello", "not an .npz"),
        "array.npz": (npy, "not an .npz"),
        "none.npz": (b"", "is empty"),
        "none.csv": (b"", "is empty"),
        "cut.npy": (npy[:-100], "cut off"),
        "text.npy": (b"hello world", "not an .npy"),
        "zip.npy": (good, "not an .npy"),
        "x.xlsx": (b"x", "cannot be read from a '.xlsx'"),
        "x": (b"x", "cannot be read from"),
        "objects.npz": (None, "Python objects"),
        "objects.npy": (None, "Python objects"),
        "empty_zip.npz": (None, "holds no arrays"),
        "complex.npz": (None, "'x' has the dtype complex128"),
        "rotten.npz": (None, "array 'x' cannot be read"),
        "absent.npz": (None, "no such file"),
        "text.parquet": (b"hello world, no parquet", "not a .parquet"),
    }
    for name, (content, message) in cases.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(UsageError, match=message) as caught:
            read_samples(tmp_path / name, None)
        assert name in (caught.value.where or ""), name
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(UsageError, match="is not a file"):
        read_samples(tmp_path / "folder.npz", None)


# --- checking ---


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ({}, "no inputs"),
        ({"input_ids": np.zeros((2, 4), int)}, r"lack the input 'mask' \(mask: int64\[batch, sequence\]\)"),
        ({"input_id": np.zeros((2, 4), int), "mask": np.zeros((2, 4), int)}, "'input_ids'.*Did you mean 'input_id'"),
        ({"x": 1}, "have 'x', which the model does not take"),
        ({"x": 1, "y": 1}, "have 'x', 'y', which"),
        ({"mask": np.zeros((2, 4))}, r"'mask': expected int64, got float64\[2, 4\]"),
        ({"mask": np.full((2, 4), "a")}, "'mask': expected int64, got string"),
        ({"mask": np.zeros(2, int)}, r"'mask': expected mask: int64\[batch, sequence\], got int64\[2\]"),
        ({"mask": np.zeros((2, 4, 1), int)}, "'mask': expected"),
        ({"mask": np.zeros((3, 4), int)}, "different numbers of rows: 'input_ids' 2, 'mask' 3"),
        ({"mask": np.zeros((2, 5), int)}, "axis 'sequence' is 4 long in the input 'input_ids' and 5 in 'mask'"),
        ({"mask": np.full((2, 4), 2**63, "u8")}, "'mask': the value .* does not fit int64"),
        ({"input_ids": np.zeros((0, 4), int), "mask": np.zeros((0, 4), int)}, "'input_ids' has zero rows"),
    ],
)
def test_samples_that_do_not_fit_the_signature_are_refused(samples, message):
    good = {name: np.zeros((2, 4), int) for name in ("input_ids", "mask")}
    given_samples = (
        good | samples if samples and "input_id" not in samples and set(samples) != {"input_ids"} else samples
    )
    with pytest.raises(UsageError) as caught:
        check_samples(given_samples, TEXT)
    assert re.search(message, caught.value.message), caught.value.message


def test_values_are_given_the_dtype_of_the_input():
    checked = check_samples({"input": np.arange(6).reshape(2, 3)}, MATRIX)
    assert checked["input"].dtype == np.float32
    with pytest.raises(UsageError, match="does not fit float32"):
        check_samples({"input": np.full((2, 3), 1e300)}, MATRIX)
    with pytest.raises(UsageError, match=r"expected input: float32\[batch, 3\], got float64\[2, 4\]"):
        check_samples({"input": np.zeros((2, 4))}, MATRIX)
    flags = takes(TensorSpec("f", "bool", ("batch",)))
    assert check_samples({"f": np.array([0, 1])}, flags)["f"].tolist() == [False, True]
    with pytest.raises(UsageError, match="does not fit bool"):
        check_samples({"f": np.array([0, 2])}, flags)


def test_a_row_axis_is_added_only_where_the_input_has_none():
    fixed = takes(TensorSpec("x", "float32", (3, 8, 8)))
    assert check_samples({"x": np.zeros((5, 3, 8, 8), "f4")}, fixed)["x"].shape == (5, 3, 8, 8)
    with pytest.raises(UsageError, match="expected"):
        check_samples({"x": np.zeros((5, 3, 8, 9), "f4")}, fixed)
    with pytest.raises(UsageError, match="expected"):
        check_samples({"input": np.zeros((5, 1, 3), "f4")}, MATRIX)


def test_without_a_signature_only_rows_and_dtypes_are_checked():
    samples = {"x": np.zeros((2, 3)), "y": np.array(["a", "b"])}
    assert list(check_samples(samples, None)) == ["x", "y"]
    for bad, message in (
        ({"x": np.zeros(2), "y": np.zeros(3)}, "different numbers of rows"),
        ({"x": np.array([None])}, "'x' has the dtype object"),
        ({"x": np.array(1.0)}, "'x' is a single value"),
        ({"x": np.zeros((0, 2))}, "'x' has zero rows"),
    ):
        with pytest.raises(UsageError, match=message):
            check_samples(bad, None)


# --- generated ---


def test_generated_samples_fit_their_own_signature():
    signature = takes(
        TensorSpec("x", "float16", ("batch", 3, "wide")),
        TensorSpec("y", "bfloat16", (None, None)),
        TensorSpec("attention_mask", "int64", ("batch", "sequence")),
        TensorSpec("ids", "int32", ("batch", "sequence")),
        TensorSpec("token_type_ids", "int64", ("batch", "sequence")),
        TensorSpec("position_ids", "int64", ("batch", "sequence")),
        TensorSpec("image", "uint8", ("batch", 4, 4)),
        TensorSpec("flag", "bool", ("batch",)),
        TensorSpec("table", "float64", ("batch", None), ("a", "b", "c")),
    )
    samples = generate_samples(signature, count=50)
    checked = check_samples(samples, signature)
    assert {name: len(array) for name, array in samples.items()} == dict.fromkeys(samples, 50)
    assert all(checked[name] is samples[name] for name in samples)
    mask = samples["attention_mask"]
    assert (mask.sum(axis=1) >= 1).all()
    assert (np.diff(mask, axis=1) <= 0).all()
    assert 0 in mask
    assert samples["ids"].min() >= 0
    assert samples["ids"].max() < 100
    assert samples["token_type_ids"].max() == 1
    assert samples["position_ids"][7].tolist() == list(range(8))
    assert samples["table"].shape == (50, 3)
    again = generate_samples(signature, count=50)
    assert all(array.tobytes() == again[name].tobytes() for name, array in samples.items())
    assert samples["x"].tobytes() != generate_samples(signature, count=50, seed=1)["x"].tobytes()


def test_generated_rows_of_fixed_batches():
    assert generate_samples(takes(TensorSpec("x", "float32", (4, 3))), count=10)["x"].shape == (12, 3)
    both = takes(TensorSpec("x", "float32", (4, 3)), TensorSpec("y", "float32", (2,)))
    assert {n: a.shape for n, a in generate_samples(both, count=10).items()} == {"x": (10, 4, 3), "y": (10, 2)}
    single = takes(TensorSpec("x", "float32", ()))
    assert generate_samples(single, count=3)["x"].shape == (3,)


def test_what_cannot_be_made_up():
    with pytest.raises(NotVerified, match=r"the input city.* is text") as caught:
        generate_samples(COLUMNS)
    assert "--samples" in caught.value.hint
    with pytest.raises(NotVerified, match="axis 'batch' of the input state"):
        generate_samples(
            takes(TensorSpec("x", "float32", ("batch", 3)), TensorSpec("state", "float32", (2, "batch", 4)))
        )
    with pytest.raises(NotVerified, match="no inputs"):
        generate_samples(takes())
    with pytest.raises(UsageError, match="count=0"):
        generate_samples(MATRIX, count=0)


# --- written ---


@example([(0.0, 0, "\r"), (math.nan, 1, '"\n,')])
@given(st.lists(st.tuples(st.floats(), st.integers(-(2**63), 2**63 - 1), st.text(max_size=4)), min_size=1, max_size=5))
@settings(deadline=None, max_examples=60)
@pytest.mark.parametrize("suffix", [".npz", ".csv", ".parquet"])
def test_what_is_written_is_read_again(tmp_path_factory, suffix, rows):
    # numpy's strings end where their NULs begin, and no text file holds half of a surrogate pair.
    texts = [row[2].replace("\0", "").encode("utf-8", "ignore").decode() for row in rows]
    samples = {
        "age": np.array([row[0] for row in rows]).reshape(-1, 1),
        "rooms": np.array([row[1] for row in rows], np.int64).reshape(-1, 1),
        "city": np.array(texts, np.str_).reshape(-1, 1),
    }
    signature = takes(
        TensorSpec("age", "float64", ("batch", 1)),
        TensorSpec("rooms", "int64", ("batch", 1)),
        TensorSpec("city", "string", ("batch", 1)),
    )
    path = tmp_path_factory.mktemp("samples") / f"x{suffix}"
    write_samples(path, samples)
    back = check_samples(read_samples(path, signature), signature)
    np.testing.assert_array_equal(back["age"], samples["age"])
    np.testing.assert_array_equal(back["rooms"], samples["rooms"])
    assert back["city"].tolist() == samples["city"].tolist()


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".csv", ".parquet"])
def test_the_same_samples_are_the_same_bytes(tmp_path, suffix, monkeypatch):
    samples = {"input": np.array([[1.5, np.nan, 0.1]], "f4")}
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    write_samples(first, samples, signature=NAMED)
    monkeypatch.setattr("time.time", lambda: 2_000_000_000.0)
    monkeypatch.setattr("time.localtime", lambda *_: (2033, 5, 18, 0, 0, 0, 0, 0, 0))
    write_samples(second, samples, signature=NAMED)
    assert first.read_bytes() == second.read_bytes()
    back = check_samples(read_samples(first, NAMED), NAMED)
    np.testing.assert_array_equal(back["input"], samples["input"])
    assert first.stat().st_mode & 0o044, "other users can read it"


def test_bfloat16_is_written_as_float32(tmp_path):
    write_samples(tmp_path / "x.npz", {"x": np.ones((2, 1), ml_dtypes.bfloat16)})
    assert read_samples(tmp_path / "x.npz", None)["x"].dtype == np.float32


@pytest.mark.parametrize(
    ("name", "samples", "message"),
    [
        ("x.txt", {"x": np.zeros(2)}, "cannot be written to a '.txt'"),
        ("x.npy", {"x": np.zeros(2), "y": np.zeros(2)}, "there are 2 inputs"),
        ("x.csv", {"x": np.zeros((2, 3, 4))}, "no room for the input 'x'"),
        ("x.csv", {"x": np.zeros((2, 2)), "x_1": np.zeros(2)}, "two columns would be named 'x_1'"),
        ("x.npz", {"x": np.array([None])}, "Python objects"),
        ("x.npz", {}, "no samples"),
    ],
)
def test_what_cannot_be_written_leaves_nothing_behind(tmp_path, name, samples, message):
    with pytest.raises(UsageError, match=message):
        write_samples(tmp_path / name, samples)
    assert list(tmp_path.iterdir()) == []
