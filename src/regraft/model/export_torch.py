"""A classifier as a torch.export program: runs with PyTorch alone, without timm and without us."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from regraft.machine import quiet
from regraft.model.export_inputs import Input
from regraft.model.export_network import WholeNetwork, examples_of

FILE = "model.pt2"


def write(
    module: WholeNetwork,
    folder: Path,
    inputs: Sequence[Input],
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
    examples, dim = examples_of(inputs, takes_many=takes_many), torch.export.Dim("N", min=1)
    # One tuple for all: the module takes them as *shown.
    free = (tuple({0: dim} for _ in examples),) if takes_many else None
    with torch.no_grad(), quiet.no_warnings():
        program = torch.export.export(module, examples, dynamic_shapes=free, strict=False)
        names = {"labels.json": json.dumps(list(classes))}
        torch.export.save(program, folder / FILE, extra_files=names)
    return folder / FILE
