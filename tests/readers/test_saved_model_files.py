"""What is read from a saved_model.pb without TensorFlow, against what TensorFlow wrote there."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mlconvert.errors import ConversionFailed
from mlconvert.readers.saved_model_files import in_order_of, read_saved_model, saved_model_signature
from mlconvert.serving.tf_serving.messages import DATA_TYPES, message
from mlconvert.signature import Signature, TensorSpec


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    from mlconvert.readers.tensorflow_runtime import import_tensorflow

    tf = import_tensorflow()
    folder = tmp_path_factory.mktemp("exported") / "model"
    model = tf.Module()
    model.weights = tf.Variable(tf.ones([4, 3]))
    model.words = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(["a", "b"], tf.constant([1, 2], tf.int64)), -1
    )

    @tf.function(
        input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x"), tf.TensorSpec([None], tf.string, name="s")],
        autograph=False,
    )
    def classify(x, s):
        found = tf.cast(model.words.lookup(s), tf.float32)
        return {"y": x @ model.weights + found[:, None], "label": tf.argmax(x, -1)}

    @tf.function(input_signature=[tf.TensorSpec(None, tf.float16, name="h")], autograph=False)
    def halve(h):
        return {"z": h * 2}

    tf.saved_model.save(model, str(folder), signatures={"serving_default": classify, "half": halve})
    return folder / "saved_model.pb"


def test_the_signature_is_what_tensorflow_was_given(exported):
    assert saved_model_signature(exported) == Signature(
        inputs=(TensorSpec("s", "string", (None,)), TensorSpec("x", "float32", (None, 4))),
        outputs=(TensorSpec("label", "int64", (None,)), TensorSpec("y", "float32", (None, 3))),
    )


def test_tags_operators_and_weights_are_seen(exported):
    found = read_saved_model(exported)
    assert found.tags == (("serve",),)
    assert list(found.signatures) == ["half", "serving_default"]
    assert {"MatMul", "ArgMax", "LookupTableFindV2"} <= set(found.operators)
    assert not any(name.startswith("__inference") for name in found.operators)
    assert found.stateful
    assert found.tensorflow.startswith("2.")


def test_an_unknown_number_of_axes_is_refused(exported):
    with pytest.raises(ConversionFailed, match="'h' of the SavedModel has an unknown number of axes"):
        saved_model_signature(exported, "half")


def test_a_signature_that_is_not_there_is_refused_with_those_that_are(exported):
    with pytest.raises(ConversionFailed, match="no signature 'other'; it has: half, serving_default"):
        saved_model_signature(exported, "other")


def test_it_is_read_without_tensorflow(exported):
    code = (
        "import sys; from pathlib import Path; from mlconvert.readers.saved_model_files import saved_model_signature; "
        "saved_model_signature(Path(sys.argv[1])); assert 'tensorflow' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code, str(exported)], check=False).returncode == 0


def test_damaged_files_are_refused(exported, tmp_path):
    content = exported.read_bytes()
    for name, damaged in (("cut", content[: len(content) // 2]), ("empty", b""), ("text", b"{'no': 'model'}" * 9)):
        path = tmp_path / name
        path.write_bytes(damaged)
        with pytest.raises(ConversionFailed, match="not a SavedModel"):
            read_saved_model(path)
    with pytest.raises(ConversionFailed, match="cannot be read: No such file"):
        read_saved_model(tmp_path / "nothing")


def _written(path, *, tags=("serve",), dtype="DT_FLOAT", sparse=False):
    saved = message("SavedModel")(saved_model_schema_version=1)
    graph = saved.meta_graphs.add()
    graph.meta_info_def.tags.extend(tags)
    tensor = graph.signature_def["serving_default"].inputs["x"]
    tensor.dtype = DATA_TYPES[dtype]
    tensor.tensor_shape.dim.add(size=-1)
    if sparse:
        tensor.coo_sparse.values_tensor_name = "values:0"
    else:
        tensor.name = "x:0"
    path.write_bytes(saved.SerializeToString())
    return path


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ({"tags": ("train",)}, "no graph tagged 'serve', which servers load; it has: train"),
        ({"tags": ("serve", "tpu")}, "it has: serve, tpu"),
        ({"dtype": "DT_COMPLEX64"}, "the input 'x' is DT_COMPLEX64"),
        ({"sparse": True}, "no plain tensor"),
    ],
)
def test_what_has_no_signature_here_is_refused(tmp_path, made, told):
    with pytest.raises(ConversionFailed, match=told):
        saved_model_signature(_written(tmp_path / "saved_model.pb", **made))


def test_order_and_names_of_axes_are_taken_from_another_signature():
    read = Signature(
        inputs=(TensorSpec("a", "float32", (None, 4)), TensorSpec("b", "int64", (None,))),
        outputs=(TensorSpec("y", "float32", (None,)), TensorSpec("z", "float32", (2,))),
    )
    recorded = Signature(
        inputs=(TensorSpec("b", "int64", ("batch",)), TensorSpec("a", "float32", ("batch", 5))),
        outputs=(TensorSpec("z", "float32", ("n",)),),
    )
    assert in_order_of(read, recorded) == Signature(
        inputs=(TensorSpec("b", "int64", ("batch",)), TensorSpec("a", "float32", ("batch", 4))),
        outputs=(TensorSpec("z", "float32", (2,)), TensorSpec("y", "float32", (None,))),
    )
