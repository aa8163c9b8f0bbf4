"""Running a model.py without a server: what may be run without trust, and what a wrong answer looks like."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mlconvert.artifact import Artifact
from mlconvert.converters import sklearn_to_triton_python, torchscript_to_triton_python
from mlconvert.errors import ConversionFailed, UsageError
from mlconvert.formats import source_artifact
from mlconvert.python_backend import double
from mlconvert.runners import sklearn as sklearn_runner
from mlconvert.runners import triton_python as runner

ROWS = {"input": np.random.default_rng(0).normal(size=(9, 3))}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    from sklearn.gaussian_process import GaussianProcessClassifier
    from skops import io

    random = np.random.default_rng(1)
    model = GaussianProcessClassifier().fit(random.normal(size=(30, 3)), random.integers(0, 3, 30))
    path = tmp_path_factory.mktemp("source") / "gp.skops"
    io.dump(model, path)
    return Artifact("sklearn", str(path), (path,))


@pytest.fixture
def served(source, tmp_path):
    return sklearn_to_triton_python.convert(source, tmp_path / "model.py")


def changed(served: Artifact, old: str, new: str) -> Artifact:
    text = served.path.read_text(encoding="utf-8")
    assert old in text
    served.path.write_text(text.replace(old, new), encoding="utf-8")
    return served


def test_it_answers_as_the_estimator(source, served):
    wanted, told = sklearn_runner.load(source).run(ROWS), runner.load(served).run(ROWS)
    assert list(told) == list(wanted)
    for name, values in wanted.items():
        np.testing.assert_array_equal(told[name], values)
        assert told[name].dtype == values.dtype


def test_no_cache_is_left_behind(served):
    runner.load(served).run(ROWS)
    assert (served.folder / "__pycache__").is_file()
    assert source_artifact(str(served.folder)).files == served.files


# --- what may be run ---


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("import json\n", "import json\nimport os\n"),
        ('"predict_proba"', '"fit"'),
        ("class TritonPythonModel:", "raise SystemExit('run')\n\n\nclass TritonPythonModel:"),
    ],
)
def test_other_code_is_not_run_without_trust(served, old, new):
    with pytest.raises(UsageError, match="would run its author's code"):
        runner.load(changed(served, old, new))


def test_other_code_is_run_on_trust(served):
    other = changed(served, "import json\n", "import json\nimport math\n")
    assert list(runner.load(replace(other, trusted=True)).run(ROWS)) == ["label", "probabilities"]


def test_a_model_py_cannot_widen_the_list_of_trusted_types(served):
    with pytest.raises(UsageError, match=r"trusts types that are not on mlconvert's list: posix\.system"):
        runner.load(changed(served, "TRUSTED = [", 'TRUSTED = [\n    "posix.system",'))


def test_a_pickle_is_opened_on_trust_only(source, tmp_path):
    import pickle

    from skops import io

    path = tmp_path / "gp.pkl"
    path.write_bytes(pickle.dumps(io.load(source.path, trusted=io.get_untrusted_types(file=source.path))))
    with pytest.raises(UsageError, match="opened only on your word"):
        sklearn_to_triton_python.convert(Artifact("sklearn", str(path), (path,)), tmp_path / "model.py")
    trusted = Artifact("sklearn", str(path), (path,), trusted=True)
    served = sklearn_to_triton_python.convert(trusted, tmp_path / "model.py")
    assert served.trusted
    assert served.facts["runs_code"]
    runner.load(served).run(ROWS)
    with pytest.raises(UsageError, match="opened only on your word"):
        runner.load(replace(served, trusted=False))


# --- what is wrong ---


def test_an_answer_that_is_not_as_promised_is_an_error(served):
    trusted = replace(changed(served, '"probabilities": ("float64", ["batch", 3])',
                              '"probabilities": ("float32", ["batch", 1, 3])'), trusted=True)  # fmt: skip
    session = runner.load(replace(trusted, signature=None))
    assert session.signature == runner.signature(trusted)
    session.run(ROWS)  # in the dtype and the shape that config.pbtxt asks for
    wrong = changed(trusted, "values, dtype=self.dtypes[name]", "values")
    with pytest.raises(ConversionFailed, match=r"gives 'probabilities' as float64\[\d, 1, 3\] and promises"):
        runner.load(wrong).run(ROWS)


def test_the_reason_of_a_refused_request_is_told(served):
    with pytest.raises(ConversionFailed, match=r"model\.py: ValueError: Input X contains NaN"):
        runner.load(served).run({"input": np.full((4, 3), np.nan)})


def test_a_model_that_does_not_load(served):
    (served.folder / "model.skops").write_bytes(b"PK\x03\x04")
    with pytest.raises(ConversionFailed, match="not a readable"):
        runner.load(served)
    with pytest.raises(ConversionFailed, match=r"model\.py does not load"):
        runner.load(replace(served, trusted=True))


def test_a_bad_request_does_not_fail_the_one_beside_it(served):
    model = _model(served)
    names = ["label", "probabilities"]
    requests = [
        double.InferenceRequest([double.Tensor("input", values)], names)
        for values in (ROWS["input"][:2], np.full((1, 3), np.inf), ROWS["input"][2:3])
    ]
    first, second, third = model.execute(requests)
    assert [len(tensor.as_numpy()) for tensor in first.output_tensors()] == [2, 2]
    assert "ValueError: Input X contains infinity" in second.error().message()
    assert not third.has_error()


def test_only_what_is_asked_for_is_computed(served):
    (response,) = _model(served).execute([double.InferenceRequest([double.Tensor("input", ROWS["input"])], ["label"])])
    assert [tensor.name() for tensor in response.output_tensors()] == ["label"]


def _model(served: Artifact):
    """The TritonPythonModel of a model.py, as the runner loads it."""
    from types import ModuleType

    with double.importable():
        module = ModuleType("model")
        module.__file__ = str(served.path)
        exec(compile(served.path.read_text(encoding="utf-8"), "model.py", "exec"), vars(module))
    model = module.TritonPythonModel()
    model.initialize(runner._arguments(served, runner.signature(served)))
    return model


# --- PyTorch ---


def test_a_model_of_one_row_is_asked_request_by_request(trained, tmp_path):
    path = trained("digits_script.pt")
    rows = dict(np.load(path.with_suffix(".npz")))
    served = torchscript_to_triton_python.convert(
        source_artifact(str(path)), tmp_path / "model.py", samples=rows, static=True
    )
    assert "cannot be joined" in served.path.read_text(encoding="utf-8")
    one = {name: values[:1] for name, values in rows.items()}
    told = runner.load(served).run(one)
    wanted = _script(path).run(one)
    assert list(told) == list(wanted)
    for name, values in wanted.items():
        np.testing.assert_array_equal(told[name], values)


def _script(path: Path):
    from mlconvert.runners import torchscript

    return torchscript.load(source_artifact(str(path)))


# --- the stand-in and the real module ---


def test_the_stand_in_knows_the_types_of_the_real_module():
    from mlconvert.serving.home import find_server

    folder = find_server().backend_folder("python")
    assert folder is not None
    tree = ast.parse((folder / "triton_python_backend_utils.py").read_text(encoding="utf-8"))
    table = next(
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "TRITON_STRING_TO_NUMPY"
    )
    assert isinstance(table, ast.Dict)
    real = {ast.literal_eval(key): ast.unparse(value) for key, value in zip(table.keys, table.values, strict=True)}
    names = {"bool": "bool", "np.bool_": "bool", "np.object_": "object"}
    assert {name: names.get(value, value.removeprefix("np.")) for name, value in real.items()} == dict(
        double.NUMPY_TYPES
    )


def test_a_dtype_that_the_server_has_not_is_refused():
    with pytest.raises(double.TritonModelException, match="Unsupported numpy dtype"):
        double.Tensor("x", np.array(["text"]))
