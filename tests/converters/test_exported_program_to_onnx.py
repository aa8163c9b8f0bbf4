"""exported-program -> onnx, and the runner of the same file."""

import json
import shutil
import zipfile

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn
from torch.export import Dim

from mlconvert.artifact import Artifact
from mlconvert.converters.exported_program_to_onnx import convert
from mlconvert.errors import ConversionFailed, UsageError
from mlconvert.readers.torch_archives import archive_kind
from mlconvert.runners import exported_program as runner


class Scorer(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(20, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, ids, mask=None, *, scale=None):
        hidden = self.embed(ids) * mask[..., None]
        return {"logits": self.head(hidden) * scale[:, None, None], "nothing": None, "parts": (hidden, hidden.sum(1))}


def tensors(rows, length):
    rng = np.random.default_rng(rows)
    return {
        "ids": rng.integers(0, 20, (rows, length)),
        "mask": np.ones((rows, length), np.float32),
        "scale": rng.normal(size=rows).astype(np.float32),
    }


def save(module, path, args, kwargs=None, dynamic=None):
    torch.export.save(torch.export.export(module.eval(), args, kwargs, dynamic_shapes=dynamic), path)
    return Artifact("exported-program", str(path), (path,))


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    rows = Dim("rows")
    length = Dim("length")
    given = {name: torch.from_numpy(values) for name, values in tensors(3, 5).items()}
    return save(
        Scorer(), tmp_path_factory.mktemp("pt2") / "scorer.pt2", (given["ids"],),
        {"mask": given["mask"], "scale": given["scale"]},
        {"ids": {0: rows, 1: length}, "mask": {0: rows, 1: length}, "scale": {0: rows}},
    )  # fmt: skip


def agree(source, made, samples):
    reference = runner.load(source).run(samples)
    session = onnxruntime.InferenceSession(made.location, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    assert names == [made.renamed.get(name, name) for name in reference]
    found = session.run(names, {made.renamed.get(name, name): values for name, values in samples.items()})
    for expected, got in zip(reference.values(), found, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-5)


def test_dynamic_axes_stay_and_get_names(scorer, tmp_path):
    made = convert(scorer, tmp_path / "m.onnx")
    assert [str(spec) for spec in (*made.signature.inputs, *made.signature.outputs)] == [
        "ids: int64[batch, ids_1]",
        "mask: float32[batch, ids_1]",
        "scale: float32[batch]",
        "logits: float32[batch, ids_1, 2]",
        "parts_0: float32[batch, ids_1, 4]",
        "parts_1: float32[batch, 4]",
    ]
    assert runner.signature(scorer) == made.signature
    for rows, length in ((3, 5), (1, 2), (6, 9)):
        agree(scorer, made, tensors(rows, length))
    content = (tmp_path / "m.onnx").read_bytes()
    assert not [trace for trace in (b"test_exported", b".py", b"stack_trace", b"pkg.torch") if trace in content]


def test_names_of_axes_and_tensors_are_the_users(scorer, tmp_path):
    made = convert(
        scorer,
        tmp_path / "m.onnx",
        dynamic={"mask": ("n", "sequence")},
        inputs=("a", "b", "c"),
        outputs=("x", "y", "z"),
    )
    assert [str(spec) for spec in made.signature.inputs] == [
        "a: int64[n, sequence]",
        "b: float32[n, sequence]",
        "c: float32[n]",
    ]
    assert made.renamed == {"ids": "a", "mask": "b", "scale": "c", "logits": "x", "parts_0": "y", "parts_1": "z"}
    agree(scorer, made, tensors(2, 4))


class Double(nn.Module):
    def forward(self, x, y):
        return torch.cat([x, x], 1), y.nonzero(), x.flatten()


def test_lengths_that_are_computed(tmp_path):
    args = (torch.ones(2, 3), torch.tensor([1, 0, 2]))
    source = save(Double(), tmp_path / "double.pt2", args, dynamic={"x": {0: Dim.DYNAMIC, 1: Dim.DYNAMIC}, "y": None})
    made = convert(source, tmp_path / "m.onnx", dynamic={"x": ("n", "m")})
    shapes = [spec.shape for spec in made.signature.outputs]
    assert shapes == [("n", "2*m"), ("output_1_0", 1), ("m*n",)]
    agree(source, made, {"x": np.ones((4, 5), np.float32), "y": np.array([0, 0, 7])})


@pytest.mark.parametrize(
    ("dynamic", "message"),
    [
        ({"idz": ("a", "b")}, "no input 'idz'. Did you mean 'ids'"),
        ({"ids": ("a",)}, "gives 'ids' 1 axes, and the program has 2"),
        ({"ids": ("a", "b"), "mask": ("c", "b")}, "'a' and 'c' are of one length"),
        ({"ids": ("a", "7")}, "is dynamic in the program, and cannot be '7'"),
        ({"ids": ("a", "b c")}, "no name for an axis"),
    ],
)
def test_an_option_that_does_not_fit(scorer, tmp_path, dynamic, message):
    with pytest.raises(UsageError) as caught:
        convert(scorer, tmp_path / "m.onnx", dynamic=dynamic)
    assert message in caught.value.message


def test_a_fixed_axis_cannot_be_made_dynamic(tmp_path):
    source = save(nn.Linear(3, 2), tmp_path / "fixed.pt2", (torch.ones(2, 3),))
    assert runner.signature(source).inputs[0].shape == (2, 3)
    with pytest.raises(UsageError, match="axis 0 of 'input' is fixed at 2 in the program"):
        convert(source, tmp_path / "m.onnx", dynamic={"input": ("batch", "_")})
    made = convert(source, tmp_path / "m.onnx", dynamic={"input": ("2", "_")})
    assert made.signature.inputs[0].shape == (2, 3)


def test_an_opset_that_the_exporter_cannot_give(scorer, tmp_path):
    with pytest.raises(ConversionFailed, match="opset 99 was asked for"):
        convert(scorer, tmp_path / "m.onnx", opset=99)
    assert list(tmp_path.iterdir()) == []


def test_inputs_that_are_missing_or_unknown(scorer):
    session = runner.load(scorer)
    with pytest.raises(UsageError, match="no values for the input 'scale'"):
        session.run({name: values for name, values in tensors(2, 3).items() if name != "scale"})
    with pytest.raises(UsageError, match=r"no input 'scales'. Did you mean 'scale'"):
        session.run(tensors(2, 3) | {"scales": np.ones(2, np.float32)})
    with pytest.raises(ConversionFailed, match=r"failed on the samples \(ids: int64\[2, 3\]"):
        session.run(tensors(2, 3) | {"mask": np.ones((2, 4), np.float32)})


def test_an_output_class_of_transformers_is_known_without_importing_it_first(tmp_path):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed: no ModelOutput to save")
    from transformers import modeling_outputs

    class Model(nn.Module):
        def forward(self, x):
            return modeling_outputs.BaseModelOutput(last_hidden_state=x * 2, hidden_states=(x, x + 1))

    assert transformers
    source = save(Model(), tmp_path / "m.pt2", (torch.ones(2, 3),), dynamic={"x": {0: Dim.DYNAMIC}})
    made = convert(source, tmp_path / "m.onnx")
    assert [spec.name for spec in made.signature.outputs] == ["last_hidden_state", "hidden_states_0", "hidden_states_1"]
    agree(source, made, {"x": np.ones((4, 3), np.float32)})


# --- files that are something else, or broken ---


def artifact(path):
    return Artifact("exported-program", str(path), (path,))


def zip_with(path, *names):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"{}")
    return path


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (("m/models/model.json", "m/version"), "exported-program"),
        (("m/data/aotinductor/model/a.so", "m/models/model.json"), "aotinductor"),
        (("m/code/__torch__.py", "m/data.pkl"), "torchscript"),
        (("m/data.pkl", "m/data/0"), "state-dict"),
        (("word/document.xml",), "other"),
    ],
)
def test_archives_are_told_apart_by_what_is_in_them(tmp_path, names, kind):
    path = zip_with(tmp_path / "a.zip", *names)
    assert archive_kind(path) == kind
    if kind != "exported-program":
        with pytest.raises(ConversionFailed, match="not an ExportedProgram") as caught:
            runner.signature(artifact(path))
        assert caught.value.hint


