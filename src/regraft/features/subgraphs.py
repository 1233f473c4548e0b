"""A part of a network as a graph of its own: its frozen prefix, or the maps of its stages.

It lies beside the whole network's engine: found, or built once, compared with PyTorch on real
pixels and, where the two differ, given up for PyTorch. Finding one imports no torch.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from regraft.features import engine, engines
from regraft.features.engine import Engine, Tap
from regraft.features.engines import BuiltEngine
from regraft.machine import extras, processor

if TYPE_CHECKING:
    from torch import nn

_FACTS = "part.json"
# Pictures at once where PyTorch runs the part.
_TORCH_BATCH = 16


@dataclass(frozen=True, eq=False)
class Subgraph:
    """A part, ready to run.

    Attributes
    ----------
    runner : Engine
    key : str
        The same for equal rows.
    runtime : str
        As in `EngineInfo`.
    batch_size : int
        Images per request.
    facts : dict
        What was found out when it was built.
    note : str
        What a user must hear.
    """

    runner: Engine
    key: str
    runtime: str
    batch_size: int
    facts: dict[str, Any]
    note: str = ""


def find(built: BuiltEngine, name: str) -> Subgraph | None:
    """The part `name` of a network, if its graph was built here and can be run.

    Parameters
    ----------
    built : BuiltEngine
        Of the whole network.
    name : str
        Which part, and the version of its rows' meaning.
    """
    info = built.info
    if not info.runtime.startswith("openvino"):
        return None
    for folder in engines.places_of(_key(built, name)):
        if (facts := _read_facts(folder)) is None:
            continue
        from regraft.features.openvino_engine import OpenVINOEngine

        with contextlib.suppress(Exception):  # a damaged graph; the answer is as if there were none
            runner = OpenVINOEngine(folder, info, n_threads=processor.available_cores())
            return Subgraph(runner, folder.name, info.runtime, info.batch_size, facts)
    return None


def find_or_make(
    built: BuiltEngine,
    name: str,
    make: Callable[[Path], Mapping[str, Any]],
    *,
    say: Callable[[str], None] = lambda text: None,
) -> Subgraph | None:
    """The part, found or made by a function that writes its graph into a folder and proves it.

    Parameters
    ----------
    make : callable(folder) -> facts
    """

    def fill(made: Path) -> str:
        text = json.dumps({"facts": dict(make(made))})
        (made / _FACTS).write_text(text, encoding="utf-8")
        return _key(built, name)

    found = find(built, name)
    if found is None:
        engines.keep(fill, is_whole=lambda folder: _read_facts(folder) is not None, say=say)
    return found or find(built, name)


def find_or_build(
    module: nn.Module,
    built: BuiltEngine,
    name: str,
    *,
    columns: Sequence[Tap],
    example: NDArray[np.uint8],
    facts: Mapping[str, Any],
) -> Subgraph:
    """The part that this module is, on the engine that the pass uses; else PyTorch runs it.

    Parameters
    ----------
    module : nn.Module
        ``(N, H, W, 3)`` uint8 to ``(N, D)`` float32, in eval mode.
    columns : sequence of Tap
        Of the D columns; each is compared for itself.
    example : (n, H, W, 3) uint8
        Real pictures, on which the graph is compared with PyTorch.
    facts : mapping
        For JSON; kept beside the graph.
    """
    info, notes = built.info, list[str]()
    if info.runtime.startswith("openvino"):
        with contextlib.suppress(Exception):  # any failure has the same answer: PyTorch runs it
            found = find(built, name)
            if found is None:
                _build(module, _key(built, name), info, columns, example, facts, notes.append)
                found = find(built, name)
            if found is not None:
                return replace(found, note="; ".join(notes))
    with extras.needed_for(f"the {name.split()[0]} of {info.name}"):
        from regraft.features.torch_engine import TorchEngine

    is_known = info.runtime.startswith("torch")
    note = "" if is_known else f"OpenVINO does not run the {name.split()[0]}; PyTorch does"
    runner = TorchEngine(module, built.device)
    return Subgraph(runner, f"{_key(built, name)}-torch", "torch", _TORCH_BATCH, dict(facts), note)


def _build(
    module: nn.Module,
    key: str,
    info: engine.EngineInfo,
    columns: Sequence[Tap],
    example: NDArray[np.uint8],
    facts: Mapping[str, Any],
    say: Callable[[str], None],
) -> None:
    from regraft.features import engine_builder

    def fill(made: Path) -> str:
        shown = engine_builder.pictures(info, lambda preprocess: list(example))
        check = engine_builder.agreeing_graph(module, made, info, columns, shown)
        text = json.dumps({"facts": dict(facts), "check": check})
        (made / _FACTS).write_text(text, encoding="utf-8")
        return key

    engines.keep(fill, is_whole=lambda folder: _read_facts(folder) is not None, say=say)


def _key(built: BuiltEngine, name: str) -> str:
    info = built.info
    return engines.folder_for(info.weights_digest, built.device, info.variant, part=name).name


def _read_facts(folder: Path) -> dict[str, Any] | None:
    try:
        facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))["facts"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return facts if isinstance(facts, dict) else None
