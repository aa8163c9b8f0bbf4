"""Models served by Triton's python backend: what lies in a version folder, its configuration, and the real server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from mlconvert.artifact import Artifact
from mlconvert.converters import (
    exported_program_to_triton_python,
    sklearn_to_triton_python,
    statsmodels_to_triton_python,
    torch_to_exported_program,
)
from mlconvert.errors import ConversionFailed, RepositoryInvalid, UsageError
from mlconvert.formats import source_artifact
from mlconvert.repositories.triton import options, publish
from mlconvert.repositories.triton.backends import backend_for, python
from mlconvert.repositories.triton.config import as_text, parse
from mlconvert.runners import sklearn as sklearn_runner
from mlconvert.runners import statsmodels as statsmodels_runner
from mlconvert.runners import torch as torch_runner
from mlconvert.serving.home import find_server


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """A pipeline over columns of numbers and text that ONNX has no exact operators for, and rows for it."""
    import pandas as pd
    from sklearn.compose import make_column_transformer
    from sklearn.impute import KNNImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder
    from skops import io

    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "age": random.normal(40, 10, 60),
            "income": np.where(random.random(60) < 0.2, np.nan, random.normal(size=60)),
            "city": random.choice(["Rome", "Köln", "Oslo"], 60),
        }
    )
    encoder = OneHotEncoder(handle_unknown="ignore")
    columns = make_column_transformer((KNNImputer(), ["age", "income"]), (encoder, ["city"]))
    model = make_pipeline(columns, LogisticRegression())
    model.fit(table, np.where(table.age > 40, "old", "young"))
    folder = tmp_path_factory.mktemp("people")
    io.dump(model, folder / "people.skops")
    rows = {name: table[name].to_numpy()[:7].reshape(-1, 1) for name in table}
    rows["city"] = rows["city"].astype(np.str_)
    rows["city"][1, 0] = "Łódź"
    return folder / "people.skops", rows


@pytest.fixture(scope="module")
def served_people(people, tmp_path_factory):
    path, rows = people
    folder = tmp_path_factory.mktemp("served")
    return sklearn_to_triton_python.convert(Artifact("sklearn", str(path), (path,)), folder / "model.py", samples=rows)


# A pickle of numpy 2 does not load under the numpy 1.26 that the server's Python has: it is made there.
COUNTS = """
import sys
import numpy as np
import pandas as pd
import statsmodels.api as sm
import statsmodels.formula.api as smf

