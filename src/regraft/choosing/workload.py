"""What a way has to go through: images, classes, what the store and the caches hold of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from regraft.choosing.network_cost import NetworkCost, cost_of, is_packaged
from regraft.choosing.way import Way
from regraft.training import defaults


@dataclass(frozen=True, eq=False)
class Workload:
    """What a way has to go through.

    Attributes
    ----------
    n_images, n_learn, n_reported, n_classes : int
    n_features : int
        Numbers that the pass leaves of an image.
    n_missing : int
        Images whose features the store does not hold.
    is_built : bool
        The engine is on disk.
    picture_ms, network_ms : float or None
        Core-milliseconds of reading a picture, and of the network on it, where they were timed.
    situation : Situation or None
        Where it was measured; None: both kinds of data are reckoned with.
    is_made : bool
        What the frozen part makes of the views, and the decoded pictures, are on disk.
    is_repeated : bool
        This very training was made before: what it learns is known, and so are its engine and its
        features of the pictures.
    has_torch : bool
        PyTorch is loaded already.
    network : NetworkCost or None
        Of a network that is not a packaged one, by its built engine.
    n_epochs_done : int
        Epochs that a run which was stopped, or is made again, has gone through.
    n_cores : int
    """

    n_images: int
    n_learn: int
    n_reported: int
    n_classes: int
    n_features: int = 3_000
    n_missing: int = 0
    is_built: bool = True
    picture_ms: float | None = None
    network_ms: float | None = None
    situation: defaults.Situation | None = None
    is_made: bool = False
    is_repeated: bool = False
    has_torch: bool = False
    network: NetworkCost | None = None
    n_epochs_done: int = 0
    n_cores: int = 2

    @property
    def situations(self) -> list[defaults.Situation]:
        """Those that are to be reckoned with."""
        if self.situation is not None:
            return [self.situation]
        stages = tuple(f"blocks.{i}" for i in range(7))
        return [
            defaults.Situation(
                self.n_learn, self.n_classes, 1e4, 224, True, 0.0, stages, probe_error=error
            )
            for error in (0.05, 0.3)
        ]

    @property
    def untimed(self) -> Workload:
        """The same for bills that go by past runs alone: how fast a pass just was is no part of a
        prediction.

        Examples
        --------
        >>> Workload(100, 80, 20, 2, picture_ms=3.1, network_ms=2.0).untimed.picture_ms is None
        True
        """
        return replace(self, picture_ms=None, network_ms=None)

    def cost_of(self, way: Way) -> NetworkCost:
        """Of the way's network: a packaged one, or as this says."""
        is_guessed = not is_packaged(way.backbone) and "+" not in way.backbone
        return self.network if is_guessed and self.network is not None else cost_of(way.backbone)
