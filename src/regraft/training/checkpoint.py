"""Training on disk: the last state and the best, whole at every moment, and no pickle.

A checkpoint is one safetensors file, its JSON in the file's header, written under another name and
renamed: whatever kills the process, the file that is there is a whole one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from regraft.machine import atomic

LAST, BEST = "last.safetensors", "best.safetensors"
_META = "regraft"


@dataclass(frozen=True)
class Saved:
    """Tensors by name, and what JSON holds."""

    tensors: dict[str, torch.Tensor]
    meta: dict[str, Any]

    def part(self, prefix: str) -> dict[str, torch.Tensor]:
        """The tensors under ``prefix.``, without it."""
        start = prefix + "."
        return {n.removeprefix(start): t for n, t in self.tensors.items() if n.startswith(start)}


def write(path: Path, parts: Mapping[str, Mapping[str, torch.Tensor]], meta: Any) -> None:
    """Save tensors in named parts, and a JSON object, in one file that is whole or not there."""
    tensors = {
        f"{prefix}.{name}": tensor.detach().cpu().contiguous().clone()
        for prefix, named in parts.items()
        for name, tensor in named.items()
    }
    with atomic.file(path, sync=True) as part:
        save_file(tensors, part, metadata={_META: json.dumps(meta)})


def read(path: Path) -> Saved | None:
    """What :func:`write` saved, or None if there is nothing that can be read."""
    try:
        with safe_open(path, framework="pt") as file:
            meta = json.loads((file.metadata() or {})[_META])
            return Saved({name: file.get_tensor(name) for name in file.keys()}, meta)  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
