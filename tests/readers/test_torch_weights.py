"""Weights: strict, in place, with ties and views kept, and never two copies of the model."""

import pytest
import safetensors.torch
import torch
from torch import nn

from mlconvert.errors import ConversionFailed
from mlconvert.readers import torch_weights
from mlconvert.readers.torch_weights import load_weights


class Tied(nn.Module):
    def __init__(self, device=None):
        super().__init__()
        self.embed = nn.Embedding(5, 3, device=device)
        self.norm = nn.BatchNorm1d(3, device=device)
        self.head = nn.Linear(3, 5, bias=False, device=device)
        self.head.weight = self.embed.weight
        self.register_buffer("scale", torch.full((3,), 2.0), persistent=False)
        self.listed = [self.embed.weight]  # a reference that load_state_dict(assign=True) would leave behind


@pytest.fixture
def trained():
    torch.manual_seed(1)
    module = Tied()
    module.norm.running_mean.uniform_()
    return module


def save(state, path):
    if path.suffix == ".safetensors":
        safetensors.torch.save_file({name: tensor.detach().clone() for name, tensor in state.items()}, path)
    else:
        torch.save(state, path)
    return path


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("group_bytes", [1, 1 << 20])
def test_weights_go_into_the_modules_own_tensors(trained, tmp_path, suffix, group_bytes, monkeypatch):
    monkeypatch.setattr(torch_weights, "GROUP_BYTES", group_bytes)
    path = save(trained.state_dict(), tmp_path / f"weights{suffix}")
    module = Tied()
    load_weights(module, path)
    for name, tensor in trained.state_dict().items():
        assert torch.equal(module.state_dict()[name], tensor), name
    assert module.head.weight is module.embed.weight
    assert torch.equal(module.listed[0], trained.embed.weight)
    assert torch.equal(module.scale, torch.full((3,), 2.0))


def test_a_tied_weight_may_be_in_the_file_once(trained, tmp_path):
    state = trained.state_dict()
    del state["head.weight"]
    module = Tied()
    load_weights(module, save(state, tmp_path / "weights.safetensors"))
    assert torch.equal(module.head.weight, trained.embed.weight)


def test_a_module_on_the_meta_device_gets_its_tensors_and_ties(trained, tmp_path):
    module = Tied(device="meta")
    load_weights(module, save(trained.state_dict(), tmp_path / "weights.pt"))
    assert torch.equal(module.embed.weight, trained.embed.weight)
    assert module.head.weight is module.embed.weight


def test_a_meta_module_with_a_tied_weight_in_the_file_once(trained, tmp_path):
    state = trained.state_dict()
    del state["embed.weight"]
    module = Tied(device="meta")
    load_weights(module, save(state, tmp_path / "weights.safetensors"))
    assert torch.equal(module.embed.weight, trained.embed.weight)


def test_two_values_for_one_tied_tensor_are_refused(trained, tmp_path):
    state = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    state["head.weight"] += 1
    with pytest.raises(ConversionFailed, match=r"ties 'embed.weight' and 'head.weight'"):
        load_weights(Tied(), save(state, tmp_path / "weights.safetensors"))


def test_a_module_that_loads_in_its_own_way_still_does(tmp_path):
    class Renamed(nn.Linear):
        def _load_from_state_dict(self, state_dict, prefix, *rest):
            state_dict[f"{prefix}weight"] = state_dict.pop(f"{prefix}kernel")
            super()._load_from_state_dict(state_dict, prefix, *rest)

    path = save({"kernel": torch.ones(2, 2), "bias": torch.zeros(2)}, tmp_path / "weights.pt")
    module = Renamed(2, 2)
    load_weights(module, path)
    assert torch.equal(module.weight, torch.ones(2, 2))


def test_missing_and_left_over_names_are_listed(trained, tmp_path):
    state = trained.state_dict()
    del state["norm.bias"]
    state |= {f"extra.{n}": torch.ones(1) for n in range(7)}
    with pytest.raises(ConversionFailed) as caught:
        load_weights(Tied(), save(state, tmp_path / "weights.pt"))
    assert "missing in the file: norm.bias;" in caught.value.message
    assert "extra.0, extra.1, extra.2, extra.3, extra.4, … (7 in all)" in caught.value.message
    assert caught.value.where.endswith("weights.pt")


def test_a_prefix_is_pointed_out(trained, tmp_path):
    state = {f"module.{name}": tensor for name, tensor in trained.state_dict().items()}
    with pytest.raises(ConversionFailed) as caught:
        load_weights(Tied(), save(state, tmp_path / "weights.pt"))
    assert "begin with 'module.'" in caught.value.hint


def test_another_shape_and_another_kind_are_refused(trained, tmp_path):
    state = trained.state_dict() | {"norm.bias": torch.ones(4)}
    with pytest.raises(ConversionFailed, match=r"size mismatch for norm.bias"):
        load_weights(Tied(), save(state, tmp_path / "weights.pt"))
    state = trained.state_dict() | {"norm.bias": torch.ones(3, dtype=torch.int64)}
    with pytest.raises(ConversionFailed, match=r"'norm.bias' is int64 in the file and float32 in the model"):
        load_weights(Tied(), save(state, tmp_path / "weights.pt"))


def test_another_width_is_cast_as_torch_does(trained, tmp_path):
    state = {n: t.to(torch.bfloat16) if t.is_floating_point() else t for n, t in trained.state_dict().items()}
    module = Tied()
    load_weights(module, save(state, tmp_path / "weights.safetensors"))
    assert module.embed.weight.dtype is torch.float32
    assert torch.equal(module.embed.weight, state["embed.weight"].float())


class Bomb:
    def __reduce__(self):
        return (print, ("it ran",))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("w.pt", b"", "empty"),
        ("w.pt", b"not a pickle at all", "not a state_dict, or a damaged one"),
        ("w.safetensors", b"not a header at all", "not safetensors, or a damaged one"),
    ],
)
def test_files_that_hold_no_weights(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ConversionFailed, match=message):
        load_weights(Tied(), path)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_file_that_is_cut_off(trained, tmp_path, suffix):
    path = save(trained.state_dict(), tmp_path / f"weights{suffix}")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ConversionFailed):
        load_weights(Tied(), path)


def test_a_pickle_with_code_is_not_run(tmp_path, capsys):
    path = tmp_path / "w.pt"
    torch.save({"weight": Bomb()}, path)
    with pytest.raises(ConversionFailed, match="could run code") as caught:
        load_weights(Tied(), path)
    assert "torch.save(model.state_dict()" in caught.value.hint
    assert "it ran" not in capsys.readouterr().out


def test_a_checkpoint_is_not_a_state_dict(trained, tmp_path):
    path = tmp_path / "w.pt"
    torch.save({"epoch": 3, "model": trained.state_dict()}, path)
    with pytest.raises(ConversionFailed, match="epoch, model hold no tensors"):
        load_weights(Tied(), path)


def test_a_missing_file(tmp_path):
    with pytest.raises(ConversionFailed, match=r"cannot read the weights|damaged"):
        load_weights(Tied(), tmp_path / "none.pt")
