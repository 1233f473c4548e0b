"""Sets of taps of several networks side by side, made from those of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from regraft.features.engine import Tap
from regraft.probe.network import Network
from regraft.probe.source_classifier import FINAL, SOURCE

SetsOf = Callable[[tuple[Tap, ...], bool], list[tuple[str, ...]]]


def of_each(network: Network, sets_of: SetsOf) -> list[tuple[str, ...]]:
    """Sets of taps to compare: of several networks side by side those that have one role in each,
    joined; then each stage of each alone.

    Parameters
    ----------
    network : Network
    sets_of : callable(taps, has_source)
        The sets of one network, whose taps are called as if there were no other.

    Examples
    --------
    >>> side = Network(tuple(Tap(n, 0, 1) for n in ("a:x", "a:final", "b:x", "b:y", "b:final")))
    >>> from regraft.probe.choice import candidate_taps
    >>> for taps in of_each(side, candidate_taps)[:2]:
    ...     print(*taps)
    a:final b:final
    a:x a:final b:x b:y b:final
    """
    has_source = network.source is not None
    own = {
        name: sets_of(tuple(tap for tap in network.taps if tap.name in names), has_source)
        for name, names in network.parts.items()
    }
    if len(own) == 1:
        return next(iter(own.values()))
    known = set(network.names)  # one of them may have no source classes

    def called(name: str, taps: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(tap for t in taps if (tap := f"{name}:{t}") in known)

    by_role = {name: {_role(taps, sets): taps for taps in sets[::-1]} for name, sets in own.items()}
    roles = dict.fromkeys(_role(taps, sets) for sets in own.values() for taps in sets)
    together = [
        tuple(tap for name, sets in by_role.items() for tap in called(name, _in_role(role, sets)))
        for role in roles
        if role.part != "one"
    ]
    alone = [called(name, taps) for name, sets in own.items() for taps in sets if len(taps) == 1]
    return list(dict.fromkeys([*together, *alone]))


class _Role(NamedTuple):
    """What a set of taps is within its network, whatever its stages are called."""

    part: str  # of the stages: none, one, some, all
    has_final: bool
    has_source: bool


def _role(taps: tuple[str, ...], sets: list[tuple[str, ...]]) -> _Role:
    """Among all sets of that network, the largest of which has every stage."""
    stages = set(taps) - {FINAL, SOURCE}
    n_all = max(len(set(other) - {FINAL, SOURCE}) for other in sets)
    part = "none" if not stages else "all" if len(stages) == n_all else "some"
    is_one = len(taps) == 1 and bool(stages)
    return _Role("one" if is_one else part, FINAL in taps, SOURCE in taps)


def _in_role(role: _Role, sets: Mapping[_Role, tuple[str, ...]]) -> tuple[str, ...]:
    """A network's set in a role; all of its stages where it has too few to take some."""
    return sets.get(role) or sets.get(role._replace(part="all"), ())