random = np.random.default_rng(1)
table = pd.DataFrame({"w": random.uniform(1, 9, 80), "g": random.choice(["a", "b", "ü"], 80)})
table["y"] = random.poisson(np.exp(0.1 * table.w))
smf.glm("y ~ np.sqrt(w) + C(g)", table, family=sm.families.Poisson()).fit().save(sys.argv[1])
"""


@pytest.fixture
def served_counts(tmp_path):
    """A GLM with a formula of roots and categories, as its pickle, and rows with a category it never saw."""
    path = tmp_path / "counts.pkl"
    environment = {**os.environ, "PYTHONPATH": str(find_server().numpy or "")}
    subprocess.run([sys.executable, "-W", "ignore", "-c", COUNTS, str(path)], env=environment, check=True)
    source = Artifact("statsmodels", str(path), (path,), trusted=True)
    (tmp_path / "served").mkdir()
    rows = {"w": np.array([[1.5], [2.0], [8.0]]), "g": np.array([["a"], ["never"], ["ü"]])}
    return source, statsmodels_to_triton_python.convert(source, tmp_path / "served/model.py"), rows


# --- the version folder ---


def test_a_version_folder_holds_all_that_model_py_names(served_people, tmp_path):
    publish(served_people, tmp_path / "repository", "people")
    version = tmp_path / "repository/people/1"
    assert sorted(path.name for path in version.iterdir()) == [
        "__pycache__", "model.py", "model.skops", "requirements.txt",
    ]  # fmt: skip
    assert (version / "__pycache__").is_file()
    again = publish(served_people, tmp_path / "repository", "people")
    assert again.unchanged


def test_files_that_model_py_does_not_name_are_refused(served_people, tmp_path):
    for path in served_people.files:
        shutil.copy(path, tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    mine = tuple(tmp_path / path.name for path in served_people.files)
    with pytest.raises(RepositoryInvalid, match=r"does not use 'notes\.txt'"):
        python.placed_files(Artifact("triton-python", str(mine[0]), (*mine, tmp_path / "notes.txt")))
    (tmp_path / "model.skops").unlink()
    with pytest.raises(ConversionFailed, match=r"needs model\.skops, which is not there"):
        python.placed_files(Artifact("triton-python", str(mine[0]), mine))


def test_the_signature_is_read_without_running_anything(served_people, tmp_path):
    folder = served_people.folder
    assert python.published_signature(folder) == served_people.signature
    assert python.published_signature(tmp_path) is None
    (tmp_path / "model.py").write_text("raise SystemExit('run')\n")
    assert python.published_signature(tmp_path) is None


# --- the configuration ---


def test_what_is_not_pytorch_runs_on_the_cpu_only(served_people):
    described = python.describe(served_people.signature, "people", artifact=served_people)
    text = as_text(described.config, described.comments)
    assert 'backend: "python"' in text
    assert "kind: KIND_CPU" in text
    with pytest.raises(UsageError, match="runs on cpu only"):
        python.describe(served_people.signature, "people", artifact=served_people, instance_kind="gpu")
    assert python.misfits(described.config, served_people.signature, "people") == []


def test_an_environment_of_its_own(served_people):
    path = "$$TRITON_MODEL_DIRECTORY/environment.tar.gz"
    described = python.describe(served_people.signature, "people", artifact=served_people, execution_env=path)
    assert described.config.parameters["EXECUTION_ENV_PATH"].string_value == path
    assert "execution_env" in options("triton-python")
    with pytest.raises(UsageError, match="expected an absolute path"):
        python.describe(served_people.signature, "people", artifact=served_people, execution_env="environment.tar.gz")


def test_another_backend_is_a_misfit(served_people):
    described = python.describe(served_people.signature, "people", artifact=served_people)
    config = parse(as_text(described.config).replace('backend: "python"', 'backend: "onnxruntime"'), where="")
    assert [found.field for found in python.misfits(config, served_people.signature, "people")] == ["backend"]
    assert backend_for("triton-python").name == "python"


# --- the real server ---


def test_a_pipeline_over_columns_is_served(people, served_people, tmp_path, loads):
    path, rows = people
    wanted = sklearn_runner.load(Artifact("sklearn", str(path), (path,))).run(rows)
    publish(served_people, tmp_path / "repository", "people")
    answers = {"label": wanted["label"].reshape(-1, 1), "probabilities": wanted["probabilities"]}
    loads(tmp_path / "repository", answers={"people": (rows, answers)})


@pytest.mark.filterwarnings("ignore:numpy.core:DeprecationWarning")  # what a pickle of numpy 1 names
def test_results_with_a_formula_are_served(served_counts, tmp_path, loads):
    source, served, rows = served_counts
    wanted = statsmodels_runner.load(source).run(rows)
    assert np.isnan(wanted["variable"]).ravel().tolist() == [False, True, False]
    publish(served, tmp_path / "repository", "counts")
    loads(tmp_path / "repository", answers={"counts": (rows, wanted)})


NET = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(4, 3)

    def forward(self, x):
        hidden = self.layer(x)
        return {"logits": hidden, "parts": (hidden.exp(), hidden.sum(1))}

def build():
    return Net()
"""


def test_a_torch_module_is_served_without_its_code(tmp_path, loads):
    (tmp_path / "net.py").write_text(NET)
    source = source_artifact(f"{tmp_path}/net.py:build")
    rows = {"x": np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)}
    exported = torch_to_exported_program.convert(source, tmp_path / "model.pt2", samples=rows)
    (tmp_path / "served").mkdir()
    served = exported_program_to_triton_python.convert(exported, tmp_path / "served/model.py")
    wanted = torch_runner.load(source).run(rows)
    assert list(wanted) == ["logits", "parts_0", "parts_1"]
    publish(served, tmp_path / "repository", "net")
    (tmp_path / "net.py").unlink()
    answers = {**wanted, "parts_1": wanted["parts_1"].reshape(-1, 1)}
    loads(tmp_path / "repository", answers={"net": (rows, answers)})


def test_a_bad_row_fails_alone_and_no_cache_is_written(people, served_people, tmp_path, triton_server):
    """Many clients at once, so that the server joins their requests; one of them sends an infinity."""
    from concurrent.futures import ThreadPoolExecutor

    _, rows = people
    settings = {"max_queue_delay_us": 20_000}
    publish(served_people, tmp_path / "repository", "people", options=settings)
    shutil.copytree(tmp_path / "repository/people", triton_server.root / "people")
    client = triton_server.clients[1]
    client.load("people")
    try:
        good = {name: values[:1] for name, values in rows.items()}
        bad = {**good, "age": np.array([[np.inf]])}

        def ask(inputs):
            try:
                return client.infer("people", inputs)["label"].tolist()
            except RepositoryInvalid as error:
                return error.message

        with ThreadPoolExecutor(8) as pool:
            told = list(pool.map(ask, [bad, *[good] * 7] * 4))
        assert {str(answer) for answer in told if isinstance(answer, list)} == {str(told[1])}
        failures = [answer for answer in told if isinstance(answer, str)]
        assert len(failures) == 4
        assert all("ValueError: Input X contains infinity" in failure for failure in failures)
        assert (triton_server.root / "people/1/__pycache__").is_file()
    finally:
        triton_server.drop("people")
