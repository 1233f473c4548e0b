"""The engine of a backbone: found built on disk, or built once and kept.

A built engine is a folder under the cache: the graph, the compiled blob, the network's tensors as
safetensors and ``engine.json``. Finding one imports neither torch nor timm.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from regraft.backbones import catalog
from regraft.errors import BackboneError
from regraft.features.engine import GRAPH_VERSION, Engine, EngineInfo, Sample
from regraft.machine import atomic, cache
from regraft.machine.devices import choose_device
from regraft.machine.processor import precision, processor

if TYPE_CHECKING:
    from regraft.backbones.network import LoadedNetwork

logger = logging.getLogger("regraft")


@dataclass(frozen=True, eq=False)
class BuiltEngine:
    """An engine on disk: known, and started when the first picture needs it, once for all."""

    folder: Path
    info: EngineInfo
    source: catalog.Source
    device: str = "cpu"
    _running: _Running = field(default_factory=lambda: _Running(), repr=False)

    @property
    def weights_path(self) -> Path:
        """The network's tensors, as safetensors under timm's names."""
        return self.folder / "weights.safetensors"

    def engine(self) -> Engine:
        """The engine, running, on as many cores as there are; the same one at every call."""
        with self._running.lock:
            if self._running.engine is None:
                self._running.engine = self.start()
            return self._running.engine

    def start(self, *, n_threads: int | None = None) -> Engine:
        """An engine of its own, ready to run."""
        if self.info.runtime.startswith("torch"):
            from regraft.features.torch_engine import TorchEngine

            return TorchEngine.load(self.folder, self.info, device=self.device)
        from regraft.features.openvino_engine import OpenVINOEngine

        return OpenVINOEngine(self.folder, self.info, n_threads=n_threads)


class _Running:
    """The engine of a `BuiltEngine` once it runs; it does not travel to another process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.engine: Engine | None = None

    def __reduce__(self) -> tuple[type[_Running], tuple[()]]:
        return _Running, ()


def locate(
    source: catalog.Source,
    *,
    sample: Sample | None = None,
    device: str = "auto",
    offline: bool = False,
    say: Callable[[str], None] = lambda text: None,
    loaded: LoadedNetwork | None = None,
) -> BuiltEngine:
    """The built engine of a backbone; builds it if this is the first time.

    Parameters
    ----------
    source : Source
        From :func:`regraft.backbones.catalog.resolve`.
    sample : callable, optional
        Gives a few preprocessed pictures, on which a newly built engine is compared with PyTorch;
        without it, made-up pictures serve.
    device : {'auto', 'cpu', 'cuda', 'mps'}
        'auto' takes an NVIDIA GPU where there is one, else the CPU.
    say : callable
        Hears one line before anything that takes seconds.
    loaded : LoadedNetwork, optional
        The network itself where it is at hand, as it is after it has learnt.

    Raises
    ------
    BackboneError, WeightsError
        See :mod:`regraft.backbones.network`.
    """
    device = choose_device(device)
    folder = find_built(source, device)
    if folder is None:
        say(f"building the engine of {source.name}, once (some seconds)")
        folder = build(source, sample=sample, offline=offline, device=device, loaded=loaded)
    info = _read_info(folder)
    if info is None:
        raise BackboneError(
            "the engine folder is damaged", place=str(folder), cure="regraft cache clear --engines"
        )
    preprocess = replace(info.preprocess, white=source.white)
    return BuiltEngine(folder, replace(info, preprocess=preprocess), source, device)


def find_built(source: catalog.Source, device: str = "cpu") -> Path | None:
    """The folder of a built engine for this backbone on this processor, or None."""
    digest = source.weights_digest or _known_digests().get(source.identity, "")
    if not digest:
        return None
    folder = folder_for(digest, device, source.variant)
    return folder if _read_info(folder) else None


def folder_for(
    weights_digest: str,
    device: str = "cpu",
    variant: str = "",
    *,
    part: str = "",
) -> Path:
    """Where the engine of these weights lives: by weights, versions, device and processor.

    `variant` says what was changed of the network's own input (`Source.variant`); `part` names a
    graph that is not the whole network's.
    """
    parts = [weights_digest, str(GRAPH_VERSION), device]
    parts += [_openvino_version(), processor(), precision()] if device == "cpu" else []
    parts += [text for text in (variant, part) if text]
    key = hashlib.sha256("|".join(parts).encode()).hexdigest()[:24]
    return cache.folder_of("engines") / key


def build(
    source: catalog.Source,
    *,
    sample: Sample | None = None,
    offline: bool = False,
    device: str = "cpu",
    loaded: LoadedNetwork | None = None,
) -> Path:
    """Build the engine of a backbone and keep it; needs torch and timm, some seconds, once.

    `loaded` is the network itself where it is at hand, as it is after it has learnt.
    """
    from regraft.features import engine_builder  # torch and timm live behind this import

    with working_folder() as made:
        info = engine_builder.build_into(
            made, source, sample=sample, offline=offline, device=device, loaded=loaded
        )
        (made / "engine.json").write_text(info.to_json(), encoding="utf-8")
        folder = folder_for(info.weights_digest, device, source.variant)
        atomic.publish(made, folder, is_whole=lambda: _read_info(folder) is not None)
        _remember_digest(source.identity, info.weights_digest)
    return folder


def list_built() -> list[tuple[Path, EngineInfo]]:
    """Every built engine in the cache."""
    folders = sorted(cache.folder_of("engines").glob("*/engine.json"))
    return [(f.parent, info) for f in folders if (info := _read_info(f.parent))]


def _read_info(folder: Path) -> EngineInfo | None:
    try:
        return EngineInfo.from_json((folder / "engine.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def working_folder() -> Iterator[Path]:
    """A folder beside the engines, gone after the block; `atomic.publish` makes it one of them."""
    engines = cache.folder_of("engines")
    try:
        with atomic.working_folder(engines) as folder:
            yield folder
    except OSError as error:
        raise BackboneError(
            f"the engine cannot be kept: {error.strerror}",
            place=str(engines),
            cure="make room, or point REGRAFT_CACHE to a folder that can be written",
        ) from error


def _digests_file() -> Path:
    return cache.folder_of("engines") / "digests.json"


def _known_digests() -> dict[str, str]:
    try:
        known = json.loads(_digests_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _remember_digest(identity: str, weights_digest: str) -> None:
    known = {**_known_digests(), identity: weights_digest}
    atomic.write_json(_digests_file(), known)


def _openvino_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("openvino")
    except PackageNotFoundError:
        return "none"
