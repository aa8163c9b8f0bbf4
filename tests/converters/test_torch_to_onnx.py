"""torch -> onnx: names, dynamic axes, opsets, and everything that must not look converted."""

import numpy as np
import onnx
import onnxruntime
import pytest
import safetensors.torch
import torch

from mlconvert.artifact import Artifact
from mlconvert.converter import check_options, options_of
from mlconvert.converters.torch_to_onnx import convert
from mlconvert.errors import ConversionFailed, UsageError
from mlconvert.readers import torch_export
from mlconvert.runners.torch import load

MODELS = '''
import torch
from torch import nn

class Encoder(nn.Module):
    """Token ids and a mask -> logits per token, the hidden states of two levels, nothing for the loss."""
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(50, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 3)
    def forward(self, input_ids, attention_mask=None, labels=None):
        embedded = self.embed(input_ids)
        hidden = self.layers(embedded, src_key_padding_mask=attention_mask == 0)
        return {"loss": labels, "logits": self.head(hidden), "hidden": (embedded, hidden), "input_ids": input_ids}

class Lstm(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.lstm = nn.LSTM(4, 8, num_layers=2, batch_first=True, bidirectional=True)
    def forward(self, x):
        states, (last, _) = self.lstm(x)
        return states, last

class Conv(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3))
        self.head = nn.Linear(4, 2)
    def forward(self, image):
        return self.head(self.body(image).mean((2, 3)))

class Halves(nn.Module):
    def forward(self, x):
        return x.reshape(x.shape[0], 5, 2) + torch.ones(x.shape[0], int(x.shape[1] // 2), 2)

class Sum(nn.Module):
    def forward(self, left, right):
        return left + right

class Odd(nn.Module):
    """Names that the exporter uses itself, a weight as output, one tensor twice, a module's own weight."""
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.arange(3.0))
    def forward(self, add, relu):
        total = add + self.weight
        return {"relu_1": torch.relu(total) + relu, "mul": total * 2, "again": total, "twice": total,
                "weight": self.weight}

class Names(nn.Module):
    def forward(self, input_ids, attention_mask):
        return input_ids, input_ids + 1, attention_mask, attention_mask + 1

class Flat(nn.Module):
    def forward(self, x):
        return x.reshape(-1)

class Sorted(nn.Module):
    def forward(self, x):
        return torch.linalg.eigvals(x)

class Scripted(nn.Module):
    def forward(self, x):
        return x
def scripted():
    return torch.jit.script(Scripted())
def half():
    torch.manual_seed(0)
    return nn.Linear(4, 2).to(torch.bfloat16)
def linear():
    return nn.Linear(4, 2)
'''


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "user_models.py"
    path.write_text(MODELS)
    return lambda name, *files: Artifact("torch", f"{path}:{name}", files)