@pytest.mark.parametrize("kept", [0, 10, 1000, -30])
def test_a_file_that_is_cut_off(scorer, tmp_path, kept):
    path = tmp_path / "cut.pt2"
    path.write_bytes(scorer.path.read_bytes()[:kept])
    with pytest.raises(ConversionFailed):
        runner.load(artifact(path))
    with pytest.raises(ConversionFailed):
        convert(artifact(path), tmp_path / "m.onnx")


def test_a_graph_that_is_damaged_or_missing(scorer, tmp_path):
    path = zip_with(tmp_path / "empty.pt2", "m/models/model.json", "m/archive_format")
    with pytest.raises(ConversionFailed):
        runner.load(artifact(path))
    with pytest.raises(ConversionFailed, match="cannot read the file"):
        runner.load(artifact(tmp_path / "none.pt2"))


def rewritten(source, target, edit):
    """A copy of an archive whose members went through `edit(name, content)`."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for info in old.infolist():
            new.writestr(info.filename, edit(info.filename, old.read(info)))
    return target


def test_constants_that_are_pickled_objects_need_trust(scorer, tmp_path):
    def edit(name, content):
        if not name.endswith("constants_config.json"):
            return content
        payload = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True, "tensor_meta": None}
        return json.dumps({"config": {"evil": payload}}).encode()

    path = rewritten(scorer.path, tmp_path / "evil.pt2", edit)
    with pytest.raises(ConversionFailed, match="'evil' is a pickled object: loading it could run code") as caught:
        runner.load(artifact(path))
    assert "--trust" in caught.value.hint


class Bomb:
    def __reduce__(self):
        return (print, ("it ran",))


def test_a_pickle_among_the_sample_inputs_is_not_run(scorer, tmp_path, capsys):
    torch.save((Bomb(), {}), tmp_path / "bomb.pt")
    bomb = (tmp_path / "bomb.pt").read_bytes()
    path = rewritten(scorer.path, tmp_path / "evil.pt2", lambda name, old: bomb if "sample_inputs" in name else old)
    with pytest.raises(ConversionFailed, match="could run code"):
        runner.load(artifact(path))
    assert "it ran" not in capsys.readouterr().out


def test_a_copy_under_another_name_is_the_same(scorer, tmp_path):
    shutil.copy(scorer.path, tmp_path / "b.bin")
    assert runner.signature(artifact(tmp_path / "b.bin")) == runner.signature(scorer)
