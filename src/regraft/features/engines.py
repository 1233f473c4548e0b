"""The engine of a backbone: found built on disk, or built once and kept.

A built engine is a folder under the cache: the graph, the compiled blob, the network's tensors as
safetensors and ``engine.json``. Finding one imports neither torch nor timm.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from regraft import cache
from regraft.backbones import catalog
from regraft.errors import BackboneError
from regraft.images.geometry import Preprocess

if TYPE_CHECKING:
    from regraft.backbones.network import LoadedNetwork

logger = logging.getLogger("regraft")

# Raised when the graph itself changes meaning: other taps, pooling, normalisation.
GRAPH_VERSION = 2
POOLING = ("mean", "max")


@dataclass(frozen=True)
class Tap:
    """Columns ``start:stop`` of the feature matrix: one stage's mean and maximum, or the final."""

    name: str
    start: int
    stop: int


@dataclass(frozen=True)
class EngineInfo:
    """What is known of a built engine, as ``engine.json`` holds it.

    Attributes
    ----------
    name : str
        The backbone as the user named it when the engine was built.
    architecture, weights_digest, licence, origin : str
    preprocess : Preprocess
    widths : tuple of (stage, width)
        In the order of the columns; all but the last give a mean and a maximum.
    runtime : str
        'openvino 2026.4.1' or 'torch 2.14.1'.
    precision : {'bf16', 'fp32'}
    batch_size : int
        Images per request (`engine_builder.batch_size`).
    check : dict
        How far the engine's numbers were from PyTorch's on real pixels.
    notes : tuple of str
        What a user must hear, such as why OpenVINO was not used.
    config : dict
        timm's pretrained_cfg, for the artefact.
    variant : str
        What was changed of the network's own input (`Source.variant`).
    """

    name: str
    architecture: str
    weights_digest: str
    licence: str
    origin: str
    preprocess: Preprocess
    widths: tuple[tuple[str, int], ...]
    runtime: str
    precision: str
    batch_size: int = 1
    check: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    config: dict[str, Any] = field(default_factory=dict)
    variant: str = ""

    @property
    def taps(self) -> tuple[Tap, ...]:
        """Every tap with its columns."""
        found, start = [], 0
        for name, width in self.widths:
            stop = start + (width if name == "final" else 2 * width)
            found.append(Tap(name, start, stop))
            start = stop
        return tuple(found)

    @property
    def n_features(self) -> int:
        """Columns of the feature matrix."""
        return self.taps[-1].stop

    def to_json(self) -> str:
        """As ``engine.json`` holds it."""
        return json.dumps({**asdict(self), "preprocess": self.preprocess.to_dict()}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> EngineInfo:
        """The reverse of :meth:`to_json`; ValueError, KeyError or TypeError if damaged."""
        known = json.loads(text)
        known["preprocess"] = Preprocess.from_dict(known["preprocess"])
        known["widths"] = tuple((str(n), int(w)) for n, w in known["widths"])
        known["notes"] = tuple(known["notes"])
        return cls(**known)


class Engine(Protocol):
    """Pixels in, pooled activations of all stages out; `run` may be called from many threads."""

    def run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """``(N, H, W, 3)`` uint8 to ``(N, D)`` float32."""
        ...


def run_on_cores(
    engine: Engine, pixels: NDArray[np.uint8], *, batch_size: int
) -> NDArray[np.float32]:
    """``(N, H, W, 3)`` to ``(N, D)``: every core takes the next batch.

    Parameters
    ----------
    batch_size : int
        Images per request (`EngineInfo.batch_size`).
    """
    starts = range(0, len(pixels), batch_size)
    with ThreadPoolExecutor(min(len(starts), available_cores()) or 1) as pool:
        rows = pool.map(lambda start: engine.run(pixels[start : start + batch_size]), starts)
        return np.concatenate(list(rows))


@dataclass(frozen=True)
class BuiltEngine:
    """An engine on disk: known, but not yet started (a warm run needs no more)."""

    folder: Path
    info: EngineInfo
    source: catalog.Source
    device: str = "cpu"

    @property
    def weights_path(self) -> Path:
        """The network's tensors, as safetensors under timm's names."""
        return self.folder / "weights.safetensors"

    def start(self, *, n_threads: int | None = None) -> Engine:
        """The engine, ready to run."""
        if self.info.runtime.startswith("torch"):
            from regraft.features.torch_engine import TorchEngine

            return TorchEngine.load(self.folder, self.info, device=self.device)
        from regraft.features.openvino_engine import OpenVINOEngine

        return OpenVINOEngine(self.folder, self.info, n_threads=n_threads)


Sample = Callable[[Preprocess], "Sequence[NDArray[np.uint8]]"]


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
    return BuiltEngine(folder, info, source, device)


def choose_device(device: str = "auto") -> str:
    """The device that 'auto' means here; asks the system, not PyTorch, whose import takes long."""
    if device == "auto":
        return "cuda" if os.path.exists("/dev/nvidia0") else "cpu"
    return device


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
    parts += [_openvino_version(), _processor(), precision()] if device == "cpu" else []
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

    with working_folder() as room:
        info = engine_builder.build_into(
            room, source, sample=sample, offline=offline, device=device, loaded=loaded
        )
        (room / "engine.json").write_text(info.to_json(), encoding="utf-8")
        folder = folder_for(info.weights_digest, device, source.variant)
        publish(room, folder, is_whole=lambda: _read_info(folder) is not None)
        _remember_digest(source.identity, info.weights_digest)
    return folder


def list_built() -> list[tuple[Path, EngineInfo]]:
    """Every built engine in the cache."""
    folders = sorted(cache.folder_of("engines").glob("*/engine.json"))
    return [(f.parent, info) for f in folders if (info := _read_info(f.parent))]


def precision() -> str:
    """'bf16' where the processor multiplies it in tiles (AMX), else 'fp32'.

    AVX-512's bf16 instructions alone do not pay: 14.1 core-milliseconds an image for the default
    backbone, against 9.4 in fp32 (docs/experiments.md).
    """
    return "bf16" if "amx_bf16" in _processor_flags() else "fp32"


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _read_info(folder: Path) -> EngineInfo | None:
    try:
        return EngineInfo.from_json((folder / "engine.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def working_folder() -> Iterator[Path]:
    """A room beside the engines, gone after the block; :func:`publish` makes it one of them."""
    engines = cache.folder_of("engines")
    try:
        engines.mkdir(parents=True, exist_ok=True)
        room = Path(tempfile.mkdtemp(prefix=".building-", dir=engines))
    except OSError as error:
        raise BackboneError(
            f"the engine cannot be kept: {error.strerror}",
            place=str(engines),
            cure="make room, or point REGRAFT_CACHE to a folder that can be written",
        ) from error
    try:
        yield room
    finally:
        shutil.rmtree(room, ignore_errors=True)


def publish(room: Path, folder: Path, *, is_whole: Callable[[], bool]) -> None:
    """Rename when whole; an engine that another process built meanwhile is as good as ours.

    `is_whole` says whether what lies at `folder` can be used.
    """
    if not is_whole():
        shutil.rmtree(folder, ignore_errors=True)
    try:
        room.rename(folder)
    except OSError:
        if not is_whole():
            raise


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
    temporary = _digests_file().with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps(known, indent=1), encoding="utf-8")
    os.replace(temporary, _digests_file())


def _openvino_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("openvino")
    except PackageNotFoundError:
        return "none"


def _processor() -> str:
    flags = " ".join(sorted(_processor_flags()))
    return f"{platform.machine()} {hashlib.sha256(flags.encode()).hexdigest()[:12]}"


def _processor_flags() -> frozenset[str]:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.startswith(("flags", "Features")):
                    return frozenset(line.partition(":")[2].split())
    except OSError:
        pass
    return frozenset()
