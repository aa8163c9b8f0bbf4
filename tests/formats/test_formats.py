"""Formats are told by content; damaged, empty, foreign and contradicting files are told apart."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import shutil
import subprocess
import sys
import time
import warnings
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlconvert.errors import ConversionFailed, UsageError
from mlconvert.formats import (
    FORMATS,
    format_named,
    hint_for,
    looks_like,
    recognise,
    resolve,
    source_artifact,
    source_sha256,
)
from mlconvert.formats.factories import parse_factory
from mlconvert.formats.locations import MAIN_NAMES
from mlconvert.formats.protobuf_wire import external_locations

# --- the models, small, one of each kind ---


@pytest.fixture(scope="module")
def models(tmp_path_factory, trained):
    """A folder with one file of each format, named for what it is."""
    import joblib
    import numpy as np
    import torch
    from safetensors.torch import save_file
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    folder = tmp_path_factory.mktemp("models")
    for name, fixture in {
        "lightgbm.txt": "breast_cancer.txt",
        "xgboost.json": "iris_xgboost.json",
        "xgboost.ubj": "iris_xgboost.ubj",
        "catboost.cbm": "diabetes.cbm",
        "sklearn.skops": "wine_forest.skops",
        "exported-program.pt2": "digits.pt2",
        "torchscript.pt": "digits_script.pt",
        "keras.keras": "keras_mlp.keras",
        "tflite.tflite": "digits_lite.tflite",
    }.items():
        shutil.copy(trained(fixture), folder / name)

    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(np.arange(20.0).reshape(10, 2), [0, 1] * 5)
    (folder / "sklearn.pkl").write_bytes(pickle.dumps(pipeline))
    (folder / "sklearn_protocol_0.pkl").write_bytes(pickle.dumps(pipeline, 0))
    joblib.dump(pipeline, folder / "sklearn.joblib")
    joblib.dump(pipeline, folder / "sklearn_xz.joblib", compress=("xz", 3))
    joblib.dump(pipeline, folder / "sklearn_zlib.joblib", compress=3)
    (folder / "pickle.pkl").write_bytes(pickle.dumps(Path("x")))

    network = torch.nn.Linear(3, 2)
    torch.save(network.state_dict(), folder / "state-dict.pt")
    torch.save(network.state_dict(), folder / "state-dict_before_1.6.pt", _use_new_zipfile_serialization=False)
    torch.save(network, folder / "pickle_module.pt")
    torch.save(network, folder / "pickle_module_before_1.6.pt", _use_new_zipfile_serialization=False)
    save_file(network.state_dict(), str(folder / "safetensors.safetensors"))
    with zipfile.ZipFile(folder / "aotinductor.pt2", "w") as archive:  # compiling one takes half a minute
        archive.writestr("model/archive_format", "pt2")
        archive.writestr("model/data/aotinductor/model/wrapper.so", b"\x7fELF")
    with zipfile.ZipFile(folder / "exported-program_before_2.7.pt2", "w") as archive:
        archive.writestr("serialized_exported_program.json", "{}")
    with zipfile.ZipFile(folder / "jar.jar", "w") as archive:
        archive.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\r\n")
        archive.writestr("META-INF/mlconvert.json", "{}")
    header = '<Header><Application name="an application" version="1"/></Header>'
    (folder / "pmml.pmml").write_text(f'<?xml version="1.0"?>\n<PMML version="4.4">{header}</PMML>')
    write_onnx(folder / "onnx.onnx")
    return folder


def write_onnx(path, *, external=None, inner_external=None, rows=8):
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weight = numpy_helper.from_array(np.ones((4, rows), np.float32), "weight")
    if external is not None:
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
        weight.external_data.add(key="location", value=external)
        weight.external_data.add(key="length", value=str(4 * 4 * rows))
    value = numpy_helper.from_array(np.ones(rows, np.float32), "value")
    if inner_external is not None:
        value.ClearField("raw_data")
        value.data_location = TensorProto.EXTERNAL
        value.external_data.add(key="location", value=inner_external)
    branch = helper.make_graph(
        [helper.make_node("Constant", [], ["c"], value=value)],
        "branch",
        [],
        [helper.make_tensor_value_info("c", TensorProto.FLOAT, [rows])],
    )
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "weight"], ["y"]),
            helper.make_node("If", ["flag"], ["z"], then_branch=branch, else_branch=branch),
        ],
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4]),
            helper.make_tensor_value_info("flag", TensorProto.BOOL, []),
        ],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", rows]),
            helper.make_tensor_value_info("z", TensorProto.FLOAT, [rows]),
        ],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="test")
    model.metadata_props.add(key="a", value="b")
    path.write_bytes(model.SerializeToString())
    assert onnx.load(path, load_external_data=False).graph.name == "g"


def expected(name: str) -> str:
    return name.partition(".")[0].partition("_")[0]


NAMES = [
    "aotinductor.pt2",
    "catboost.cbm",
    "exported-program.pt2",
    "exported-program_before_2.7.pt2",
    "jar.jar",
    "keras.keras",
    "lightgbm.txt",
    "onnx.onnx",
    "pickle.pkl",
    "pickle_module.pt",
    "pickle_module_before_1.6.pt",
    "pmml.pmml",
    "safetensors.safetensors",
    "sklearn.joblib",
    "sklearn.pkl",
    "sklearn.skops",
    "sklearn_protocol_0.pkl",
    "sklearn_xz.joblib",
    "sklearn_zlib.joblib",
    "state-dict.pt",
    "state-dict_before_1.6.pt",
    "tflite.tflite",
    "torchscript.pt",
    "xgboost.json",
    "xgboost.ubj",
]


@pytest.mark.parametrize("name", NAMES)
def test_every_kind_of_file(models, name):
    assert recognise(str(models / name)) == expected(name)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("suffix", [".onnx", ".txt", ""])
def test_content_beats_the_suffix(models, name, suffix, tmp_path):
    other = tmp_path / f"renamed{suffix}"
    shutil.copy(models / name, other)
    assert recognise(str(other)) == expected(name)


@pytest.mark.parametrize("name", NAMES)
def test_no_two_recognisers_know_one_file(models, name):
    from mlconvert.formats.content import Content

    assert [row.name for row in FORMATS if row.recognises(Content.of(models / name))] == [expected(name)]


@pytest.mark.parametrize("name", NAMES)
def test_from_agrees_with_the_content_or_is_refused(models, name):
    for row in FORMATS:
        if row.name == expected(name) or {row.name, expected(name)} == {"pickle", "sklearn"}:
            assert recognise(str(models / name), format=row.name) == row.name
        else:
            with pytest.raises(UsageError, match="not"):
                recognise(str(models / name), format=row.name)


def test_from_with_an_unknown_name_suggests_one():
    with pytest.raises(UsageError, match="Did you mean 'lightgbm'") as caught:
        recognise("model.txt", format="lightgmb")
    assert "onnx" in (caught.value.hint or "")


# --- damage ---

# Not those that a truncation makes a pickle of something unknown; their loaders notice.
DAMAGED_NAMES = [
    name for name in NAMES if not name.startswith(("pickle", "sklearn_")) and name != "state-dict_before_1.6.pt"
]


@pytest.mark.parametrize("name", DAMAGED_NAMES)
@pytest.mark.parametrize("kept", [0.5, 0.9, -1])
def test_a_truncated_file_is_damaged_not_unknown(models, name, kept, tmp_path):
    data = (models / name).read_bytes()
    cut = tmp_path / name
    cut.write_bytes(data[: int(len(data) * kept)] if kept > 0 else data[:kept])
    if (name, kept) == ("lightgbm.txt", -1):  # a model is whole without what follows 'end of trees'
        assert recognise(str(cut)) == "lightgbm"
        return
    with pytest.raises(ConversionFailed, match=r"truncated|damaged|header says") as caught:
        recognise(str(cut))
    assert str(cut) == caught.value.where


@settings(deadline=None, max_examples=60)
@given(cut=st.floats(0.05, 1, exclude_max=True))
def test_an_onnx_file_cut_anywhere_is_never_taken_for_a_model(models, tmp_path_factory, cut):
    data = (models / "onnx.onnx").read_bytes()
    path = tmp_path_factory.mktemp("cut") / "cut.onnx"
    length = int(len(data) * cut)
    path.write_bytes(data[:length])
    whole_without_its_end = b"\x72" + b"\x06" + b"\x0a\x01a\x12\x01b"  # metadata_props: the model is whole without it
    if length == len(data) - len(whole_without_its_end) or length < 4:
        return
    with pytest.raises((ConversionFailed, UsageError)):
        recognise(str(path))


def test_an_empty_file_is_named(tmp_path):
    path = tmp_path / "model.onnx"
    path.touch()
    with pytest.raises(UsageError, match=r"model\.onnx is empty"):
        recognise(str(path))


def test_a_missing_file_suggests_its_neighbour(tmp_path):
    (tmp_path / "breast_cancer.txt").touch()
    with pytest.raises(UsageError, match=r"does not exist.*Did you mean 'breast_cancer\.txt'"):
        recognise(str(tmp_path / "brest_cancer.txt"))
    with pytest.raises(UsageError, match="does not exist") as caught:
        recognise(str(tmp_path / "nowhere" / "model.txt"))
    assert "nowhere" in (caught.value.hint or "")


def test_a_text_file_called_onnx_says_what_it_looks_like(tmp_path):
    path = tmp_path / "notes.onnx"
    path.write_text("Dear diary,\ntoday\n")
    with pytest.raises(
        UsageError, match=r"is not an ONNX model, as its name says: .* text that begins with 'Dear diary,'"
    ):
        recognise(str(path))


@settings(deadline=None, max_examples=200)
@given(data=st.binary(min_size=1, max_size=300), suffix=st.sampled_from([".onnx", ".txt", ".pt2", ".json", ".pkl", ""]))
def test_noise_is_refused_with_an_error_of_ours(tmp_path_factory, data, suffix):
    path = tmp_path_factory.mktemp("noise") / f"noise{suffix}"
    path.write_bytes(data)
    try:
        found = recognise(str(path))
    except (UsageError, ConversionFailed):
        return
    assert found == "pickle", "a few bytes may be a pickle of a small value, and nothing else"


@settings(deadline=None, max_examples=400)
@given(data=st.data(), name=st.sampled_from(NAMES))
def test_damaged_bytes_end_in_an_answer_or_an_error_of_ours(models, tmp_path_factory, data, name):
    """A zip's directory with offsets outside the file or names that are no text, a pickle's lengths that lie, …"""
    content = bytearray((models / name).read_bytes())
    near_an_end = st.integers(0, min(2000, len(content)) - 1)
    for place in data.draw(st.lists(near_an_end | near_an_end.map(lambda n: -1 - n), min_size=1, max_size=20)):
        content[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / name
    path.write_bytes(content)
    with contextlib.suppress(UsageError, ConversionFailed):
        source_artifact(str(path))


# --- what is known but cannot be read ---

FOREIGN = {
    "model.h5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
    "model.gguf": (b"GGUF\x03\x00\x00\x00" + bytes(50), "GGUF"),
    "model.bin": (b"binf" + bytes(50), "old binary format"),
    "raw_xgboost.model": (
        bytes(40) + b"\x0e" + bytes(7) + b"binary:logistic\x06" + bytes(7) + b"gbtree",
        "old binary format",
    ),
    "pointer.onnx": (b"version https://git-lfs.example/spec/v1\noid sha256:ab\nsize 12\n", "git lfs pull"),
    "login.onnx": (b"<!DOCTYPE html>\n<html>", "web page"),
    "samples.npy": (b"\x93NUMPY\x01\x00", "samples"),
    "samples.npz": (None, "samples, not a model"),
    "samples.parquet": (b"PAR1" + bytes(40), "Parquet"),
    "dump.json": (b'{"name": "tree", "version": "v4"}', "LightGBM's JSON dump"),
    "library.so": (b"\x7fELF" + bytes(40), "shared library"),
    "archive.zip": (None, "a zip archive that holds readme.txt"),
    "data.csv": (b"a,b\n1,2\n", "text that begins with 'a,b'"),
    "noise.dat": (bytes(range(128, 256)), "binary data that begins with 80 81"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_files_are_named(name, tmp_path):
    data, words = FOREIGN[name]
    path = tmp_path / name
    if data is None:
        inside = {
            "samples.npz": ["a.npy", "b.npy"],
            "archive.zip": ["readme.txt"],
        }[name]
        with zipfile.ZipFile(path, "w") as archive:
            for member in inside:
                archive.writestr(member, "x")
    else:
        path.write_bytes(data)
    with pytest.raises(UsageError) as caught:
        recognise(str(path))
    assert words in caught.value.message
    assert words in looks_like(path)


def test_a_saved_model_is_recognised_by_its_content(tmp_path):
    main = tmp_path / "saved_model.pb"
    main.write_bytes(b"\x08\x01\x12\x02\x0a\x00")
    assert recognise(str(tmp_path)) == "saved-model"
    main.write_bytes(b"\x08\x01")
    with pytest.raises(UsageError, match=r"saved_model\.pb"):
        recognise(str(tmp_path))


def test_a_saved_model_has_whole_variables(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"\x08\x01\x12\x02\x0a\x00")
    (tmp_path / "variables").mkdir()
    (tmp_path / "variables" / "variables.index").write_bytes(b"x")
    with pytest.raises(ConversionFailed, match="not whole"):
        source_artifact(str(tmp_path))
    (tmp_path / "variables" / "variables.data-00000-of-00001").write_bytes(b"x")
    assert [path.name for path in source_artifact(str(tmp_path)).files] == [
        "saved_model.pb", "variables.data-00000-of-00001", "variables.index",
    ]  # fmt: skip


def test_the_hint_of_a_pickle_names_its_class(models):
    path = str(models / "pickle.pkl")
    assert f"{type(Path()).__module__}.{type(Path()).__name__}" in (hint_for(recognise(path), path) or "")
    module = str(models / "pickle_module.pt")
    assert "torch.nn.modules.linear.Linear" in (hint_for(recognise(module), module) or "")
    weights = str(models / "state-dict.pt")
    assert f"--weights {weights}" in (hint_for("state-dict", weights) or "")
    assert hint_for("onnx", "x.onnx") is None


# --- factories ---


@pytest.mark.parametrize(
    ("location", "is_factory"),
    [
        ("package.module:factory", True),
        ("module:factory", True),
        ("path/to/file.py:factory", True),
        ("../file.py:factory", True),
        ("C:\\models\\model.onnx", False),
        ("C:/models/model.onnx", False),
        ("model.onnx", False),
        ("module:", False),
        (":factory", False),
        ("a b:c", False),
        ("package..module:f", False),
        ("1package:f", False),
    ],
)
def test_what_a_factory_looks_like(location, is_factory):
    assert (parse_factory(location) is not None) == is_factory


def test_a_file_that_exists_wins_over_a_factory(models, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(models / "onnx.onnx", "models:latest")
    assert recognise("models:latest") == "onnx"
    assert recognise("models:oldest") == "torch"


@pytest.fixture
def package(tmp_path, monkeypatch):
    (tmp_path / "netz" / "inner").mkdir(parents=True)
    for folder in ("netz", "netz/inner"):
        (tmp_path / folder / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (tmp_path / "netz" / "inner" / "module.py").write_text("raise RuntimeError('imported')\ndef factory(): ...\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_factory_becomes_an_artifact_and_nothing_is_imported(package, models):
    artifact = source_artifact("netz.inner.module:factory", weights=str(models / "state-dict.pt"))
    assert (artifact.format, artifact.location) == ("torch", "netz.inner.module:factory")
    assert artifact.files == (models / "state-dict.pt",)
    in_file = source_artifact("netz/inner/module.py:factory")
    assert in_file.location == f"{package}/netz/inner/module.py:factory"
    assert in_file.files == ()
    assert recognise("netz.inner.module:factory", format="torch") == "torch"


def test_the_digest_of_a_factory_covers_its_module_its_weights_and_its_name(package, models):
    module = package / "netz" / "inner" / "module.py"
    module.write_text("def factory(): ...\ndef other(): ...\n")
    spellings = ("netz.inner.module:factory", "netz.inner.module:other", "netz/inner/module.py:factory")
    digests = [source_sha256(source_artifact(spelling)) for spelling in spellings]
    digests += [source_sha256(source_artifact(spellings[0], weights=str(models / "state-dict.pt")))]
    digests += [source_sha256(source_artifact(spellings[0], weights=str(models / "safetensors.safetensors")))]
    assert len(set(digests)) == len(digests)
    assert digests[0] == source_sha256(source_artifact(spellings[0]))
    module.write_text("def factory(): return 1\ndef other(): ...\n")
    assert source_sha256(source_artifact(spellings[0])) != digests[0]


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("netz.inner.module:factroy", "has no 'factroy'.*Did you mean 'factory'"),
        ("netz/inner/module.py:factroy", "has no 'factroy'.*Did you mean 'factory'"),
        ("netz/inner/modul.py:factory", r"does not exist.*Did you mean 'module\.py'"),
        ("netz.outer:factory", "there is no module 'netz.outer'"),
        ("no_such_package_here:factory", "there is no module"),
    ],
)
def test_a_factory_that_is_not_there(package, location, message):
    with pytest.raises(UsageError, match=message):
        source_artifact(location)


def test_a_module_that_is_not_python(package):
    (package / "broken.py").write_text("def factory(:\n")
    with pytest.raises(UsageError, match="is not valid Python") as caught:
        source_artifact("broken:factory")
    assert (caught.value.where or "").endswith("broken.py:1")


def test_names_that_only_running_the_module_shows_are_not_refused(package):
    (package / "dynamic.py").write_text("from netz import *\n")
    assert source_artifact("dynamic:anything").format == "torch"


def test_weights_are_weights_and_only_for_factories(package, models):
    with pytest.raises(UsageError, match=r"--weights .* is an ONNX model"):
        source_artifact("netz.inner.module:factory", weights=str(models / "onnx.onnx"))
    with pytest.raises(UsageError, match="--weights is for a factory"):
        source_artifact(str(models / "onnx.onnx"), weights=str(models / "state-dict.pt"))
    with pytest.raises(UsageError, match="is torch, not onnx"):
        recognise("netz.inner.module:factory", format="onnx")


def test_the_repository_s_own_factory():
    location = str(Path(__file__).parents[2] / "fixtures" / "networks.py") + ":tiny_transformer"
    assert source_artifact(location).location == location


# --- folders ---


def test_folders_are_resolved_to_the_model_inside(models, tmp_path):
    plain = tmp_path / "plain"
    plain.mkdir()
    shutil.copy(models / "lightgbm.txt", plain / "model.txt")
    (plain / "notes.md").touch()
    assert resolve(str(plain)) == plain / "model.txt"

    recorded = tmp_path / "recorded"
    recorded.mkdir()
    shutil.copy(models / "onnx.onnx", recorded / "mine.onnx")
    (recorded / "record.json").write_text(
        json.dumps({"schema": "mlconvert.record/1", "path": "mine.onnx", "files": []})
    )
    assert recognise(str(recorded)) == "onnx"
    assert resolve(str(recorded)) == recorded / "mine.onnx"

    repository = tmp_path / "repository" / "classifier"
    for version in ("1", "2", "10", "011", "12.tmp"):
        (repository / version).mkdir(parents=True)
        shutil.copy(models / "onnx.onnx", repository / version / "model.onnx")
    assert resolve(str(repository)) == repository / "10" / "model.onnx"
    assert resolve(str(repository / "2")) == repository / "2" / "model.onnx"

    nested = tmp_path / "nested" / "1" / "model.onnx"
    nested.mkdir(parents=True)
    shutil.copy(models / "onnx.onnx", nested / "model.onnx")
    assert resolve(str(tmp_path / "nested")) == nested / "model.onnx"


def test_folders_that_do_not_say_which_model(models, tmp_path):
    with pytest.raises(UsageError, match="an empty folder"):
        recognise(str(tmp_path))
    shutil.copy(models / "onnx.onnx", tmp_path / "model.onnx")
    shutil.copy(models / "lightgbm.txt", tmp_path / "model.txt")
    with pytest.raises(UsageError, match=r"several models: model\.onnx, model\.txt"):
        recognise(str(tmp_path))
    for path in ("../onnx.onnx", "none.onnx"):
        (tmp_path / "record.json").write_text(json.dumps({"path": path}))
        with pytest.raises(UsageError, match="not in the folder"):
            recognise(str(tmp_path))


def test_every_conventional_name_is_found_in_a_folder():
    assert {row.filename for row in FORMATS if row.filename} - set(MAIN_NAMES) == {"model.py", "model.safetensors"}


def test_the_table_is_alphabetical_and_complete():
    names = [row.name for row in FORMATS]
    assert names == sorted(names)
    from mlconvert.converters import CONVERTERS
    from mlconvert.runners import RUNNERS

    used = {row.source for row in CONVERTERS} | {row.target for row in CONVERTERS} | {row.format for row in RUNNERS}
    assert used <= set(names)
    assert format_named("onnx").suffixes == (".onnx",)


# --- external data ---


def test_external_data_belong_to_the_artifact(tmp_path):
    write_onnx(tmp_path / "model.onnx", external="model.onnx.data", inner_external="more/inner.bin")
    (tmp_path / "model.onnx.data").write_bytes(bytes(128))
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "inner.bin").write_bytes(bytes(32))
    artifact = source_artifact(str(tmp_path / "model.onnx"))
    assert artifact.files == tuple(tmp_path / name for name in ("model.onnx", "model.onnx.data", "more/inner.bin"))
    before = source_sha256(artifact)
    (tmp_path / "more" / "inner.bin").write_bytes(bytes(31) + b"x")
    assert source_sha256(artifact) != before


def test_a_model_without_external_data_is_its_own_digest(models):
    import hashlib

    artifact = source_artifact(str(models / "onnx.onnx"))
    assert artifact.files == (models / "onnx.onnx",)
    assert source_sha256(artifact) == hashlib.sha256((models / "onnx.onnx").read_bytes()).hexdigest()


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/hostname", "link.bin", "sub/../../secret.bin", "."])
def test_external_data_outside_the_folder_are_refused(location, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(128))
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    write_onnx(folder / "model.onnx", external=location)
    with pytest.raises(ConversionFailed, match="outside its folder"):
        source_artifact(str(folder / "model.onnx"))


def test_external_data_that_are_not_there(tmp_path):
    write_onnx(tmp_path / "model.onnx", external="weights.bin")
    with pytest.raises(ConversionFailed, match=r"'weights\.bin', which is not there"):
        source_artifact(str(tmp_path / "model.onnx"))


def test_the_scan_steps_over_the_weights(tmp_path):
    """A file of 3 GB (with a hole: it takes no room) is recognised and scanned in a moment, and without reading it."""
    path = tmp_path / "large.onnx"
    size = 3 << 30

    def field(number, body_length):
        return _varint(number << 3 | 2) + _varint(body_length)

    tensor_head = field(9, size)
    graph_head = field(5, len(tensor_head) + size)
    start = b"\x08\x0a" + field(7, len(graph_head) + len(tensor_head) + size) + graph_head + tensor_head
    with path.open("wb") as stream:
        stream.write(start)
        stream.seek(size, os.SEEK_CUR)
        stream.write(field(8, 2) + b"\x10\x11")
    begun = time.perf_counter()
    assert recognise(str(path)) == "onnx"
    assert external_locations(path) == ()
    assert time.perf_counter() - begun < 2  # reading 3 GB takes longer on any of our machines


def _varint(value):
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def test_the_external_locations_are_those_of_onnx_itself(tmp_path):
    write_onnx(tmp_path / "model.onnx", external="a.bin", inner_external="b.bin")
    import onnx
    from onnx import external_data_helper

    model = onnx.load(tmp_path / "model.onnx", load_external_data=False)
    expected_names = {
        external_data_helper.ExternalDataInfo(tensor).location
        for tensor in external_data_helper._get_all_tensors(model)
        if external_data_helper.uses_external_data(tensor)
    }
    assert set(external_locations(tmp_path / "model.onnx")) == expected_names == {"a.bin", "b.bin"}


# --- purity ---


def test_recognising_imports_no_framework(models):
    names = [str(models / name) for name in NAMES]
    program = (
        "import sys\n"
        "from mlconvert.formats import recognise, source_artifact, source_sha256\n"
        f"for name in {names!r}:\n"
        "    source_sha256(source_artifact(name))\n"
        "source_sha256(source_artifact('torch.nn.functional:relu'))\n"
        "heavy = {'numpy', 'onnx', 'torch', 'sklearn', 'lightgbm', 'xgboost', 'catboost', 'joblib', 'skops', 'yaml'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_no_warning_and_no_open_file_is_left(models):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in NAMES:
            recognise(str(models / name))
