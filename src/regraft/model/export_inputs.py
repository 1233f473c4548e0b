"""What an exported model is shown: one tensor of pixels for each geometry of its networks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from regraft.features.engine import EngineInfo
from regraft.images.geometry import Preprocess

PIXELS = "pixels"
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Input:
    """One input of the graph, ``(N, H, W, 3)`` uint8.

    Attributes
    ----------
    name : str
        'pixels'; of several 'pixels', 'pixels_2' and so on.
    preprocess : Preprocess
        What makes it of a picture.
    script, tensors : str
        Files of the export: the program that makes it, and the golden images as it makes them.
    """

    name: str
    preprocess: Preprocess
    script: str
    tensors: str

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.preprocess.input_px


def inputs_of(info: EngineInfo) -> tuple[Input, ...]:
    """Each input, in the order of the networks; those that see the same share one.

    Examples
    --------
    >>> small, large = Preprocess(), Preprocess(input_px=(260, 260), resize_px=292)
    >>> def info(name, preprocess):
    ...     return EngineInfo(name, name, "", "", "", preprocess, (), "", "fp32")
    >>> parts = info("a", small), info("b", large), info("c", replace(small, mean=(0.5, 0.5, 0.5)))
    >>> three = replace(info("a+b+c", small), parts=parts)
    >>> [(one.name, one.size, one.script) for one in inputs_of(three)]
    [('pixels', (224, 224), 'preprocess.py'), ('pixels_2', (260, 260), 'preprocess_2.py')]
    >>> seen_by(three)
    (0, 1, 0)
    """
    first: dict[Preprocess, Preprocess] = {}
    for one in info.networks:
        first.setdefault(_geometry(one.preprocess), one.preprocess)
    return tuple(_numbered(number, each) for number, each in enumerate(first.values(), 1))


def seen_by(info: EngineInfo) -> tuple[int, ...]:
    """For each network the place of the input that it sees."""
    geometries = [_geometry(one.preprocess) for one in info.networks]
    different = list(dict.fromkeys(geometries))
    return tuple(map(different.index, geometries))


def _geometry(preprocess: Preprocess) -> Preprocess:
    """Without what the graph does (mean, deviation), and without a border where there is none."""
    has_border = preprocess.crop_mode == "border" or preprocess.resize_px < min(preprocess.input_px)
    return replace(
        preprocess, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0),
        fill=preprocess.fill if has_border else (0, 0, 0),
    )  # fmt: skip


def _numbered(number: int, preprocess: Preprocess) -> Input:
    end = f"_{number}" if number > 1 else ""
    return Input(f"{PIXELS}{end}", preprocess, f"preprocess{end}.py", f"tensors{end}.npy")


def stacked(shown: Iterable[Sequence[Pixels]]) -> tuple[Pixels, ...]:
    """Pictures, each as every input sees it, to one array for each input."""
    return tuple(np.stack(seen) for seen in zip(*shown, strict=True))
