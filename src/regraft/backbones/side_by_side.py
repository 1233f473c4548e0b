"""Several networks under one name, `default+lite2`: their features stand side by side.

The order of the names does not matter: `lite2+default` is `default+lite2`, the same model.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from regraft.backbones import catalog
from regraft.backbones.catalog import PINNED, Source
from regraft.errors import BackboneError

SEVERAL = "several"

T = TypeVar("T")


def resolve(name: str = "default", *, weights: str | os.PathLike[str] | None = None) -> Source:
    """What a name stands for, be it one network or several; see `catalog.resolve`.

    Raises
    ------
    BackboneError
        One of the networks cannot be meant, or is named twice.

    Examples
    --------
    >>> found = resolve("lite2+default")
    >>> found.name, [part.architecture for part in found.parts]
    ('default+lite2', ['tf_efficientnet_lite0', 'tf_efficientnet_lite2'])
    >>> resolve("default+lite0")
    Traceback (most recent call last):
        ...
    regraft.errors.BackboneError: 'default' is named twice
      where: --backbone default+lite0
      cure:  --backbone default
    """
    names = catalog.names_in(name)
    if len(names) == 1:
        return catalog.resolve(name, weights=weights)
    place = f"--backbone {name}"
    if weights is not None:
        raise BackboneError(
            f"--weights gives the tensors of one network, {len(names)} are named",
            place=place,
            cure="leave out --weights; a network in a folder: "
            f"--backbone {names[0]}+local-dir:FOLDER",
        )
    if not all(names):
        kept = "+".join(filter(None, names)) or "default"
        raise BackboneError(
            "a name is missing before or after a plus", place=place, cure=f"--backbone {kept}"
        )
    parts = _in_order(_each(names, place))
    _refuse_twins(parts, place)
    return joined(parts)


def joined(parts: Sequence[Source]) -> Source:
    """Several sources as one."""
    digests = [part.weights_digest for part in parts]
    return Source(
        "+".join(part.name for part in parts),
        SEVERAL,
        "+".join(part.architecture for part in parts),
        " + ".join(part.identity for part in parts),
        weights_digest=digest_of(digests) if all(digests) else "",
        licence=one_or_all(part.licence for part in parts),
        origin="; ".join(part.origin for part in parts),
        parts=tuple(parts),
    )


def digest_of(digests: Iterable[str]) -> str:
    """SHA-256 over the digests of several networks, in their order.

    Examples
    --------
    >>> digest_of(["ab", "cd"])[:8]
    '2a5554a1'
    """
    return hashlib.sha256("+".join(digests).encode()).hexdigest()


def one_or_all(words: Iterable[str]) -> str:
    """What all say, once; else each in turn."""
    return " + ".join(dict.fromkeys(words))


def network_in(config: Mapping[str, Any], prefix: str) -> Mapping[str, Any]:
    """What a saved model's config says of the network whose tensors have a prefix; '' for its only
    one.

    Examples
    --------
    >>> config = {"regraft": {"networks": [{"widths": 1}, {"widths": 2}]}, "pretrained_cfg": {}}
    >>> network_in(config, "networks.1.")["widths"]
    2
    """
    ours = config["regraft"]
    if not prefix:
        return {**ours, "pretrained_cfg": config["pretrained_cfg"]}
    found: Mapping[str, Any] = ours["networks"][int(prefix.split(".")[1])]
    return found


def under(prefix: str, tensors: Mapping[str, T]) -> dict[str, T]:
    """The tensors whose names begin so, without it.

    Examples
    --------
    >>> under("networks.1.", {"networks.0.w": 3, "networks.1.w": 4})
    {'w': 4}
    """
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def _each(names: Sequence[str], place: str) -> list[Source]:
    found = []
    for name in names:
        try:
            found.append(catalog.resolve(name))
        except BackboneError as error:
            raise type(error)(
                error.rule, place=error.place or place, cure=error.cure, **error.facts
            ) from error
    return found


def _in_order(parts: Sequence[Source]) -> list[Source]:
    """Ours in the order of the catalogue, then the others by name."""
    known = list(PINNED)
    return sorted(
        parts,
        key=lambda part: (known.index(part.name) if part.name in known else len(known), part.name),
    )


def _refuse_twins(parts: Sequence[Source], place: str) -> None:
    seen: dict[str, Source] = {}
    for part in parts:
        twin = seen.setdefault(part.identity, part)
        if twin is not part:
            others = [one.name for one in parts if one is not part]
            raise BackboneError(
                f"{part.name!r} is named twice"
                if twin.name == part.name
                else f"{twin.name!r} and {part.name!r} are the same network",
                place=place,
                cure=f"--backbone {'+'.join(others)}",
            )
