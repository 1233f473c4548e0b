"""Optimisers: which parameters learn how fast, the pull towards the start, state without pickle.

Clipping of gradients is torch's ``clip_grad_norm_``; how the rate moves is in `schedules`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True, eq=False)
class Group:
    """Parameters that learn alike.

    Attributes
    ----------
    names : list of str
        As the network names them.
    parameters : list of nn.Parameter
    rate : float
        Highest learning rate.
    weight_decay : float
    is_head : bool
        Whether they are new, and so have no start worth keeping.
    """

    names: list[str]
    parameters: list[nn.Parameter] = field(repr=False)
    rate: float
    weight_decay: float = 0.0
    is_head: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As torch's optimisers take it."""
        return {
            "params": self.parameters,
            "param_names": self.names,
            "lr": self.rate,
            "weight_decay": self.weight_decay,
        }


def parameter_groups(
    network: nn.Module,
    *,
    rate: float,
    weight_decay: float = 0.0,
    stages: Sequence[str] = (),
    layer_decay: float = 1.0,
    head: str = "",
    head_factor: float = 1.0,
) -> list[Group]:
    """The parameters that learn, grouped by rate and by whether they decay; the slowest first.

    Parameters
    ----------
    network : nn.Module
        Parameters without ``requires_grad`` are left out.
    rate : float
        Highest learning rate, that of the last stage.
    weight_decay : float
        Not on biases, norms and other vectors, nor on what timm's ``no_weight_decay`` names.
    stages : sequence of str
        In their order, as `regraft.backbones.stages.find_stages` gives them. A parameter in none
        of them belongs to the stage before it; before the first one it counts as a stage more.
    layer_decay : float in (0, 1]
        Each stage learns at this factor of the next one's rate.
    head : str
        Name of the module that is new.
    head_factor : float
        Its rate, as a factor on `rate`.

    Raises
    ------
    ValueError
        A stage or head without parameters, nothing that learns, or a layer_decay out of range.

    References
    ----------
    Howard, Ruder (2018), ACL, arXiv:1801.06146 (discriminative rates); Bao et al. (2022), BEiT,
    ICLR, arXiv:2106.08254 (one factor per layer).

    Examples
    --------
    >>> network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 3))
    >>> for group in parameter_groups(
    ...     network, rate=1.0, weight_decay=0.1, stages=["0", "1"], layer_decay=0.5, head="2"
    ... ):
    ...     print(group.rate, group.weight_decay, group.names, group.is_head)
    0.5 0.1 ['0.weight'] False
    0.5 0.0 ['0.bias'] False
    1.0 0.1 ['1.weight'] False
    1.0 0.0 ['1.bias'] False
    1.0 0.1 ['2.weight'] True
    1.0 0.0 ['2.bias'] True
    """
    if not 0 < layer_decay <= 1:
        raise ValueError(f"layer_decay must be above 0 and at most 1, got {layer_decay}")
    undecayed, depths = _undecayed(network), _depths(network, stages, head)
    members: dict[tuple[int, bool], list[tuple[str, nn.Parameter]]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            is_still = parameter.ndim <= 1 or name in undecayed
            members.setdefault((depths[name], is_still), []).append((name, parameter))
    if not members:
        raise ValueError("no parameter of the network learns (requires_grad)")

    groups = []
    for (depth, is_still), pairs in sorted(members.items(), key=lambda item: item[0]):
        is_head = depth > len(stages)
        factor = head_factor if is_head else layer_decay ** (len(stages) - depth)
        names, parameters = ([pair[i] for pair in pairs] for i in (0, 1))
        decay = 0.0 if is_still else weight_decay
        groups.append(Group(names, parameters, rate * factor, decay, is_head))
    return groups


def build_optimizer(
    name: str, groups: Sequence[Group], *, momentum: float = 0.9, nesterov: bool = False
) -> torch.optim.Optimizer:
    """SGD with momentum, Adam or AdamW; only AdamW's decay stands beside the gradient.

    Parameters
    ----------
    name : {'sgd', 'adam', 'adamw'}
    groups : sequence of Group
    momentum : float in [0, 1)
        For Adam and AdamW the first beta.
    nesterov : bool
        For SGD only.
    """
    if name not in OPTIMIZERS:
        raise ValueError(f"optimiser must be one of {', '.join(OPTIMIZERS)}; got {name!r}")
    if nesterov and name != "sgd":
        raise ValueError(f"nesterov is for sgd, not for {name}")
    return OPTIMIZERS[name]([group.to_dict() for group in groups], momentum, nesterov)


def _sgd(groups: Any, momentum: float, nesterov: bool) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, momentum=momentum, nesterov=nesterov)


