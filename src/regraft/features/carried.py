"""A network that learnt on and was not saved yet, carried along by pickle: its tensors as bytes.

Only the cache has such a network. Where that is another one, or was cleared, its engine is built
anew from the tensors that came along.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from regraft.backbones.catalog import Source
from regraft.errors import BackboneError
from regraft.features import engines
from regraft.features.engine import EngineInfo, Sample
from regraft.features.engines import BuiltEngine
from regraft.machine import extras
from regraft.machine.devices import choose_device

# Of a `Source` whose network was taught here; no other is found in the cache alone.
TUNED = "tuned"


def tensors_of(built: BuiltEngine | None) -> bytes | None:
    """What must travel with a classifier: nothing, unless the cache alone has its network."""
    if built is None or built.source.kind != TUNED:
        return None
    return built.weights_path.read_bytes()


def is_here(built: BuiltEngine | None) -> bool:
    """Whether the engine that a classifier was pickled with lies on this disk."""
    return built is not None and built.is_here


def locate(
    tensors: bytes,
    source: Source,
    info: EngineInfo,
    *,
    sample: Sample | None = None,
    device: str = "auto",
    say: Callable[[str], None] = lambda text: None,
) -> BuiltEngine:
    """The engine of a network that came as bytes; built if it is not here.

    Raises
    ------
    BackboneError
        The tensors are not those of this network.
    """
    if engines.find_built(source, choose_device(device)) is not None:
        return engines.locate(source, sample=sample, device=device, say=say)
    with extras.needed_for(f"the network that came along, {info.architecture},"):
        from regraft.backbones import network

    with tempfile.TemporaryDirectory(prefix="regraft-") as made:
        path = Path(made) / "weights.safetensors"
        path.write_bytes(tensors)
        rebuilt = network.rebuild(path, info.architecture, info.config)
    if rebuilt.weights_digest != source.weights_digest:
        raise BackboneError(
            "the network that was pickled with this classifier is damaged",
            cure="pickle it again, or better: save it, and load the folder",
        )
    loaded = replace(rebuilt, licence=info.licence, origin=info.origin)
    return engines.locate(source, sample=sample, device=device, say=say, loaded=loaded)
