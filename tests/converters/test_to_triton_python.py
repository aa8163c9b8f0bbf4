"""What Triton's python backend serves: estimators, results and networks that need no conversion."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from mlconvert.artifact import Artifact, file_sha256
from mlconvert.converters import (
    exported_program_to_triton_python,
    sklearn_to_onnx,
    sklearn_to_triton_python,
    statsmodels_to_onnx,
    statsmodels_to_triton_python,
    torch_to_exported_program,
    torchscript_to_triton_python,
)
from mlconvert.errors import ConversionFailed, UsageError
from mlconvert.formats import source_artifact
from mlconvert.formats.served_python import read_served
from mlconvert.registry import registry
from mlconvert.routes import route


def skops_of(estimator, folder, name="model"):
    from skops import io

    path = folder / f"{name}.skops"
    io.dump(estimator, path)
    return Artifact("sklearn", str(path), (path,))


def made(converter, source, folder, **options):
    (folder / "out").mkdir(exist_ok=True)
    return converter.convert(source, folder / "out/model.py", **options)


def assert_alike(source, served, rows):
    """The served model answers as its source does: names, dtypes, shapes and values."""
    wanted = registry().runner(source.format).load(source).run(rows)
    told = registry().runner(served.format).load(served).run(rows)
    assert list(told) == list(wanted)
    for name, values in wanted.items():
        assert told[name].dtype.kind == values.dtype.kind
        np.testing.assert_array_equal(told[name], values)


# --- scikit-learn ---


def test_the_file_is_served_as_it_is(tmp_path):
    from sklearn.neighbors import KNeighborsClassifier

    random = np.random.default_rng(0)
    source = skops_of(KNeighborsClassifier().fit(random.normal(size=(40, 2)), random.integers(0, 2, 40)), tmp_path)
    served = made(sklearn_to_triton_python, source, tmp_path)
    assert file_sha256(tmp_path / "out/model.skops") == file_sha256(source.path)
    assert served.facts["trusted_types"] == read_served(served.path).constants["TRUSTED"]
    assert "sklearn.neighbors._kd_tree.KDTree" in served.facts["trusted_types"]
    assert_alike(source, served, {"input": random.normal(size=(8, 2))})
    again = tmp_path / "again"
    again.mkdir()
    sklearn_to_triton_python.convert(source, again / "model.py")
    for path in served.files:
        assert path.read_bytes() == (again / path.name).read_bytes()


def test_requirements_are_pinned_to_what_is_here(tmp_path):
    from importlib.metadata import version

    from sklearn.linear_model import LinearRegression

    source = skops_of(LinearRegression().fit(np.eye(3), np.arange(3)), tmp_path)
    served = made(sklearn_to_triton_python, source, tmp_path)
    names = ("joblib", "numpy", "scikit-learn", "scipy", "skops")
    assert served.facts["requirements"] == [f"{name}=={version(name)}" for name in names]
    first, *lines = (tmp_path / "out/requirements.txt").read_text().splitlines()
    assert first.startswith("# ")
    assert lines == served.facts["requirements"]


def test_a_model_of_a_module_that_no_package_brings_is_refused(tmp_path, monkeypatch):
    (tmp_path / "mine_only.py").write_text(
        "from sklearn.base import BaseEstimator, RegressorMixin\n\n"
        "class Zero(RegressorMixin, BaseEstimator):\n"
        "    n_features_in_ = 2\n"
        "    def fit(self, x, y):\n        return self\n"
        "    def __sklearn_is_fitted__(self):\n        return True\n"
        "    def predict(self, x):\n        return x[:, 0] * 0\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import mine_only

    path = tmp_path / "zero.pkl"
    path.write_bytes(pickle.dumps(mine_only.Zero()))
    with pytest.raises(ConversionFailed, match="the module 'mine_only', which is of no installed package"):
        made(sklearn_to_triton_python, Artifact("sklearn", str(path), (path,), trusted=True), tmp_path)


def test_text_that_onnx_cannot_hash_is_served(tmp_path):
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(HashingVectorizer(n_features=32), LogisticRegression())
    source = skops_of(model.fit(["good film", "bad film"] * 5, ["+", "-"] * 5), tmp_path)
    rows = {"input": np.array([["a good film"], ["ein schöner Film"], [""]])}
    with pytest.raises(ConversionFailed, match="HashingVectorizer") as refused:
        sklearn_to_onnx.convert(source, tmp_path / "model.onnx", samples=rows)
    assert "--to triton-python" in (refused.value.hint or "")
    served = made(sklearn_to_triton_python, source, tmp_path, samples=rows)
    assert read_served(served.path).kind == "sklearn-text"
    assert_alike(source, served, rows)


@pytest.fixture
def table():
    import pandas as pd

    random = np.random.default_rng(3)
    return pd.DataFrame(
        {"a": random.normal(size=30), "b": random.integers(0, 5, 30), "c": random.choice(["x", "y"], 30)}
    )


def test_a_transformer_of_columns_gives_what_it_gives(table, tmp_path):
    from sklearn.compose import make_column_transformer
    from sklearn.preprocessing import OneHotEncoder, SplineTransformer

    sparse = make_column_transformer((SplineTransformer(), ["a", "b"]), (OneHotEncoder(), ["c"]), sparse_threshold=1.0)
    source = skops_of(sparse.fit(table), tmp_path)
    rows = {"a": table.a.to_numpy(), "b": table.b.to_numpy(), "c": table.c.to_numpy().astype(np.str_)}
    rows = {name: values[:9].reshape(-1, 1) for name, values in rows.items()}
    served = made(sklearn_to_triton_python, source, tmp_path, samples=rows)
    assert [spec.dtype for spec in served.signature.inputs] == ["float64", "int64", "string"]
    assert_alike(source, served, rows)
    with pytest.raises(UsageError, match="no samples tell that of 'a'"):
        made(sklearn_to_triton_python, source, tmp_path)
    with pytest.raises(UsageError, match="one matrix cannot be its input"):
        made(sklearn_to_triton_python, source, tmp_path, inputs="matrix", samples=rows)


def test_numbers_with_names_go_as_a_matrix_or_by_column(table, tmp_path):
    from sklearn.ensemble import IsolationForest

    source = skops_of(IsolationForest(n_estimators=5, random_state=0).fit(table[["a", "b"]]), tmp_path)
    served = made(sklearn_to_triton_python, source, tmp_path)
    assert read_served(served.path).kind == "sklearn-named-matrix"
    assert served.signature.inputs[0].columns == ("a", "b")
    assert_alike(source, served, {"input": np.random.default_rng(0).normal(size=(7, 2))})
    rows = {"a": np.array([[0.5], [2.0]]), "b": np.array([[1], [4]])}
    served = made(sklearn_to_triton_python, source, tmp_path, samples=rows)
    assert read_served(served.path).kind == "sklearn-columns"
    assert_alike(source, served, rows)


def test_the_decision_function_beside_probabilities(tmp_path):
    from sklearn.linear_model import LinearRegression, LogisticRegression

    random = np.random.default_rng(0)
    features, labels = random.normal(size=(40, 3)), random.integers(0, 3, 40)
    source = skops_of(LogisticRegression().fit(features, labels), tmp_path)
    served = made(sklearn_to_triton_python, source, tmp_path, scores=True)
    assert str(served.signature.outputs[-1]) == "scores: float64[batch, 3]"
    rows = {"input": features[:6]}
    told = registry().runner("triton-python").load(served).run(rows)
    session = registry().runner("sklearn").load(source)
    assert "scores" not in session.run(rows)
    np.testing.assert_array_equal(told["scores"], session.more["scores"](rows))
    source = skops_of(LinearRegression().fit(features, labels), tmp_path, "line")
    with pytest.raises(UsageError, match="LinearRegression has no decision_function"):
        made(sklearn_to_triton_python, source, tmp_path, scores=True)


# --- statsmodels ---


def saved(fit, folder):
    path = folder / "fit.pkl"
    fit.save(str(path))
    return Artifact("statsmodels", str(path), (path,), trusted=True)


def test_a_formula_that_onnx_does_not_take_is_served(table, tmp_path):
    import statsmodels.formula.api as smf

    table["y"] = table.a * 2 + table.b
    source = saved(smf.ols("y ~ bs(a, df=4) + np.sinh(b) + c", table).fit(), tmp_path)
    with pytest.raises(ConversionFailed, match="not converted") as refused:
        statsmodels_to_onnx.convert(source, tmp_path / "model.onnx")
    assert "--to triton-python" in (refused.value.hint or "")
    served = made(statsmodels_to_triton_python, source, tmp_path)
    assert read_served(served.path).constants["LEVELS"] == {"c": ["x", "y"]}
    rows = {"a": np.zeros((4, 1)), "b": np.ones((4, 1)), "c": np.array([["x"], ["z"], ["y"], ["x"]])}
    assert_alike(source, served, rows)
    with pytest.raises(UsageError, match="opened only on your word"):
        made(statsmodels_to_triton_python, Artifact("statsmodels", source.location, source.files), tmp_path)


@pytest.mark.filterwarnings("ignore")  # of an optimiser
def test_a_model_that_onnx_does_not_take_is_served(tmp_path):
    from statsmodels.discrete.count_model import ZeroInflatedPoisson

    random = np.random.default_rng(0)
    features = np.column_stack([np.ones(60), random.normal(size=60)])
    counts = random.poisson(2, 60) * random.integers(0, 2, 60)
    source = saved(ZeroInflatedPoisson(counts, features).fit(disp=0), tmp_path)
    served = made(statsmodels_to_triton_python, source, tmp_path)
    assert_alike(source, served, {"input": features[:5]})


@pytest.mark.filterwarnings("ignore")
def test_a_time_series_answers_no_new_rows(tmp_path):
    from statsmodels.tsa.arima.model import ARIMA

    source = saved(ARIMA(np.random.default_rng(0).normal(size=40), order=(1, 0, 0)).fit(), tmp_path)
    with pytest.raises(ConversionFailed, match="ARIMA"):
        made(statsmodels_to_triton_python, source, tmp_path)


# --- PyTorch ---


def test_a_factory_goes_by_way_of_an_exported_program():
    """TorchScript would lose the keys of what a module returns."""
    steps = [edge.id for edge, _ in route("torch", ["triton-python"], registry().converters)]
    assert steps == ["torch->exported-program", "exported-program->triton-python"]


NET = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 3)

    def forward(self, x, scale=None):
        hidden = self.layer(x)
        if scale is not None:
            hidden = hidden * scale
        return {"logits": hidden, "parts": (hidden.exp(), hidden.sum(1))}

def build():
    torch.manual_seed(0)
    return Net()

class Pair(torch.nn.Module):
    def forward(self, pair):
        return pair[0] + pair[1]

class Narrow(torch.nn.Module):
    def forward(self, x):
        return x.to(torch.bfloat16)

def narrow():
    return Narrow()
"""


