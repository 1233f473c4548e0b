"""The data as each backbone of a search sees them; each is seen once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from regraft.choosing.way import Way
from regraft.listener import Listener
from regraft.machine import deadline
from regraft.record.configuration import RunConfig
from regraft.workflows.preparation import Clock, Prepared, see

Key = tuple[str, str, int | None]


class Sights:
    """Made from the sight of the first backbone; the others have its rows and its splits.

    Parameters
    ----------
    first : Way
        Whose sight `prepared` is.
    """

    def __init__(
        self, first: Way, prepared: Prepared, *, offline: bool, listener: Listener
    ) -> None:
        self.prepared, self.offline, self.listener = prepared, offline, listener
        self._known: dict[Key, Prepared] = {_key(first): prepared}

    def __contains__(self, way: Way) -> bool:
        """Whether the data were seen so."""
        return _key(way) in self._known

    def of(self, way: Way, config: RunConfig, moment: float) -> Prepared:
        """By the probe that a way begins from, whose configuration is given; it must be there by a
        moment of `time.monotonic`.

        Raises
        ------
        OutOfTimeError
        OSError
            Pictures cannot be read any more.
        """
        if _key(way) not in self._known:
            listener = replace(self.listener, progress=self._counted(way, moment))
            table = self.prepared.extraction.table
            seen = see(config, table, clock=Clock(), offline=self.offline, listener=listener)
            if len(seen.extraction.table) != len(table):
                raise OSError("pictures that were read before cannot be read any more")
            own = replace(self.prepared, extraction=seen.extraction, built=seen.built)
            self._known[_key(way)] = own
        return self._known[_key(way)]

    def _counted(self, way: Way, moment: float) -> Callable[[str, int, int], None]:
        def progress(stage: str, done: int, total: int) -> None:
            deadline.check(moment)
            self.listener.progress(f"{stage}: {way.name}", done, total)

        return progress


def _key(way: Way) -> Key:
    return way.backbone, way.look, None if way.trains else way.image_size
