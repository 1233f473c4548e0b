"""What is said of the taps of several networks side by side: once where it is the same of all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from regraft.backbones.catalog import FLIP
from regraft.features.engine import network_of, stage_of
from regraft.wording import listed


def in_words(taps: Sequence[str], of_one: Callable[[list[str]], str]) -> str:
    """Taps in words; `of_one` says them of a single network.

    Examples
    --------
    >>> in_words(["blocks.5", "final"], " and ".join)
    'blocks.5 and final'
    >>> in_words(["default:final", "lite2:final"], " and ".join)
    'final of default and lite2'
    >>> in_words(["default:blocks.5", "lite2:blocks.4", "lite2:final"], " and ".join)
    'blocks.5 of default; blocks.4 and final of lite2'
    """
    by_network: dict[str, list[str]] = {}
    for tap in taps:
        by_network.setdefault(network_of(tap), []).append(stage_of(tap))
    if list(by_network) == [""]:
        return of_one(by_network[""])
    networks: dict[str, list[str]] = {}
    for name, own in by_network.items():
        networks.setdefault(of_one(own), []).append(name)
    return "; ".join(f"{words} of {listed(names)}" for words, names in networks.items())


def look_in_words(backbone: Mapping[str, Any]) -> str:
    """What is added where pictures are looked at twice; runs of an older Regraft say nothing.

    Examples
    --------
    >>> look_in_words({"look": "flip"}), look_in_words({})
    (', averaged over each picture and its mirror image', '')
    """
    is_twice = backbone.get("look") == FLIP
    return ", averaged over each picture and its mirror image" if is_twice else ""
