"""The fixtures' script: the same bytes twice, made once, safe beside another, and nothing more than asked for."""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from mlconvert.formats import recognise, source_artifact

FOLDER = Path(__file__).resolve().parent.parent / "fixtures"
MAKE = FOLDER / "make.py"

# Model, its format, its samples.
MODELS = [
    ("bikes.skops", "sklearn", "bikes.csv"),
    ("breast_cancer.txt", "lightgbm", "breast_cancer.csv"),
    ("churn.skops", "sklearn", "churn.csv"),
    ("claims.pkl", "statsmodels", "claims.csv"),
    ("diabetes.cbm", "catboost", "diabetes.csv"),
    ("digits.pt2", "exported-program", "digits.npz"),
    ("digits_lite.tflite", "tflite", "digits_lite.npz"),
    ("digits_lite_int8.tflite", "tflite", "digits_lite_int8.npz"),
    ("digits_script.pt", "torchscript", "digits_script.npz"),
    ("iris_xgboost.json", "xgboost", "iris_xgboost.csv"),
    ("iris_xgboost.ubj", "xgboost", "iris_xgboost.csv"),
    ("keras_cnn.keras", "keras", "keras_cnn.npz"),
    ("keras_mlp.keras", "keras", "keras_mlp.npz"),
    ("loans.ubj", "xgboost", "loans.csv"),
    ("mlp.onnx", "onnx", "mlp.npz"),
    ("bert.onnx", "onnx", "bert.npz"),
    ("int8_static.onnx", "onnx", "int8_static.npz"),
    ("tickets.skops", "sklearn", "tickets.csv"),
    ("tiny_transformer.safetensors", "safetensors", "tiny_transformer.npz"),
    ("wine_forest.skops", "sklearn", "wine_forest.npz"),
]
# skops names parts by their place in memory; CatBoost gives each model a new identifier; Keras writes the date. The
# networks' exports are the same too, but all sixteen of them a second time would take half a minute.
SAME_BYTES = [name for name, _, _ in MODELS if not name.endswith((".skops", ".cbm", ".keras", ".onnx"))]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(MAKE), *map(str, arguments)], capture_output=True, text=True, check=False
    )


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(("name", "form", "samples"), MODELS)
def test_each_model_is_of_its_format_small_and_has_samples(trained, name, form, samples):
    path = trained(name)
    assert recognise(str(path)) == form
    assert path.stat().st_size < 2 << 20
    assert path.with_name(samples).stat().st_size > 0
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.fixture(scope="module")
def again(tmp_path_factory):
    """Every model whose library allows it, made a second time by another process."""
    folder = tmp_path_factory.mktemp("again")
    done = run(*SAME_BYTES, "-o", folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("name", SAME_BYTES)
def test_the_same_bytes_twice(trained, again, name):
    assert digest(trained(name)) == digest(again / name)


def xgboost_names(path: Path) -> list[str]:
    import xgboost

    return xgboost.Booster(model_file=path).feature_names


def test_samples_have_the_columns_and_inputs_of_their_models(trained):
    import numpy as np

    header = trained("breast_cancer.txt").with_suffix(".csv").read_text().splitlines()[0].split(",")
    lines = trained("breast_cancer.txt").read_text().splitlines()
    names = next(line for line in lines if line.startswith("feature_names=")).removeprefix("feature_names=").split()
    assert header == names
    with trained("bikes.skops").with_suffix(".csv").open(encoding="utf-8") as stream:
        bikes = list(csv.DictReader(stream))
    assert any(row["humidity"] == "" for row in bikes)
    assert any(row["weather"] == "hail" for row in bikes)  # a category that training never saw
    with trained("loans.ubj").with_suffix(".csv").open(encoding="utf-8") as stream:
        loans = list(csv.DictReader(stream))
    assert list(loans[0]) == xgboost_names(trained("loans.ubj"))
    assert {name for row in loans for name, cell in row.items() if cell == ""} == {
        "income", "debt_ratio", "months_since_default",
    }  # fmt: skip
    tickets = trained("tickets.skops").with_suffix(".csv").read_text(encoding="utf-8")
    assert all(word in tickets for word in ("Größe", "RÜCKGABE", "παράδοση", "№"))
    assert "Zürich" in trained("churn.skops").with_suffix(".csv").read_text(encoding="utf-8")
    with np.load(trained("tiny_transformer.safetensors").with_suffix(".npz")) as arrays:
        assert set(arrays) == {"input_ids", "attention_mask"}
        assert arrays["input_ids"].dtype == arrays["attention_mask"].dtype == np.int64
        assert arrays["attention_mask"].sum(axis=1).min() > 0  # a fully masked row differs between frameworks
        assert arrays["attention_mask"].min() == 0
    with np.load(trained("digits.pt2").with_suffix(".npz")) as arrays:
        assert (arrays["image"].shape, arrays["image"].dtype) == ((128, 1, 8, 8), np.float32)


def test_the_factory_takes_the_weights(trained):
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import networks, torch\n"
        "from safetensors.torch import load_file\n"
        "network = networks.tiny_transformer()\n"
        "network.load_state_dict(load_file(sys.argv[2]))\n"
        "ids = torch.ones(2, 5, dtype=torch.int64)\n"
        "assert network(input_ids=ids, attention_mask=ids).logits.shape == (2, 3)\n"
    )
    weights = trained("tiny_transformer.safetensors")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(FOLDER), str(weights)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    artifact = source_artifact(f"{FOLDER}/networks.py:tiny_transformer", weights=str(weights))
    assert artifact.files == (weights,)


