"""What an exported graph is made of beyond the network, in the words of no one runtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from regraft.errors import UsageError
from regraft.probe.representation import Block, Representation

# Below this a row has no direction; as in `Representation`.
LEAST_LENGTH = 1e-12
# Heads that are affine layers with ReLU between them.
_AFFINE = ("linear", "mlp")


def require_head(kind: str) -> None:
    """Refuse a head that is no graph.

    Raises
    ------
    UsageError
    """
    if kind in _AFFINE:
        return
    raise UsageError(
        f"a head of the kind {kind!r} cannot be exported: it answers by looking through the "
        "training images, which a graph would have to carry and search",
        cure="train with another head: regraft train DATA --head ridge (or logistic, svm, ncm)",
    )


def layers_of(head: Any) -> Sequence[tuple[NDArray[Any], NDArray[Any]]]:
    """Weights ``(out, in)`` and biases ``(out,)`` of a head, from the features to the scores."""
    layers: Sequence[tuple[NDArray[Any], NDArray[Any]]]
    layers = head.layers if head.kind == "mlp" else [(head.weight, head.bias)]
    return layers


def blocks_in_order(representation: Representation) -> list[tuple[Block, int]]:
    """Each block with its place among those of its tap: 0 the mean (or final), 1 the maximum."""
    starts: dict[str, set[int]] = {}
    for block in representation.blocks:
        starts.setdefault(block.tap, set()).add(block.start)
    return [(b, sorted(starts[b.tap]).index(b.start)) for b in representation.blocks]