def test_a_factory_is_exported_and_served_without_its_code(tmp_path):
    (tmp_path / "net.py").write_text(NET)
    source = source_artifact(f"{tmp_path}/net.py:build")
    rows = {"x": np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)}
    exported = torch_to_exported_program.convert(source, tmp_path / "model.pt2", samples=rows)
    assert [str(spec) for spec in exported.signature.outputs] == [
        "logits: float32[batch, 3]", "parts_0: float32[batch, 3]", "parts_1: float32[batch]",
    ]  # fmt: skip
    assert_alike(source, exported, rows)
    served = made(exported_program_to_triton_python, exported, tmp_path)
    assert read_served(served.path).constants["PATHS"]["parts_1"] == ("parts", 1)
    assert_alike(source, served, rows)
    with pytest.raises(UsageError, match="no samples"):
        torch_to_exported_program.convert(source, tmp_path / "model.pt2", samples={})


def test_a_program_of_nested_inputs_is_refused(tmp_path):
    import torch

    namespace: dict = {}
    exec(NET, namespace)
    pair = (torch.ones(2), torch.ones(2))
    torch.export.save(torch.export.export(namespace["Pair"](), (pair,)), tmp_path / "pair.pt2")
    with pytest.raises(ConversionFailed, match="is a tuple of tensors"):
        made(exported_program_to_triton_python, source_artifact(str(tmp_path / "pair.pt2")), tmp_path)


def test_bfloat16_cannot_be_handed_to_numpy(tmp_path):
    (tmp_path / "net.py").write_text(NET)
    rows = {"x": np.ones((3, 4), np.float32)}
    source = source_artifact(f"{tmp_path}/net.py:narrow")
    exported = torch_to_exported_program.convert(source, tmp_path / "model.pt2", samples=rows)
    with pytest.raises(ConversionFailed, match="'output' is bfloat16"):
        made(exported_program_to_triton_python, exported, tmp_path)


def test_torchscript_is_served(trained, tmp_path):
    path = trained("digits_script.pt")
    source = source_artifact(str(path))
    rows = {name: values[:6] for name, values in np.load(path.with_suffix(".npz")).items()}
    served = made(torchscript_to_triton_python, source, tmp_path, samples=rows)
    assert_alike(source, served, rows)
