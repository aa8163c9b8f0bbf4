from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlconvert.converter import Session
from mlconvert.errors import ConversionFailed, NotVerified, ParityFailed
from mlconvert.inference import cast_to_contract, run_samples
from mlconvert.signature import Signature, TensorSpec
from mlconvert.tensors import TensorWriter, read_tensors, write_tensors

X = TensorSpec("x", "float32", ("batch", 3))


class Model:
    """Doubles its inputs, and remembers what it was called with."""

    def __init__(self, *specs: TensorSpec, answer=None, known=True):
        self.calls = []
        self.answer = answer or (lambda batch: {f"{name}_out": array * 2 for name, array in batch.items()})
        self.session = Session(Signature(specs, ()) if known else None, self.run)

    def run(self, batch):
        self.calls.append({name: (array.shape, array.dtype.name) for name, array in batch.items()})
        assert all(array.flags.writeable and array.flags.c_contiguous for array in batch.values())
        return self.answer(batch)


def ran(tmp_path, model, samples, **options):
    with TensorWriter(tmp_path / "out") as writer:
        rows = run_samples(model.session, samples, writer, **options)
    return rows, read_tensors(tmp_path / "out")


@given(st.integers(1, 600), st.one_of(st.none(), st.integers(1, 70)))
@settings(deadline=None, max_examples=60)
def test_every_row_is_run_once_and_in_order(tmp_path_factory, rows, batch_rows):
    x = np.arange(rows * 3, dtype="f4").reshape(rows, 3)
    model = Model(X)
    count, outputs = ran(tmp_path_factory.mktemp("run"), model, {"x": x}, batch_rows=batch_rows)
    assert count == rows
    np.testing.assert_array_equal(outputs["x_out"], x * 2)
    lengths = [call["x"][0][0] for call in model.calls]
    assert sum(lengths) == rows
    if batch_rows is None:
        assert max(lengths) <= 256
        assert rows < 3 or len(set(lengths)) > 1, "a batch axis frozen at one length would go unseen"
    else:
        assert max(lengths) <= batch_rows


def test_batches_are_cut_by_the_bytes_of_inputs_and_outputs(tmp_path):
    heavy = Model(X, answer=lambda batch: {"y": np.zeros((len(batch["x"]), 1 << 20), "f4")})
    ran(tmp_path, heavy, {"x": np.zeros((40, 3), "f4")})
    assert max(call["x"][0][0] for call in heavy.calls) == 15  # 64 MiB of rows of 4 MiB


def test_mapped_samples_strings_and_no_signature(tmp_path):
    write_tensors(tmp_path / "in", {"x": np.arange(9, dtype="f4").reshape(3, 3), "s": np.array(["a", "bb", "c"])})
    samples = read_tensors(tmp_path / "in")
    model = Model(known=False, answer=lambda batch: {"s": batch["s"], "y": batch["x"]})
    _, outputs = ran(tmp_path, model, samples)
    assert outputs["s"].tolist() == ["a", "bb", "c"]
    assert [call["x"][0][0] for call in model.calls] == [2, 1]


def test_renamed_inputs_dropped_inputs_and_dtypes(tmp_path):
    model = Model(TensorSpec("features", "float16", ("batch", 3)))
    samples = {"x": np.ones((3, 3)), "unused": np.ones(3)}
    _, outputs = ran(tmp_path, model, samples, renamed={"x": "features"})
    assert list(outputs) == ["features_out"]
    assert {call["features"][1] for call in model.calls} == {"float16"}
    with pytest.raises(NotVerified, match="takes the input 'features', which the samples lack"):
        ran(tmp_path / "b", model, samples)


# --- fixed batches and calls per sample ---


def test_a_fixed_batch_is_fed_so_many_rows_at_a_time(tmp_path):
    model = Model(TensorSpec("x", "float32", (4, 3)))
    _, outputs = ran(tmp_path, model, {"x": np.ones((12, 3), "f4")})
    assert [call["x"][0] for call in model.calls] == [(4, 3)] * 3
    assert outputs["x_out"].shape == (12, 3)
    with pytest.raises(NotVerified, match="takes 4 rows a call, into which 10 rows of samples do not divide"):
        ran(tmp_path / "b", model, {"x": np.ones((10, 3), "f4")})
    two = Model(TensorSpec("x", "float32", (4, 3)), TensorSpec("y", "float32", (2, 3)))
    with pytest.raises(NotVerified, match="different numbers of rows a call: 'x' 4, 'y' 2"):
        ran(tmp_path / "c", two, {"x": np.ones((8, 3), "f4"), "y": np.ones((8, 3), "f4")})


