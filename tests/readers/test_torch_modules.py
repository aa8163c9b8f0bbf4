"""Factories: found, called, refused; and what else of the user's code they imported."""

import hashlib
import sys

import pytest
import torch

from mlconvert.artifact import Artifact
from mlconvert.errors import ConversionFailed, MissingPackage, UsageError
from mlconvert.readers.torch_modules import load_module, local_dependencies

GOOD = """
import torch
from torch import nn
from layers_of_test import WIDTH
CONSTANT = 3
instance = nn.Linear(2, 2)
def make_model():
    return nn.Sequential(nn.Linear(WIDTH, 2), nn.Dropout())
def with_argument(width):
    return nn.Linear(width, 2)
def with_default(width=3):
    return nn.Linear(width, 2)
def raises():
    raise KeyError("no such checkpoint")
def returns_dict():
    return {}
def on_meta():
    return nn.Linear(2, 2, device="meta")
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "model_of_test.py").write_text(GOOD)
    (tmp_path / "layers_of_test.py").write_text("WIDTH = 4\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.endswith("_of_test") or name.startswith("_factory_"):
            del sys.modules[name]


def torch_artifact(location, *files):
    return Artifact("torch", location, files)


def test_a_factory_in_a_file_builds_an_evaluating_module_and_may_import_its_neighbours(folder):
    path = list(sys.path)
    module = load_module(torch_artifact(f"{folder}/model_of_test.py:make_model"))
    assert module[0].in_features == 4
    assert not module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())
    assert sys.path == path


def test_a_factory_in_an_importable_module(folder):
    sys.path.insert(0, str(folder))
    assert isinstance(load_module(torch_artifact("model_of_test:with_default")), torch.nn.Linear)


def test_an_edited_file_is_read_again(folder):
    location = f"{folder}/model_of_test.py:with_default"
    assert load_module(torch_artifact(location)).in_features == 3
    (folder / "model_of_test.py").write_text(GOOD.replace("width=3", "width=17"))
    assert load_module(torch_artifact(location)).in_features == 17


def test_local_dependencies_are_the_users_files_and_their_digests(folder):
    load_module(torch_artifact(f"{folder}/model_of_test.py:make_model"))
    found = local_dependencies()
    neighbour = folder / "layers_of_test.py"
    assert found[str(neighbour.resolve())] == hashlib.sha256(neighbour.read_bytes()).hexdigest()
    assert str((folder / "model_of_test.py").resolve()) in found
    assert not [
        path for path in found if "site-packages" in path or "/mlconvert/" in path or path.endswith("/json/__init__.py")
    ]


@pytest.mark.parametrize(
    ("name", "error", "message", "hint"),
    [
        ("make_modle", UsageError, "has no 'make_modle'. Did you mean 'make_model'", "make_model"),
        ("CONSTANT", UsageError, "'CONSTANT' is a int, not a function", "return CONSTANT"),
        ("instance", UsageError, "'instance' is a Linear, not a function", "return instance"),
        ("with_argument", UsageError, "must take no arguments (missing a required argument: 'width')", "default"),
        ("raises", ConversionFailed, "the factory 'raises' failed: KeyError: 'no such checkpoint'", None),
        ("returns_dict", UsageError, "returned a dict, not a torch.nn.Module", "return model"),
        ("on_meta", ConversionFailed, "2 tensors of the model have no data", "give the weights"),
    ],
)
def test_what_is_no_factory_is_told(folder, name, error, message, hint):
    with pytest.raises(error) as caught:
        load_module(torch_artifact(f"{folder}/model_of_test.py:{name}"))
    assert message in caught.value.message
    assert caught.value.where == f"{folder}/model_of_test.py:{name}"
    assert hint is None or hint in caught.value.hint


def test_a_module_that_is_not_found_names_the_folder_to_run_from():
    with pytest.raises(UsageError, match="no Python module 'nowhere_of_test'") as caught:
        load_module(torch_artifact("nowhere_of_test.models:make"))
    assert "run from the folder that holds 'nowhere_of_test'" in caught.value.hint


def test_a_package_that_the_users_code_misses_is_named(folder):
    (folder / "model_of_test.py").write_text("import a_package_nobody_has\n")
    with pytest.raises(MissingPackage, match="imports 'a_package_nobody_has'"):
        load_module(torch_artifact(f"{folder}/model_of_test.py:make"))


@pytest.mark.parametrize(
    ("text", "message"), [("def make(:", "SyntaxError"), ("1/0", "ZeroDivisionError"), ("exit(3)", "ended")]
)
def test_a_file_that_cannot_be_imported(folder, text, message):
    (folder / "model_of_test.py").write_text(text)
    with pytest.raises(ConversionFailed, match=message):
        load_module(torch_artifact(f"{folder}/model_of_test.py:make"))


@pytest.mark.parametrize("location", ["model.py", "package.module", ":make", "no/such/file.py:make"])
def test_locations_that_name_no_factory(location):
    with pytest.raises(UsageError):
        load_module(torch_artifact(location))
