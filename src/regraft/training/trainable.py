"""What learns, and what it learns from: what each method makes of a plan."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from regraft.training.examples import Examples


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
    """

    body: nn.Module | None
    learn: Examples
    choose: Examples | None
    stages: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()
    proof: dict[str, float] = field(default_factory=dict)
