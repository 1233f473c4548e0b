"""The frozen network in PyTorch: for GPUs, and for networks that OpenVINO cannot run."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from regraft.backbones import catalog, network
from regraft.features.engine import EngineInfo
from regraft.images.geometry import Preprocess
from regraft.machine import quiet


class TorchEngine:
    """A network with its taps, or a part of one, in eval mode on one device; one request at a
    time."""

    def __init__(self, module: nn.Module, device: str) -> None:
        self.device = device
        self._module = module.to(device).eval()
        self._lock = threading.Lock()

    @classmethod
    def load(cls, folder: Path, info: EngineInfo, *, device: str) -> TorchEngine:
        """The network of a built engine, from the tensors in its folder."""
        loaded = network.rebuild(folder / "weights.safetensors", info.architecture, info.config)
        return cls(network.tap(loaded)[0], device)

    def run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """``(N, H, W, 3)`` uint8 to ``(N, D)`` float32."""
        with self._lock, torch.inference_mode(), quiet.no_warnings():
            # PyTorch warns of read-only arrays; this one is only read.
            batch = torch.from_numpy(pixels).to(self.device)
            features: NDArray[np.float32] = self._module(batch).float().cpu().numpy()
        return features


def describe(
    source: catalog.Source, loaded: network.LoadedNetwork, widths: list[tuple[str, int]]
) -> EngineInfo:
    """What is known of a loaded network, with PyTorch as its runtime."""
    return EngineInfo(
        name=source.name,
        architecture=loaded.architecture,
        weights_digest=loaded.weights_digest,
        licence=loaded.licence,
        origin=loaded.origin,
        preprocess=Preprocess.from_timm(loaded.config),
        widths=tuple(widths),
        runtime=f"torch {torch.__version__}",
        precision="fp32",
        batch_size=16,
        config={k: v for k, v in loaded.config.items() if _is_plain(v)},
        variant=source.variant,
    )


def _is_plain(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_is_plain(v) for v in value)
    return value is None or isinstance(value, (str, int, float, bool))
