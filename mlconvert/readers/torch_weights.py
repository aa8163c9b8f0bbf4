"""Weights for a module: a .safetensors file, or a state_dict that `torch.save` wrote.

Weights are copied into the module's own tensors, group by group, from a file that is mapped anew for each group: so
tied parameters, views and lists of parameters stay what they are, and memory never holds the model twice.
(`load_state_dict(assign=True)` would need less still, but leaves every other reference to a parameter with the old
values.)
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlconvert.errors import ConversionFailed

if TYPE_CHECKING:
    import torch

GROUP_BYTES = 64 << 20
LISTED = 5  # names in a message


def load_weights(module: torch.nn.Module, path: Path) -> None:
    """Load all of a module's parameters and buffers from a file, in place.

    Raises ConversionFailed when the file cannot be read as weights, when names are missing or left over, when a
    shape or a kind of dtype differs, or when the file gives different values to tensors that the module ties.
    """
    import torch

    state = read_state_dict(path)
    own = module.state_dict(keep_vars=True)
    tied = _tied(own)
    _check_ties(tied, state, path)
    if unloaded(module):
        _load_with_torch(module, state, tied, path, assign=True)
        return
    if not _is_plain(module, own, state, tied):
        _load_with_torch(module, state, tied, path, assign=False)
        return
    _check_kinds(own, state, path)
    names = list(state)
    sizes = [state[name].nbytes for name in names]
    del state
    with torch.no_grad():
        for group in _groups(names, sizes):
            mapped = read_state_dict(path)
            for name in group:
                own[name].copy_(mapped[name])


def read_state_dict(path: Path) -> Mapping[str, torch.Tensor]:
    """The tensors of a file by name, mapped where the file allows it. Raises ConversionFailed."""
    import torch

    if path.is_file() and not path.stat().st_size:
        raise ConversionFailed("the file of weights is empty", where=str(path))
    try:
        if path.suffix == ".safetensors":
            import safetensors.torch

            return safetensors.torch.load_file(path)  # type: ignore[no-any-return]
        # Files of before torch 1.6 are no zips and cannot be mapped.
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except MemoryError:
        raise
    except OSError as error:
        raise ConversionFailed(f"cannot read the weights: {error.strerror or error}", where=str(path)) from error
    except Exception as error:
        text = str(error).strip().splitlines()
        if re.search("Unsupported (global|class)|GLOBAL", str(error)):
            what = "the file holds more than weights: reading it could run code"
            hint = "save the weights alone: torch.save(model.state_dict(), PATH)"
            raise ConversionFailed(what, where=str(path), hint=hint) from error
        kind = "safetensors" if path.suffix == ".safetensors" else "a state_dict"
        first = text[0] if text else type(error).__name__
        raise ConversionFailed(f"not {kind}, or a damaged one: {first}", where=str(path)) from error
    return _checked_state(state, path)


def unloaded(module: torch.nn.Module) -> list[str]:
    """Names of the parameters and buffers that have no data, because they were built on the device `meta`."""
    tensors = (*module.named_parameters(), *module.named_buffers())
    return [name for name, tensor in tensors if tensor.is_meta]


def _checked_state(state: Any, path: Path) -> Mapping[str, torch.Tensor]:
    import torch

    hint = "save the weights alone: torch.save(model.state_dict(), PATH)"
    if not isinstance(state, Mapping):
        what = f"the file holds a {type(state).__name__}, not a state_dict"
        raise ConversionFailed(what, where=str(path), hint=hint)
    others = [str(name) for name, value in state.items() if not isinstance(value, torch.Tensor)]
    others = [name for name in others if not name.endswith("_extra_state")]
    if others:
        what = f"the file is not a plain state_dict: {_some(others)} hold no tensors"
        raise ConversionFailed(what, where=str(path), hint=hint)
    return state


def _tied(own: Mapping[str, Any]) -> list[list[str]]:
    """Groups of names under which the module holds one and the same tensor."""
    names: dict[int, list[str]] = {}
    for name, tensor in own.items():
        names.setdefault(id(tensor), []).append(name)
    return [group for group in names.values() if len(group) > 1]


def _check_ties(tied: Iterable[list[str]], state: Mapping[str, torch.Tensor], path: Path) -> None:
    import torch

    for group in tied:
        present = [name for name in group if isinstance(state.get(name), torch.Tensor)]
        for name in present[1:]:
            first, other = state[present[0]], state[name]
            same = first.shape == other.shape and (first.data_ptr() == other.data_ptr() or torch.equal(first, other))
            if not same:
                what = f"the model ties '{present[0]}' and '{name}' to one tensor, and the file gives them two values"
                raise ConversionFailed(what, where=str(path))


def _is_plain(module: torch.nn.Module, own: Mapping[str, Any], state: Mapping[str, Any], tied: list[list[str]]) -> bool:
    """Whether names and shapes match as they are, and no part of the module loads its weights in its own way."""
    import torch

    names = set(state) | {name for group in tied if set(group) & set(state) for name in group}
    if names != set(own) or not set(state) <= set(own):
        return False
    if not all(isinstance(own[n], torch.Tensor) and own[n].shape == state[n].shape for n in state):
        return False
    for part in module.modules():
        if not type(part)._load_from_state_dict.__module__.startswith("torch.nn.modules."):
            return False
        if part._load_state_dict_pre_hooks or part._state_dict_hooks or part._load_state_dict_post_hooks:
            return False
    return True


def _check_kinds(own: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor], path: Path) -> None:
    for name, tensor in state.items():
        mine = own[name]
        if (mine.is_floating_point(), mine.is_complex()) != (tensor.is_floating_point(), tensor.is_complex()):
            what = f"'{name}' is {tensor.dtype} in the file and {mine.dtype} in the model"
            raise ConversionFailed(what.replace("torch.", ""), where=str(path))


def _load_with_torch(
    module: torch.nn.Module, state: Mapping[str, Any], tied: list[list[str]], path: Path, *, assign: bool
) -> None:
    try:
        missing, unexpected = module.load_state_dict(state, strict=False, assign=assign)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()]
        sizes = [line for line in lines if line.startswith("size mismatch")]
        what = "; ".join(sizes[:LISTED]) or lines[-1]
        raise ConversionFailed(f"the weights do not fit the model: {what}", where=str(path)) from error
    if assign:
        _tie_again(module, tied, missing)
    loaded = set(module.state_dict()) - set(missing)
    missing = [name for name in missing if not any(name in group and set(group) & loaded for group in tied)]
    if missing or unexpected:
        parts = [f"missing in the file: {_some(missing)}"] if missing else []
        parts += [f"left over in the file: {_some(unexpected)}"] if unexpected else []
        hint = _prefix_hint(missing, unexpected)
        raise ConversionFailed(f"the weights do not fit the model: {'; '.join(parts)}", where=str(path), hint=hint)


def _tie_again(module: torch.nn.Module, tied: list[list[str]], missing: Iterable[str]) -> None:
    """After an assignment each name has a tensor of its own: give tied names the one that was loaded."""
    absent = set(missing)
    for group in tied:
        loaded = [name for name in group if name not in absent]
        for name in group if loaded else ():
            holder, _, last = name.rpartition(".")
            first_holder, _, first_last = loaded[0].rpartition(".")
            setattr(module.get_submodule(holder), last, getattr(module.get_submodule(first_holder), first_last))


def _some(names: list[str]) -> str:
    listed = ", ".join(names[:LISTED])
    return f"{listed}, … ({len(names)} in all)" if len(names) > LISTED else listed


def _prefix_hint(missing: list[str], unexpected: list[str]) -> str | None:
    """Names that differ by one prefix: the weights are of the model inside a wrapper, or the other way round."""
    if not missing or not unexpected:
        return None
    for longer, shorter, told in ((unexpected, missing, "names in the file"), (missing, unexpected, "model's names")):
        prefix = longer[0][: len(longer[0]) - len(shorter[0])] if longer[0].endswith(shorter[0]) else ""
        stripped = {name.removeprefix(prefix) for name in longer}
        if prefix and (stripped >= set(shorter) or stripped <= set(shorter)):
            return f"the {told} begin with '{prefix}': the weights were saved from another level of the model"
    return None


def _groups(names: list[str], sizes: list[int]) -> Iterable[list[str]]:
    group: list[str] = []
    held = 0
    for name, size in zip(names, sizes, strict=True):
        group.append(name)
        held += size
        if held >= GROUP_BYTES:
            yield group
            group, held = [], 0
    if group:
        yield group