def tokens(rows, length, seed=0):
    rng = np.random.default_rng(seed)
    mask = np.ones((rows, length), np.int64)
    mask[0, length // 2 + 1 :] = 0
    return {"input_ids": rng.integers(0, 50, (rows, length)), "attention_mask": mask}


def normal(seed=0, **shapes):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def agree(source, made, samples, atol=1e-5):
    """The file answers as the module does, by name."""
    reference = load(source).run(samples)
    session = onnxruntime.InferenceSession(made.location, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    assert names == [made.renamed.get(name, name) for name in reference]
    given = {made.renamed.get(name, name): values for name, values in samples.items()}
    for expected, found in zip(reference.values(), session.run(names, given), strict=True):
        assert found.dtype == expected.dtype
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, atol=atol)


SEQUENCE = {"input_ids": ("batch", "sequence"), "attention_mask": ("batch", "sequence")}


def test_an_encoder_with_a_mask_keeps_names_and_dynamic_axes(model, tmp_path):
    source = model("Encoder")
    made = convert(source, tmp_path / "m.onnx", samples=tokens(4, 7), dynamic=SEQUENCE)
    assert [str(spec) for spec in (*made.signature.inputs, *made.signature.outputs)] == [
        "input_ids: int64[batch, sequence]",
        "attention_mask: int64[batch, sequence]",
        "logits: float32[batch, sequence, 3]",
        "hidden_0: float32[batch, sequence, 16]",
        "hidden_1: float32[batch, sequence, 16]",
        "input_ids_output: int64[batch, sequence]",
    ]
    assert made.files == (tmp_path / "m.onnx",)
    assert made.facts["opsets"] == {"ai.onnx": 18}
    for rows, length in ((4, 7), (1, 2), (3, 12)):
        agree(source, made, tokens(rows, length, seed=rows))
    # Nothing of this machine is in the file.
    content = (tmp_path / "m.onnx").read_bytes()
    for trace in (str(tmp_path).encode(), b"user_models", b"site-packages", b".py", b"stack_trace", b"pkg.torch"):
        assert trace not in content


def test_only_the_first_axis_is_dynamic_by_default(model, tmp_path):
    source = model("Conv")
    made = convert(source, tmp_path / "m.onnx", samples=normal(image=(1, 3, 8, 8)))
    assert str(made.signature.inputs[0]) == "image: float32[batch, 3, 8, 8]"
    assert str(made.signature.outputs[0]) == "output: float32[batch, 2]"
    for rows in (1, 5):
        agree(source, made, normal(rows, image=(rows, 3, 8, 8)))


def test_an_image_of_any_size(model, tmp_path):
    source = model("Conv")
    made = convert(
        source, tmp_path / "m.onnx", samples=normal(image=(2, 3, 8, 9)), dynamic={"image": ("n", "3", "h", "w")}
    )
    assert made.signature.inputs[0].shape == ("n", 3, "h", "w")
    agree(source, made, normal(image=(3, 3, 11, 6)))


def test_a_static_graph_takes_one_row(model, tmp_path):
    made = convert(model("Conv"), tmp_path / "m.onnx", samples=normal(image=(4, 3, 8, 8)), static=True)
    assert made.signature.inputs[0].shape == (1, 3, 8, 8)
    assert made.signature.outputs[0].shape == (1, 2)
    fixed = convert(
        model("Conv"), tmp_path / "m.onnx", samples=normal(image=(2, 3, 8, 8)), dynamic={"image": ("3", "_", "_", "_")}
    )
    assert fixed.signature.inputs[0].shape == (3, 3, 8, 8)
    agree(model("Conv"), fixed, normal(image=(3, 3, 8, 8)))


def test_an_lstm_over_sequences_of_any_length(model, tmp_path):
    source = model("Lstm")
    made = convert(source, tmp_path / "m.onnx", samples=normal(x=(2, 5, 4)), dynamic={"x": ("batch", "time", "_")})
    # The exporter declares 5 here, the length in the samples.
    assert [spec.shape for spec in made.signature.outputs] == [("batch", "time", 16), (4, "batch", 8)]
    for rows, length in ((1, 1), (3, 9)):
        agree(source, made, normal(x=(rows, length, 4)))


def test_an_lstm_over_sequences_of_one_length(model, tmp_path):
    source = model("Lstm")
    made = convert(source, tmp_path / "m.onnx", samples=normal(x=(2, 5, 4)))
    assert [spec.shape for spec in made.signature.outputs] == [("batch", 5, 16), (4, "batch", 8)]
    agree(source, made, normal(x=(3, 5, 4)))


def test_renamed_inputs_and_outputs(model, tmp_path):
    source = model("Encoder")
    made = convert(
        source, tmp_path / "m.onnx", samples=tokens(2, 7), dynamic=SEQUENCE,
        inputs=("attention_mask", "input_ids"), outputs=("linear", "b", "c", "d"),
    )  # fmt: skip
    assert [spec.name for spec in made.signature.inputs] == ["attention_mask", "input_ids"]
    assert made.renamed["input_ids"] == "attention_mask"
    assert made.renamed["attention_mask"] == "input_ids"
    assert made.renamed["logits"] == "linear"
    agree(source, made, tokens(3, 5))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inputs": ("a",)}, "option inputs gives 1 names, and the model has 2"),
        ({"outputs": ("a", "a", "b", "c")}, "gives the name 'a' twice"),
        ({"outputs": ("a", "", "b", "c")}, "has an empty name"),
        ({"outputs": ("input_ids", "a", "b", "c")}, "an input and an output would both be called 'input_ids'"),
    ],
)
def test_names_that_do_not_fit(model, tmp_path, options, message):
    with pytest.raises(UsageError) as caught:
        convert(model("Names"), tmp_path / "m.onnx", samples=tokens(2, 7), **options)
    assert message in caught.value.message


def test_names_that_the_graph_uses_itself(model, tmp_path):
    source = model("Odd")
    made = convert(source, tmp_path / "m.onnx", samples=normal(add=(2, 3), relu=(2, 3)))
    assert [spec.name for spec in made.signature.outputs] == ["relu_1", "mul", "again", "twice", "weight"]
    assert made.signature.outputs[4].shape == (3,)
    agree(source, made, normal(add=(5, 3), relu=(5, 3)))


