"""The engine of a backbone: found built on disk, or built once and kept.

A built engine is a folder under the cache: the graph, the compiled blob, the network's tensors as
safetensors and ``engine.json``. Finding one imports neither torch nor timm, and neither does
building that of a default backbone. Where the cache cannot be written, it is built in the folder
that stands in for it, for as long as the process runs.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from regraft.backbones import catalog
from regraft.errors import BackboneError, RegraftError
from regraft.features.engine import GRAPH_VERSION, Engine, EngineInfo, Sample
from regraft.features.mirrored import Mirrored
from regraft.listener import Doing
from regraft.machine import atomic, cache, extras, stand_in
from regraft.machine.devices import choose_device
from regraft.machine.package_version import version_of
from regraft.machine.processor import precision, processor

if TYPE_CHECKING:
    from regraft.backbones.network import LoadedNetwork

logger = logging.getLogger("regraft")

# From the identity of a backbone to the digest of its weights, where the name does not tell it.
_DIGESTS = "digests.json"


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

    @property
    def networks(self) -> tuple[BuiltEngine, ...]:
        """Each network by itself; more than one only where several stand side by side."""
        return (self,)

    @property
    def is_here(self) -> bool:
        """Whether what it is built of still lies on this disk."""
        return all((one.folder / "engine.json").is_file() for one in self.networks)

    def run(self, shown: Sequence[Sequence[NDArray[np.uint8]]]) -> NDArray[np.float32]:
        """``(n, D)`` features of n pictures, each as every one of the networks sees it
        (`pictures.plain_for_each`)."""
        parts = [
            one.engine().run(np.stack([seen[number] for seen in shown]))
            for number, one in enumerate(self.networks)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def engine(self, *, n_threads: int | None = None) -> Engine:
        """The engine, running; the same one at every call.

        `n_threads` requests may run at once, as many as cores by default; the first call says it.
        """
        with self._running.lock:
            if self._running.engine is None:
                self._running.engine = self.start(n_threads=n_threads)
            return self._running.engine

    def start(self, *, n_threads: int | None = None) -> Engine:
        """An engine of its own, ready to run."""
        engine = self._as_it_is(n_threads)
        return Mirrored(engine) if self.info.look == catalog.FLIP else engine

    def _as_it_is(self, n_threads: int | None) -> Engine:
        if self.info.runtime.startswith("torch"):
            with extras.needed_for(f"the backbone {self.info.name}"):
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
        folder = build(
            source, sample=sample, offline=offline, device=device, loaded=loaded, say=say
        )
    info = _read_info(folder)
    if info is None:
        raise BackboneError(
            "the engine folder is damaged", place=str(folder), cure="regraft cache clear --engines"
        )
    preprocess = replace(info.preprocess, white=source.white)
    shown = replace(info, preprocess=preprocess, look=source.look)
    return BuiltEngine(folder, shown, source, device)


def find_built(source: catalog.Source, device: str = "cpu") -> Path | None:
    """The folder of a built engine for this backbone on this processor, or None."""
    digest = source.weights_digest or _known_digests().get(source.identity, "")
    if not digest:
        return None
    key = folder_for(digest, device, source.variant).name
    return next((folder for folder in places_of(key) if _read_info(folder)), None)


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
    parts += [version_of("openvino"), processor(), precision()] if device == "cpu" else []
    parts += [text for text in (variant, part) if text]
    key = hashlib.sha256("|".join(parts).encode()).hexdigest()[:24]
    return cache.folder_of("engines") / key


def places_of(key: str) -> list[Path]:
    """Where the folder of an engine, or of a part of one, may be found."""
    return [cache.folder_of("engines") / key, *(f / key for f in stand_in.folders_of("engines"))]


def build(
    source: catalog.Source,
    *,
    sample: Sample | None = None,
    offline: bool = False,
    device: str = "cpu",
    loaded: LoadedNetwork | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Path:
    """Build the engine of a backbone and keep it, once.

    The default backbones' topologies come along (:mod:`regraft.features.ready_engine`): a second.
    All others need torch and timm, and some seconds.

    `loaded` is the network itself where it is at hand, as it is after it has learnt.

    Raises
    ------
    MissingPackageError
        torch or timm is needed, and not installed.
    """
    precision()  # a setting that cannot be is refused before anything is loaded
    ready = _of_topology(source, device, say) if loaded is None else None
    return ready or _by_torch(source, sample, offline, device, loaded, say)


def _of_topology(source: catalog.Source, device: str, say: Callable[[str], None]) -> Path | None:
    """The engine of a backbone whose topology comes along; None if there is none that agrees."""
    from regraft.features import ready_engine

    topology = ready_engine.topology_of(source, device)
    if topology is None:
        return None
    say(Doing(f"building the engine of {source.name}, once (a second or two)"))
    try:
        return _kept(lambda made: ready_engine.build_into(made, source, topology), source, say)
    except (RegraftError, OSError):
        raise
    except Exception as error:  # whatever OpenVINO raises; PyTorch may still run the network
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        say(f"the graph of {source.name} that comes along does not serve here ({reason})")
        return None


def _by_torch(
    source: catalog.Source,
    sample: Sample | None,
    offline: bool,
    device: str,
    loaded: LoadedNetwork | None,
    say: Callable[[str], None],
) -> Path:
    first = [Doing(f"building the engine of {source.name}, once (some seconds)")]
    if loaded is None and source.kind in ("timm", "hf-hub"):  # its name may be wrong
        first.insert(0, Doing(f"looking for the backbone {source.name} and its weights"))
    say(first.pop(0))
    needs_it = f"the backbone {source.name}" + (f" on {device}" if device != "cpu" else "")
    with extras.needed_for(needs_it, otherwise=_without_torch(source, device)):
        from regraft.features import engine_builder

    network = loaded or engine_builder.load(source, offline=offline)
    for words in first:
        say(words)

    def build_into(made: Path) -> EngineInfo:
        return engine_builder.build_into(made, source, network, sample=sample, device=device)

    folder = _kept(build_into, source, say, device=device)
    _remember_digest(folder.parent, source.identity, network.weights_digest)
    return folder


def _without_torch(source: catalog.Source, device: str) -> str:
    """What works without PyTorch, in its place."""
    if device != "cpu" and source.name in catalog.PINNED:
        return "--device cpu"
    return f"--backbone {', '.join(catalog.PINNED)} on the CPU, which need it not"


def _kept(
    build_into: Callable[[Path], EngineInfo],
    source: catalog.Source,
    say: Callable[[str], None],
    *,
    device: str = "cpu",
) -> Path:
    """A new engine under its name in the cache."""

    def fill(made: Path) -> str:
        info = build_into(made)
        (made / "engine.json").write_text(info.to_json(), encoding="utf-8")
        return folder_for(info.weights_digest, device, source.variant).name

    return keep(fill, is_whole=lambda made: _read_info(made) is not None, say=say)


def keep(
    fill: Callable[[Path], str],
    *,
    is_whole: Callable[[Path], bool],
    say: Callable[[str], None] = lambda text: None,
) -> Path:
    """A folder among the engines; for this process alone where the cache cannot be written.

    Parameters
    ----------
    fill : callable(folder)
        Writes into a new folder, and gives the name that it gets when it is whole.
    is_whole : callable(folder)
        Whether what another process put under that name can be used.
    say : callable
        Hears if it is not kept.

    Raises
    ------
    BackboneError
        Nothing can be written anywhere.
    """
    engines = cache.folder_of("engines")
    try:
        return _kept_in(engines, fill, is_whole)
    except OSError as error:
        why = f"the engine cannot be kept in {engines} ({_reason(error)})"
    try:
        folder = _kept_in(stand_in.folder_of("engines"), fill, is_whole)
    except OSError as error:
        raise BackboneError(
            f"{why}, nor in a temporary folder ({_reason(error)})",
            cure="make room, or point REGRAFT_CACHE or TMPDIR to a folder that can be written",
        ) from error
    say(f"{why}: it was built in a temporary folder, for this time only")
    return folder


def _kept_in(parent: Path, fill: Callable[[Path], str], is_whole: Callable[[Path], bool]) -> Path:
    with atomic.working_folder(parent) as made:
        folder = parent / fill(made)
        atomic.publish(made, folder, is_whole=lambda: is_whole(folder))
    return folder


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def list_built() -> list[tuple[Path, EngineInfo]]:
    """Every built engine in the cache."""
    folders = sorted(cache.folder_of("engines").glob("*/engine.json"))
    return [(f.parent, info) for f in folders if (info := _read_info(f.parent))]


def _read_info(folder: Path) -> EngineInfo | None:
    try:
        return EngineInfo.from_json((folder / "engine.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _known_digests() -> dict[str, str]:
    known: dict[str, str] = {}
    for file in places_of(_DIGESTS):
        with contextlib.suppress(OSError, ValueError, TypeError):
            known |= json.loads(file.read_text(encoding="utf-8"))
    return known


def _remember_digest(engines: Path, identity: str, weights_digest: str) -> None:
    with contextlib.suppress(OSError):  # it only spares the next run a look at the weights
        atomic.write_json(engines / _DIGESTS, {**_known_digests(), identity: weights_digest})
