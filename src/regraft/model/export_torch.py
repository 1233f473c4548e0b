"""A classifier as a torch.export program: runs with PyTorch alone, without timm and without us."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from regraft.machine import quiet
from regraft.model.export_network import WholeNetwork

FILE = "model.pt2"


def write(
    module: WholeNetwork,
    folder: Path,
    size: tuple[int, int],
    classes: Sequence[str],
    *,
    takes_many: bool = True,
) -> Path:
    """Write ``model.pt2``; the arguments are those of `export_onnx.write`.

    The names lie in the same file (``extra_files``).

    Raises
    ------
    Exception
        Whatever PyTorch raises on what it cannot trace.
    """
    example = torch.zeros(2 if takes_many else 1, *size, 3, dtype=torch.uint8)
    free = ({0: torch.export.Dim("N", min=1)},) if takes_many else None
    with torch.no_grad(), quiet.no_warnings():
        program = torch.export.export(module, (example,), dynamic_shapes=free, strict=False)
        names = {"labels.json": json.dumps(list(classes))}
        torch.export.save(program, folder / FILE, extra_files=names)
    return folder / FILE
