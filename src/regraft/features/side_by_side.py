"""Finding a backbone's engine, be it one network or several whose features stand side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from regraft.backbones.catalog import Source
from regraft.backbones.side_by_side import digest_of, one_or_all
from regraft.errors import BackboneError, RegraftError
from regraft.features import engines
from regraft.features.engine import Engine, EngineInfo, Sample
from regraft.features.engines import BuiltEngine


@dataclass(frozen=True, eq=False)
class SideBySide(BuiltEngine):
    """Several built engines as one: each sees a picture as it wants it, has its own entries in the
    store and its own tensors."""

    parts: tuple[BuiltEngine, ...] = ()

    @property
    def networks(self) -> tuple[BuiltEngine, ...]:
        """Each network by itself."""
        return self.parts

    @property
    def weights_path(self) -> Path:
        """There is no one file: ask each of `networks`."""
        self._refuse("no one file of tensors")

    def engine(self, *, n_threads: int | None = None) -> Engine:
        """There is no one engine: `run` asks all, or ask each of `networks`."""
        self._refuse("no one engine")

    def _refuse(self, what: str) -> NoReturn:
        raise BackboneError(f"{self.info.name} is several networks and has {what}")


def locate(
    source: Source,
    *,
    sample: Sample | None = None,
    device: str = "auto",
    offline: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> BuiltEngine:
    """The engine of one network, or of several side by side; see `engines.locate`.

    Raises
    ------
    BackboneError, WeightsError
        As there, naming the network; or two of the networks have the same weights.
    """
    if not source.parts:
        return engines.locate(source, sample=sample, device=device, offline=offline, say=say)
    parts = []
    for part in source.parts:
        shown = replace(part, white=source.white, look=source.look)
        try:
            parts.append(
                engines.locate(shown, sample=sample, device=device, offline=offline, say=say)
            )
        except RegraftError as error:
            raise type(error)(
                error.rule,
                place=error.place or f"{part.name} in {source.name}",
                cure=error.cure,
                **error.facts,
            ) from error
    _refuse_twins(parts, source)
    info = joined([part.info for part in parts])
    return SideBySide(parts[0].folder.parent, info, source, parts[0].device, parts=tuple(parts))


def joined(infos: Sequence[EngineInfo]) -> EngineInfo:
    """What is known of several engines as one; stages are called by network and name."""
    first = infos[0]
    return replace(
        first,
        name="+".join(info.name for info in infos),
        architecture="+".join(info.architecture for info in infos),
        weights_digest=digest_of(info.weights_digest for info in infos),
        licence=one_or_all(info.licence for info in infos),
        origin="; ".join(info.origin for info in infos),
        widths=tuple(
            (f"{info.name}:{stage}", width) for info in infos for stage, width in info.widths
        ),
        runtime=one_or_all(info.runtime for info in infos),
        # The coarser one, where they differ.
        precision=min(info.precision for info in infos),
        batch_size=max(info.batch_size for info in infos),
        check={info.name: info.check for info in infos},
        notes=tuple(dict.fromkeys(note for info in infos for note in info.notes)),
        config={},
        variant=one_or_all(info.variant for info in infos),
        parts=tuple(infos),
    )


def _refuse_twins(parts: Sequence[BuiltEngine], source: Source) -> None:
    """Two names of the same weights, which only the weights tell."""
    seen: dict[str, str] = {}
    for part in parts:
        twin = seen.setdefault(part.info.weights_digest, part.source.name)
        if twin != part.source.name:
            others = [one.source.name for one in parts if one is not part]
            raise BackboneError(
                f"{twin!r} and {part.source.name!r} are the same network: their weights are equal",
                place=f"--backbone {source.name}",
                cure=f"--backbone {'+'.join(others)}",
            )