def test_the_table_of_networks_is_that_of_the_fixture():
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import exports, make\n"
        "assert 'torch' not in sys.modules\n"
        "assert tuple(row.name for row in exports.table()) == make.EXPORTED\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(FOLDER)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_is_there_is_kept_and_what_is_not_ours_is_made_again(tmp_path):
    model = tmp_path / "iris_xgboost.ubj"
    first = run("iris_xgboost", "-o", tmp_path)
    assert (first.returncode, "made" in first.stderr) == (0, True)
    before = model.stat().st_mtime_ns
    assert "kept" in run("iris_xgboost.json", "-o", tmp_path).stderr
    assert model.stat().st_mtime_ns == before

    good = digest(model)
    model.write_bytes(model.read_bytes()[:100])  # half a file
    assert "made" in run("iris_xgboost", "-o", tmp_path).stderr
    assert digest(model) == good
    stamp = tmp_path / ".made" / "iris_xgboost.json"
    stamp.write_text(json.dumps({**json.loads(stamp.read_text()), "digest": "of another script"}))
    assert "made" in run("iris_xgboost", "-o", tmp_path).stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".made", "iris_xgboost.csv", "iris_xgboost.json", "iris_xgboost.ubj",
    ]  # fmt: skip
    assert sorted(path.name for path in (tmp_path / ".made").iterdir()) == ["iris_xgboost.json", "iris_xgboost.lock"]


def test_several_processes_at_once_make_a_model_once(tmp_path):
    command = [sys.executable, str(MAKE), "iris_xgboost", "-o", str(tmp_path)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    said = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sorted(text.split()[1] for text in said) == ["kept", "kept", "made"]


def test_a_maker_that_fails_leaves_nothing(tmp_path):
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import make, pathlib, dataclasses\n"
        "def broken(folder):\n"
        "    (folder / 'churn.skops').write_text('half')\n"
        "    raise RuntimeError('disk')\n"
        "make.FIXTURES = tuple(dataclasses.replace(row, make=broken) for row in make.FIXTURES)\n"
        "make.make('churn', pathlib.Path(sys.argv[2]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(FOLDER), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert "RuntimeError: disk" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [".made"]
    assert [path.name for path in (tmp_path / ".made").iterdir()] == ["churn.lock"]


def test_only_the_packages_of_the_asked_model_are_imported(tmp_path):
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import make\n"
        "assert make.main(['--list']) == 0\n"
        "assert not {'numpy', 'sklearn', 'torch'} & set(sys.modules)\n"
        "assert make.main(['breast_cancer', '-o', sys.argv[2]]) == 0\n"
        "assert not {'torch', 'xgboost', 'catboost', 'transformers', 'skops'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(FOLDER), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "tiny_transformer" in done.stdout


def test_a_wrong_name_makes_nothing_and_suggests_one(tmp_path):
    done = run("churn", "brest_cancer", "-o", tmp_path / "out")
    assert done.returncode != 0
    assert "did you mean 'breast_cancer'?" in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_models_are_ignored_by_git():
    assert "models/" in (FOLDER / ".gitignore").read_text().splitlines()