def test_an_output_of_a_length_of_its_own_gets_a_name_of_its_own(model, tmp_path):
    source = model("Flat")
    made = convert(source, tmp_path / "m.onnx", samples=normal(x=(2, 3)))
    (axis,) = made.signature.outputs[0].shape
    assert isinstance(axis, str)
    assert "s" not in axis.replace("3*batch", "").replace("output_0", "")
    agree(source, made, normal(x=(4, 3)))


def test_bfloat16_weights_and_outputs(model, tmp_path):
    import ml_dtypes

    samples = {"input": np.ones((3, 4), ml_dtypes.bfloat16)}
    assert load(model("half")).run(samples)["output"].dtype == ml_dtypes.bfloat16
    made = convert(model("half"), tmp_path / "m.onnx", samples=samples)
    assert made.signature.outputs[0].dtype == "bfloat16"


def test_the_weights_of_the_file_are_those_of_the_graph(model, tmp_path):
    state = {"weight": torch.full((2, 4), 0.5), "bias": torch.ones(2)}
    safetensors.torch.save_file(state, tmp_path / "w.safetensors")
    source = model("linear", tmp_path / "w.safetensors")
    made = convert(source, tmp_path / "m.onnx", samples=normal(input=(2, 4)))
    graph = onnx.load(made.location).graph
    assert {tensor.name for tensor in graph.initializer} == {"weight", "bias"}
    agree(source, made, normal(input=(3, 4)))


@pytest.fixture
def streamed(monkeypatch):
    """From here on every weight goes from torch to the file without a copy in the graph."""
    monkeypatch.setattr("mlconvert.readers.torch_export.LARGE", 1)
    monkeypatch.setattr("mlconvert.onnx_model.external.LARGE", 1)


def test_a_graph_with_external_data(model, tmp_path, monkeypatch, streamed):
    monkeypatch.setattr("mlconvert.onnx_model.files.EXTERNAL_ABOVE", 10)
    monkeypatch.setattr("mlconvert.onnx_model.external.SMALL", 64)
    source = model("Conv")
    made = convert(source, tmp_path / "m.onnx", samples=normal(image=(2, 3, 8, 8)))
    assert made.files == (tmp_path / "m.onnx", tmp_path / "m.onnx.data")
    agree(source, made, normal(image=(3, 3, 8, 8)))


@pytest.mark.parametrize("name", ["Conv", "Lstm"])
def test_streamed_weights_make_the_file_that_others_make(model, tmp_path, monkeypatch, name):
    samples = normal(image=(2, 3, 8, 8)) if name == "Conv" else normal(x=(2, 5, 4))
    whole = convert(model(name), tmp_path / "whole.onnx", samples=samples)
    monkeypatch.setattr("mlconvert.readers.torch_export.LARGE", 1)
    monkeypatch.setattr("mlconvert.onnx_model.external.LARGE", 1)
    asked = []
    buffer = torch_export._buffer
    monkeypatch.setattr(torch_export, "_buffer", lambda tensor: (asked.append(tensor.name), buffer(tensor))[1])
    made = convert(model(name), tmp_path / "m.onnx", samples=samples)
    assert asked, "no weight was streamed"
    assert list(tmp_path.glob("m.onnx*")) == [tmp_path / "m.onnx"]
    assert made.path.read_bytes() == whole.path.read_bytes()


@pytest.mark.parametrize(
    "dtype", ["float16", "bfloat16", "float64", "int8", "bool", "int64", "float8_e4m3fn", "complex64"]
)
def test_a_streamed_tensor_is_what_onnx_stores(dtype):
    from torch.onnx._internal.exporter._core import TorchTensor

    values = (torch.arange(24).reshape(4, 6) % 5).to(getattr(torch, dtype))
    for tensor in (TorchTensor(values), TorchTensor(values.T), TorchTensor(values[:, ::2]), TorchTensor(values[0, 0])):
        assert bytes(torch_export._buffer(tensor)) == tensor.tobytes()
    plain = TorchTensor(values)
    assert np.shares_memory(np.frombuffer(torch_export._buffer(plain), np.uint8), plain.numpy().view(np.uint8))


def test_four_bit_weights_are_packed():
    import onnx_ir

    values = np.arange(8).reshape(2, 4).astype(onnx_ir.DataType.INT4.numpy())
    tensor = onnx_ir.Tensor(values, dtype=onnx_ir.DataType.INT4)
    assert bytes(torch_export._buffer(tensor)) == bytes([0x10, 0x32, 0x54, 0x76])