def _adam(groups: Any, momentum: float, nesterov: bool) -> torch.optim.Optimizer:
    return torch.optim.Adam(groups, betas=(momentum, 0.999))


def _adamw(groups: Any, momentum: float, nesterov: bool) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, betas=(momentum, 0.999))


OPTIMIZERS: dict[str, Callable[[Any, float, bool], torch.optim.Optimizer]] = {
    "adam": _adam,
    "adamw": _adamw,
    "sgd": _sgd,
}


def set_rates(optimizer: torch.optim.Optimizer, groups: Sequence[Group], factor: float) -> None:
    """Every group's learning rate to `factor` (from `schedules.rate`) of its highest."""
    for settings, group in zip(optimizer.param_groups, groups, strict=True):
        settings["lr"] = group.rate * factor


class L2SP:
    """Pull of every parameter but the head's towards where it was when this was made: L2-SP.

    Decoupled: :meth:`step` moves it by ``rate * strength`` of its way back. Called just before
    ``optimizer.step()``, that is for SGD without momentum, number by number, the paper's penalty
    ``strength / 2 * |w - start|^2``. Beside the loss for the reason that decay is in AdamW: Adam
    would divide the strength away; and it stays out of clipping and accumulated gradients.

    After an interruption the start is again that of the network before training: make this
    first, load the weights then. Weight decay on the same parameters is better zero.

    Parameters
    ----------
    groups : sequence of Group
    strength : float, at least 0

    References
    ----------
    Li, Grandvalet, Davoine (2018), "Explicit inductive bias for transfer learning with
    convolutional networks", ICML, arXiv:1802.01483. Loshchilov, Hutter (2019), ICLR,
    arXiv:1711.05101 (decoupling).

    Examples
    --------
    >>> layer = nn.Linear(1, 1, bias=False)
    >>> _ = layer.weight.data.fill_(2.0)
    >>> groups = parameter_groups(layer, rate=0.5)
    >>> pull = L2SP(groups, 0.5)
    >>> _ = layer.weight.data.fill_(6.0)
    >>> pull.step(build_optimizer("sgd", groups))
    >>> layer.weight.item()
    5.0
    """

    def __init__(self, groups: Sequence[Group], strength: float) -> None:
        fastest = max((group.rate for group in groups if not group.is_head), default=0.0)
        if not 0 <= strength * fastest < 1:
            raise ValueError(
                f"need 0 <= strength * rate < 1, or the pull goes beyond the start; "
                f"got {strength} * {fastest}"
            )
        self.strength = strength
        self._starts = [
            [] if group.is_head else [p.detach().clone() for p in group.parameters]
            for group in groups
        ]

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """One pull at the rates that the optimiser has now."""
        for settings, starts in zip(optimizer.param_groups, self._starts, strict=True):
            for parameter, start in zip(settings["params"], starts, strict=False):
                parameter.lerp_(start.to(parameter.device), settings["lr"] * self.strength)


def optimizer_state(optimizer: torch.optim.Optimizer) -> tuple[Tensors, dict[str, Any]]:
    """Everything an optimiser remembers, for a file of tensors and one of JSON.

    Returns
    -------
    tensors : dict
        Copies on the CPU, ``INDEX.NAME``: the parameter's place and what is kept of it.
    meta : dict
        ``kind``, and ``groups`` with their settings.

    Examples
    --------
    >>> layer = nn.Linear(1, 1)
    >>> optimizer = build_optimizer("adam", parameter_groups(layer, rate=0.1))
    >>> layer(torch.ones(1, 1)).sum().backward()
    >>> optimizer.step()
    >>> tensors, meta = optimizer_state(optimizer)
    >>> sorted(tensors)[:3], meta["groups"][0]["betas"]
    (['0.exp_avg', '0.exp_avg_sq', '0.step'], [0.9, 0.999])
    """
    state = optimizer.state_dict()
    tensors = {
        f"{index}.{name}": _plain(value)
        for index, kept in state["state"].items()
        for name, value in kept.items()
        if value is not None  # SGD without momentum keeps a None
    }
    groups = [
        {key: list(value) if isinstance(value, tuple) else value for key, value in group.items()}
        for group in state["param_groups"]
    ]
    return tensors, {"kind": type(optimizer).__name__, "groups": groups}


def restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Tensors, meta: dict[str, Any]
) -> None:
    """The inverse of :func:`optimizer_state`, into an optimiser built the same way.

    The next step is bit by bit the one that would have followed.

    Raises
    ------
    ValueError
        Another kind of optimiser, other groups, or tensors that do not fit the parameters.
    KeyError
        A part of `meta` is missing.
    """
    kind = type(optimizer).__name__
    if meta["kind"] != kind:
        raise ValueError(f"the state is that of {meta['kind']!r}, the optimiser is {kind!r}")
    current = optimizer.state_dict()["param_groups"]
    if len(meta["groups"]) != len(current):
        raise ValueError(
            f"the state has {len(meta['groups'])} groups, the optimiser {len(current)}"
        )
    groups = [
        _restored_group(i, *pair)
        for i, pair in enumerate(zip(meta["groups"], current, strict=True))
    ]
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        index, name = _place(key, len(parameters))
        state.setdefault(index, {})[name] = _fitted(key, value, parameters[index])
    if len({frozenset(kept) for kept in state.values()}) > 1:
        raise ValueError("the state keeps different tensors for different parameters: some missing")
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _undecayed(network: nn.Module) -> set[str]:
    """What networks of timm, here or somewhere inside, name by themselves: position embeddings."""
    return {
        f"{module_name}.{name}".removeprefix(".")
        for module_name, module in network.named_modules()
        for name in getattr(module, "no_weight_decay", set)()
    }


def _depths(network: nn.Module, stages: Sequence[str], head: str) -> dict[str, int]:
    """Of each parameter: 0 before the first stage, 1 to n the stages, n + 1 the head."""
    names = [name for name, _ in network.named_parameters()]
    for module in (*stages, *([head] if head else [])):
        if not any(_is_in(name, module) for name in names):
            raise ValueError(f"the network has no parameter in {module!r}")
    depths, latest = {}, 0
    for name in names:
        if head and _is_in(name, head):
            depths[name] = len(stages) + 1
            continue
        inside = [depth for depth, stage in enumerate(stages, 1) if _is_in(name, stage)]
        latest = inside[-1] if inside else latest
        depths[name] = latest
    return depths


def _is_in(name: str, module: str) -> bool:
    return name == module or name.startswith(module + ".")


def _plain(value: Any) -> torch.Tensor:
    """A copy, in rows even if the network is channels-last: safetensors takes nothing else."""
    if not isinstance(value, torch.Tensor):
        raise TypeError(f"an optimiser that keeps {type(value).__name__} cannot be saved")
    return value.detach().cpu().clone(memory_format=torch.contiguous_format)


def _restored_group(i: int, saved: dict[str, Any], current: dict[str, Any]) -> dict[str, Any]:
    if set(saved) != set(current):
        raise ValueError(f"group {i} has {sorted(saved)}, expected {sorted(current)}")
    for key in ("params", "param_names"):
        if saved.get(key) != current.get(key):
            raise ValueError(f"group {i} of the state holds other parameters than the optimiser's")
    return {
        key: tuple(value) if isinstance(current[key], tuple) else value
        for key, value in saved.items()
    }


def _place(key: str, n_parameters: int) -> tuple[int, str]:
    index, _, name = key.partition(".")
    if not (index.isascii() and index.isdigit() and name and int(index) < n_parameters):
        raise ValueError(f"tensor {key!r} is of none of the {n_parameters} parameters")
    return int(index), name


def _fitted(key: str, value: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """In the parameter's own layout; counters of steps stay as they are."""
    if value.ndim == 0 and key.endswith(".step"):
        return value.clone()
    if value.shape != parameter.shape:
        raise ValueError(
            f"tensor {key!r} is {tuple(value.shape)}, its parameter {tuple(parameter.shape)}"
        )
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value)
