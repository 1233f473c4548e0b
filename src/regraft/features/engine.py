"""What an engine is: pixels in, pooled activations of every stage out; and what is known of one.

How one is found or built is in ``engines``; these are the words that both sides speak.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from regraft.backbones.catalog import PLAIN
from regraft.images.geometry import Preprocess
from regraft.machine.processor import available_cores

# Raised when the graph itself changes meaning: other taps, pooling, normalisation.
GRAPH_VERSION = 3
POOLING = ("mean", "max")


Sample = Callable[[Preprocess], "Sequence[NDArray[np.uint8]]"]


# The name of the last tap: what the network's own classifier sees.
FINAL = "final"


@dataclass(frozen=True)
class Tap:
    """Columns ``start:stop`` of the feature matrix: one stage's mean and maximum, or the final."""

    name: str
    start: int
    stop: int

    @property
    def stage(self) -> str:
        """Its name within its own network."""
        return stage_of(self.name)


def stage_of(tap: str) -> str:
    """The name of a tap within its own network.

    Examples
    --------
    >>> stage_of("lite2:blocks.5"), stage_of("final")
    ('blocks.5', 'final')
    """
    return tap.rpartition(":")[2]


def network_of(tap: str) -> str:
    """Of several networks side by side the name of a tap's own, else ''.

    Examples
    --------
    >>> network_of("hf-hub:timm/resnet18:layer4"), network_of("layer4")
    ('hf-hub:timm/resnet18', '')
    """
    return tap.rpartition(":")[0]


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
        Images per request: 1 on a CPU, more where PyTorch runs the network.
    check : dict
        How far the engine's numbers were from PyTorch's on real pixels.
    notes : tuple of str
        What a user must hear, such as why OpenVINO was not used.
    config : dict
        timm's pretrained_cfg, for the artefact.
    variant : str
        What was changed of the network's own input (`Source.variant`).
    look : {'plain', 'flip'}
        Whether its features are those of a picture, or of it and its mirror image, averaged.
    parts : tuple of EngineInfo
        Of several networks side by side each by itself; the names of the stages then begin with
        the network's, 'lite2:blocks.5', and `preprocess` is that of the first.
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
    look: str = PLAIN
    parts: tuple[EngineInfo, ...] = ()

    @property
    def networks(self) -> tuple[EngineInfo, ...]:
        """Of each network by itself; mostly there is one."""
        return self.parts or (self,)

    @property
    def taps(self) -> tuple[Tap, ...]:
        """Every tap with its columns."""
        found, start = [], 0
        for name, width in self.widths:
            stop = start + (width if stage_of(name) == FINAL else 2 * width)
            found.append(Tap(name, start, stop))
            start = stop
        return tuple(found)

    @property
    def final(self) -> Tap:
        """The final features, of the first network where there are several."""
        return next(tap for tap in self.taps if tap.stage == FINAL)

    @property
    def n_features(self) -> int:
        """Columns of the feature matrix."""
        return self.taps[-1].stop

    @property
    def provenance(self) -> dict[str, str]:
        """Which network it is, whose weights, and under which licence."""
        return {
            "name": self.name,
            "architecture": self.architecture,
            "digest": self.weights_digest,
            "licence": self.licence,
            "origin": self.origin,
        }

    def to_json(self) -> str:
        """As ``engine.json`` holds it: of one network, which does not know how it will look."""
        known = {k: v for k, v in asdict(self).items() if k not in ("look", "parts")}
        return json.dumps({**known, "preprocess": self.preprocess.to_dict()}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> EngineInfo:
        """The reverse of :meth:`to_json`; ValueError, KeyError or TypeError if damaged."""
        known = json.loads(text)
        known["preprocess"] = Preprocess.from_dict(known["preprocess"])
        known["widths"] = tuple((str(n), int(w)) for n, w in known["widths"])
        known["notes"] = tuple(known["notes"])
        return cls(**known)


def difference(tested: EngineInfo, here: EngineInfo) -> str:
    """What a user must hear of a model that runs here unlike where it was tested; '' if nothing.

    Other versions of one runtime round alike; other precisions and other runtimes do not.
    """
    is_as_precise = tested.precision == here.precision
    if is_as_precise and tested.runtime.split()[0] == here.runtime.split()[0]:
        return ""
    by = "less than 0.001" if is_as_precise else "some hundredths"
    return (
        f"the model was tested in {tested.precision} with {tested.runtime}, here it runs in "
        f"{here.precision} with {here.runtime}: its probabilities may differ by {by}, its score "
        "hardly; `regraft evaluate` tests it here"
    )


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
