"""What a probe has to know of the network on whose features it learns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from regraft.features.engine import Tap, network_of, stage_of
from regraft.probe.source_classifier import Sources


@dataclass(frozen=True, eq=False)
class Network:
    """Where the features of each stage lie, and the network's own last layer.

    Attributes
    ----------
    taps : tuple of Tap
        Columns of each tap in X.
    source : SourceClassifier, SourceClassifiers or None
        The network's own last layer; enables the tap 'source'.
    """

    taps: tuple[Tap, ...]
    source: Sources | None = None

    @property
    def names(self) -> list[str]:
        """Everything that can be tapped."""
        return [tap.name for tap in self.taps] + list(self.source.taps if self.source else ())

    @property
    def stages(self) -> list[str]:
        """The names that they have within their networks."""
        return list(dict.fromkeys(map(stage_of, self.names)))

    @property
    def parts(self) -> dict[str, list[str]]:
        """The names by network: of one alone by ''."""
        found: dict[str, list[str]] = {}
        for name in self.names:
            found.setdefault(network_of(name), []).append(name)
        return found

    def meant(self, names: Sequence[str]) -> tuple[str, ...]:
        """Taps as users write them: of several networks side by side 'final' means that of each
        one. What is not known stays as it is.

        Examples
        --------
        >>> Network((Tap("a:final", 0, 4), Tap("b:final", 4, 9))).meant(["final", "b:final", "x"])
        ('a:final', 'b:final', 'x')
        """
        found: list[str] = []
        for name in names:
            found += [tap for tap in self.names if name in (tap, stage_of(tap))] or [name]
        return tuple(dict.fromkeys(found))
