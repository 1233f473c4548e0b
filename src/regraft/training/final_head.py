"""The head of the model: the probe of all of train, and what moved while a part was held out."""

from __future__ import annotations

import copy

import numpy as np
import torch

from regraft.probe.base import Floats, Head
from regraft.probe.linear_head import LinearHead
from regraft.probe.representation import Representation
from regraft.training.candidates import End
from regraft.training.history import State
from regraft.training.plan import Plan
from regraft.training.tunable import TunableClassifier, as_head


def final_head(plan: Plan, model: TunableClassifier, start: State, end: End) -> Head:
    """The tuned head at the end's place on the way; a linear one on the base of all of train."""
    return _on_base_of_all(plan, start, _head_at(model, end.state), end.alpha)


def _head_at(model: TunableClassifier, state: State) -> Head:
    own = {n.removeprefix("head."): t for n, t in state.items() if n.startswith("head.")}
    head = copy.deepcopy(model.head)
    head.load_state_dict(own)
    return as_head(head)


def _on_base_of_all(plan: Plan, start: State, tuned: Head, alpha: float) -> Head:
    """The probe of all of train, and what moved while a part of it was held out added to it."""
    if not isinstance(tuned, LinearHead):
        return tuned
    first = LinearHead(_array(start["head.weight"]), _array(start["head.bias"]))
    if plan.start.head is None:
        return _sum(first, tuned, first, alpha)
    whole, seen = plan.start.probe, plan.start.head.representation
    assert isinstance(whole.head, LinearHead)
    base = LinearHead(whole.head.weight / whole.temperature, whole.head.bias / whole.temperature)
    own, result = whole.representation, plan.start.representation
    parts = (_plain(base, own, result), _plain(tuned, seen, result), _plain(first, seen, result))
    return _represented(_sum(*parts, alpha), result)


def _sum(base: LinearHead, tuned: LinearHead, first: LinearHead, alpha: float) -> LinearHead:
    """``base + alpha (tuned - first)``."""
    return LinearHead(
        base.weight + alpha * (tuned.weight - first.weight),
        base.bias + alpha * (tuned.bias - first.bias),
    )


def _plain(head: LinearHead, seen: Representation, result: Representation) -> LinearHead:
    """The head on features that are neither centred nor scaled, float64: what it says of each block
    that it sees, at that block's place in the result's representation."""
    weight = head.weight.astype(np.float64) * seen.scale
    bias = head.bias.astype(np.float64) - weight @ seen.centre
    placed = np.zeros((len(weight), len(result.centre)))
    to = result.columns
    for block, place in seen.columns.items():
        placed[:, to[block]] = weight[:, place]
    return LinearHead(placed, bias)


def _represented(head: LinearHead, representation: Representation) -> LinearHead:
    """The inverse of :func:`_plain`."""
    scale = representation.scale
    weight = np.divide(head.weight, scale, out=np.zeros_like(head.weight), where=scale > 0)
    bias = head.bias + (weight * scale) @ representation.centre
    return LinearHead(weight.astype(np.float32), bias.astype(np.float32))


def _array(tensor: torch.Tensor) -> Floats:
    found: Floats = tensor.detach().cpu().float().numpy()
    return found