def test_an_axis_more_than_the_input_is_a_call_per_sample(tmp_path):
    model = Model(TensorSpec("x", "float32", (3, 5)))
    x = np.random.default_rng(0).standard_normal((4, 3, 5)).astype("f4")
    _, outputs = ran(tmp_path, model, {"x": x})
    assert [call["x"][0] for call in model.calls] == [(3, 5)] * 4
    np.testing.assert_array_equal(outputs["x_out"], x * 2)
    mixed = Model(X, TensorSpec("scale", "float32", ()), answer=lambda b: {"y": b["x"] * b["scale"]})
    _, outputs = ran(tmp_path / "b", mixed, {"x": x[:, 0, :3], "scale": np.arange(4, dtype="f4")})
    np.testing.assert_array_equal(outputs["y"], x[:, 0, :3] * np.arange(4, dtype="f4")[:, None])


def test_another_rank_is_not_fed(tmp_path):
    with pytest.raises(NotVerified, match=r"'x': the model takes .* and the samples have 3 axes"):
        ran(tmp_path, Model(X), {"x": np.ones((4, 2, 3), "f4")})
    with pytest.raises(NotVerified, match="no rows"):
        ran(tmp_path / "b", Model(X), {"x": np.ones((0, 3), "f4")})


# --- the contract ---


def test_the_reference_sees_what_the_artifact_will(tmp_path):
    seen = []

    def answer(batch):
        seen.append(batch["x"])
        return {"y": batch["x"]}

    model = Model(TensorSpec("x", "float64", ("batch", 1)), answer=answer)
    x = np.array([[0.1], [1 / 3], [np.nan], [np.inf]])
    ran(tmp_path, model, {"x": x}, contract={"x": "float32"}, role="reference")
    np.testing.assert_array_equal(np.concatenate(seen), x.astype("f4").astype("f8"))
    assert seen[0].dtype == np.float64


@pytest.mark.parametrize(
    ("values", "contract"), [([1e300], "float32"), ([1e5], "float16"), ([0.5], "int64"), ([2.0**40], "int32")]
)
def test_values_outside_the_contract_cannot_be_verified(tmp_path, values, contract):
    model = Model(TensorSpec("x", "float64", ("batch", 1)))
    with pytest.raises(NotVerified, match=r"input 'x': the value .* does not fit"):
        ran(tmp_path, model, {"x": np.array([values])}, contract={"x": contract}, role="reference")
    signature = Signature((TensorSpec("x", contract, ("batch", 1)),), ())
    with pytest.raises(NotVerified, match="input 'x'"):
        cast_to_contract({"x": np.array([values])}, signature)


# --- findings ---


def frozen(batch):
    return {"ok": batch["x"], "y": batch["x"][:1]}


@pytest.mark.parametrize("rows", [2, 3, 4, 16])
def test_a_frozen_batch_axis_names_the_output(tmp_path, rows):
    samples = {"x": np.ones((rows, 3), "f4")}
    with pytest.raises(
        ParityFailed, match=r"output 'y' of the converted model has 1 row for \d+ rows of input"
    ) as caught:
        ran(tmp_path, Model(X, answer=frozen), samples)
    assert caught.value.exit_code == 5
    assert caught.value.where == "y"
    with pytest.raises(NotVerified, match="output 'y' of the source model has 1 row"):
        ran(tmp_path / "b", Model(X, answer=frozen), samples, role="reference")


@pytest.mark.parametrize("length", [1, 2, 3, 14, 16])
def test_an_axis_frozen_at_any_length_is_found(tmp_path, length):
    model = Model(X, answer=lambda batch: {"y": np.ones((length, 2))})
    with pytest.raises(ParityFailed, match="output 'y'"):
        ran(tmp_path, model, {"x": np.ones((16, 3), "f4")})


def test_a_model_that_runs_one_row_only_is_a_frozen_axis_too(tmp_path):
    def answer(batch):
        if len(batch["x"]) > 1:
            raise RuntimeError("Reshape: {2,3} cannot be {1,3}")
        return {"y": batch["x"], "z": batch["x"]}

    with pytest.raises(ParityFailed, match=r"answers one row but not 2 .*'y', 'z'.*Reshape"):
        ran(tmp_path, Model(X, answer=answer), {"x": np.ones((16, 3), "f4")})
    with pytest.raises(NotVerified, match="source model answers one row"):
        ran(tmp_path / "b", Model(X, answer=answer), {"x": np.ones((16, 3), "f4")}, role="reference")


def test_a_model_that_does_not_run_at_all(tmp_path):
    def answer(batch):
        raise ValueError("no kernel")

    with pytest.raises(ConversionFailed, match="converted model does not run on the samples: no kernel"):
        ran(tmp_path, Model(X, answer=answer), {"x": np.ones((5, 3), "f4")})


def test_an_output_without_rows(tmp_path):
    model = Model(X, answer=lambda batch: {"loss": np.array(1.0)})
    with pytest.raises(ParityFailed, match=r"'loss' .* has no row axis"):
        ran(tmp_path, model, {"x": np.ones((5, 3), "f4")})


def test_an_output_that_changes_between_batches(tmp_path):
    model = Model(X, answer=lambda batch: {"y": np.ones((len(batch["x"]), len(batch["x"])))})
    with pytest.raises(ConversionFailed, match="tensor 'y' had the shape"):
        ran(tmp_path, model, {"x": np.ones((5, 3), "f4")})
