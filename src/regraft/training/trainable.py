"""What learns, and what it learns from: what each method makes of a plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from regraft.training.examples import Examples


def state_of(body: Any) -> Mapping[str, Any]:
    """A module's tensors by their names."""
    state: Mapping[str, Any] = body.state_dict()
    return state


@dataclass(frozen=True, eq=False)
class Trainable:
    """A network, or a part of it, and its examples.

    Attributes
    ----------
    body : nn.Module or None
        The network, or the rest of it after a cut; None where only a head learns.
    learn, choose : Examples
        In the order of the rows that teach, and of those that choose.
    stages : tuple of str
        Of the body, whose activations the head may see.
    frozen : tuple of str
        Tensors of the network that stay, by name.
    proof : dict
        Of the split.
    merged : callable(body) -> mapping of tensors
        What the body learnt, by the network's own names. A method that puts modules of its own
        into the body (adapters, say) folds them in here.
    """

    body: nn.Module | None
    learn: Examples
    choose: Examples | None
    stages: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()
    proof: dict[str, float] = field(default_factory=dict)
    merged: Callable[[Any], Mapping[str, Any]] = state_of