@pytest.mark.parametrize("opset", [20, 23])
def test_newer_opsets(model, tmp_path, opset):
    source = model("Conv")
    made = convert(source, tmp_path / "m.onnx", samples=normal(image=(2, 3, 8, 8)), opset=opset)
    assert made.facts["opsets"] == {"ai.onnx": opset}
    agree(source, made, normal(image=(3, 3, 8, 8)))


@pytest.mark.parametrize(("opset", "hint"), [(13, "--via lower --set lower.opset=13"), (99, "leave the opset out")])
def test_an_opset_that_the_exporter_cannot_give(model, tmp_path, opset, hint):
    # 99 is not only turned into 18 in silence: the graph is made of operators that 18 does not have.
    with pytest.raises(ConversionFailed, match=f"opset {opset} was asked for, .* it can give 18 to ") as caught:
        convert(model("Encoder"), tmp_path / "m.onnx", samples=tokens(2, 7), opset=opset)
    assert hint in caught.value.hint


def test_an_axis_that_the_model_fixes_is_an_error_that_names_it(model, tmp_path):
    with pytest.raises(ConversionFailed) as caught:
        convert(model("Halves"), tmp_path / "m.onnx", samples=normal(x=(2, 10)), dynamic={"x": ("batch", "width")})
    assert (
        "axis 'width' of the input 'x' (axis 1) cannot be dynamic: torch.export fixed it at 10" in caught.value.message
    )
    assert "torch says: ValueError" in caught.value.message
    assert len(caught.value.message) < 700
    assert "onnx.dynamic=x=batch,_" in caught.value.hint
    assert not (tmp_path / "m.onnx").exists()
    made = convert(model("Halves"), tmp_path / "m.onnx", samples=normal(x=(2, 10)))
    agree(model("Halves"), made, normal(x=(3, 10)))


def test_a_graph_that_came_out_static_is_not_passed_on(model, tmp_path, monkeypatch):
    export = torch.onnx.export
    monkeypatch.setattr(torch.onnx, "export", lambda *args, **rest: export(*args, **(rest | {"dynamic_shapes": None})))
    with pytest.raises(ConversionFailed, match=r"axis 'batch' of the input 'image'.* came out fixed at 2"):
        convert(model("Conv"), tmp_path / "m.onnx", samples=normal(image=(2, 3, 8, 8)))


def test_two_names_for_one_length(model, tmp_path):
    with pytest.raises(UsageError, match="'a' and 'b' must be of one length"):
        convert(
            model("Sum"), tmp_path / "m.onnx", samples=normal(left=(2, 4), right=(2, 4)),
            dynamic={"left": ("batch", "a"), "right": ("batch", "b")},
        )  # fmt: skip


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
def test_what_torch_cannot_export(model, tmp_path):
    with pytest.raises(ConversionFailed, match=r"complex|cannot export"):
        convert(model("Sorted"), tmp_path / "m.onnx", samples=normal(x=(2, 3, 3)))
    with pytest.raises(ConversionFailed, match="TorchScript") as caught:
        convert(model("scripted"), tmp_path / "m.onnx", samples=normal(x=(2, 3)))
    assert "torch.jit.save" in caught.value.hint


def test_samples_are_needed_and_must_fit(model, tmp_path):
    with pytest.raises(UsageError, match="no samples") as caught:
        convert(model("Conv"), tmp_path / "m.onnx", samples={})
    assert "--samples" in caught.value.hint
    with pytest.raises(UsageError, match=r"no input 'imag'. Did you mean 'image'"):
        convert(model("Conv"), tmp_path / "m.onnx", samples=normal(imag=(2, 3, 8, 8)))
    with pytest.raises(ConversionFailed, match=r"failed on the samples \(image: float64\[2, 3, 8, 8\]\)"):
        convert(model("Conv"), tmp_path / "m.onnx", samples={"image": np.ones((2, 3, 8, 8))})


def test_options_are_read_from_text():
    values = check_options(
        "onnx", options_of(convert), {"dynamic": "ids=batch,sequence;mask=batch,_", "inputs": "a,b", "static": "no"}
    )
    assert values == {
        "dynamic": {"ids": ("batch", "sequence"), "mask": ("batch", "_")},
        "inputs": ("a", "b"),
        "static": False,
    }
    assert all(option.help for option in options_of(convert).values())
