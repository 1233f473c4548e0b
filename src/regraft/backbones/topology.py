"""The graphs of the default backbones, as they come with Regraft: all but the weights.

`topologies/` has three files of each network, written by ``tools/make_topologies.py``, which needs
PyTorch and timm: the OpenVINO graph of its taps (``.xml``); what each constant of the graph is made
of, and what timm says of the network (``.json``); and PyTorch's features of a few made-up pictures
with the released weights (``.npy``), by which an engine is proven where PyTorch is not installed.
`tests/test_topology.py` compares all of it with timm's own network.

The graph has batch normalisation folded into the convolutions, as PyTorch folds it. It is valid for
pictures of any size, for weights of any training, and for any normalisation of the pixels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.backbones.tensor_file import Stored
from regraft.errors import WeightsError

FOLDER = Path(__file__).parent / "topologies"

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Topology:
    """A network without its weights.

    Attributes
    ----------
    architecture : str
        timm's name.
    config : dict
        timm's pretrained_cfg.
    widths : tuple of (stage, width)
        As in `regraft.features.engine.EngineInfo`.
    tensors : tuple of (name, kind, shape)
        Under timm's names, in timm's order.
    epsilon : float
        Of the batch normalisation.
    n_bytes : int
        Of all constants.
    constants : tuple of (offset, made of)
        ``["weight", CONVOLUTION, NORMALISATION]`` or ``["bias", ...]``: folded; ``["mean"]``,
        ``["inverse_std"]``: of the pixels; ``["is", HEX]``: these bytes.
    """

    architecture: str
    config: dict[str, Any]
    widths: tuple[tuple[str, int], ...]
    tensors: tuple[tuple[str, str, tuple[int, ...]], ...]
    epsilon: float
    n_bytes: int
    constants: tuple[tuple[int, tuple[str, ...]], ...]

    @property
    def xml(self) -> str:
        """The graph; its constants have places in the array that `filled` gives."""
        return (FOLDER / f"{self.architecture}.xml").read_text(encoding="utf-8")

    @property
    def features(self) -> Floats:
        """PyTorch's features of the made-up pictures, (n, D), with the released weights."""
        found: Floats = np.load(FOLDER / f"{self.architecture}.npy", allow_pickle=False)
        return found

    def under_timms_names(
        self, tensors: Mapping[str, Stored], *, place: str = ""
    ) -> dict[str, Stored]:
        """Tensors by name; if they have other names, by order and shape, all or none.

        A classifier of any number of classes is taken: the graph ends before it.

        Raises
        ------
        WeightsError
            They are not those of this network; says which is the first not to fit.
        """
        names = [name for name, _, _ in self.tensors]
        is_in_order = not set(names) <= set(tensors) and len(names) == len(tensors)
        found = dict(zip(names, tensors.values(), strict=True)) if is_in_order else tensors
        kept = {}
        for name, kind, shape in self.tensors:
            if name not in found:
                raise _misfit(self.architecture, f"{name!r} is missing", place)
            kept[name] = self._fitted(name, kind, shape, found[name], place)
        return kept

    def _fitted(
        self, name: str, kind: str, shape: tuple[int, ...], tensor: Stored, place: str
    ) -> Stored:
        is_classifier = name.startswith(f"{self.config['classifier']}.")
        # A linear layer's weight in place of a 1 x 1 convolution's, as in the packages.
        if shape == (*tensor.shape, 1, 1):
            tensor = Stored(tensor.kind, shape, tensor.data)
        if tensor.kind != kind or (tensor.shape != shape and not is_classifier):
            raise _misfit(
                self.architecture,
                f"{name!r} is {tensor.kind} {tensor.shape}, expected {kind} {shape}",
                place,
            )
        return tensor

    def filled(
        self, tensors: Mapping[str, Stored], *, mean: Sequence[float], std: Sequence[float]
    ) -> NDArray[np.uint8]:
        """The constants of the graph, one after the other.

        Parameters
        ----------
        tensors : mapping
            From `under_timms_names`.
        mean, std : three floats
            Of RGB in [0, 1].
        """
        found = np.zeros(self.n_bytes, np.uint8)
        pixels = {
            "mean": np.array(mean, np.float32) * np.float32(255),
            "inverse_std": np.float32(1) / (np.array(std, np.float32) * np.float32(255)),
        }
        for offset, (what, *of) in self.constants:
            if what == "is":
                data = bytes.fromhex(of[0])
            elif what in pixels:
                data = pixels[what].tobytes()
            else:
                data = folded(what, tensors, *of, epsilon=self.epsilon).tobytes()
            found[offset : offset + len(data)] = np.frombuffer(data, np.uint8)
        return found


def folded(
    part: str, tensors: Mapping[str, Stored], convolution: str, norm: str, *, epsilon: float
) -> Floats:
    """The weight or the bias of a convolution that does what its normalisation did after it.

    The steps and their order are PyTorch's, so that the numbers are PyTorch's to the last bit.

    Parameters
    ----------
    part : {'weight', 'bias'}
    convolution, norm : str
        Names of the two modules.

    Returns
    -------
    float32 array, (C_out, C_in, h, w) or (C_out,)
    """
    gain, shift, mean, variance = (
        tensors[f"{norm}.{name}"].to_array()
        for name in ("weight", "bias", "running_mean", "running_var")
    )
    rate = np.float32(1) / np.sqrt(variance + np.float32(epsilon))
    if part == "bias":
        own = tensors.get(f"{convolution}.bias")
        start = np.zeros_like(mean) if own is None else own.to_array()
        return _floats((start - mean) * rate * gain + shift)
    weight = tensors[f"{convolution}.weight"].to_array()
    return _floats(weight * (gain * rate).reshape(-1, 1, 1, 1))


def _floats(values: NDArray[Any]) -> Floats:
    return np.asarray(values, np.float32)


@cache
def find(architecture: str) -> Topology | None:
    """The topology of a network of timm's by its name, or None if none comes along.

    Examples
    --------
    >>> find("tf_efficientnet_lite0").widths[-1], find("resnet18")
    (('final', 1280), None)
    """
    name = architecture.partition(".")[0]
    if name not in {path.stem for path in FOLDER.glob("*.json")}:
        return None
    known = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return Topology(
        architecture=known["architecture"],
        config=known["config"],
        widths=tuple((name, width) for name, width in known["widths"]),
        tensors=tuple((name, kind, tuple(shape)) for name, kind, shape in known["tensors"]),
        epsilon=known["epsilon"],
        n_bytes=known["n_bytes"],
        constants=tuple((offset, tuple(made_of)) for offset, made_of in known["constants"]),
    )


def _misfit(architecture: str, what: str, place: str) -> WeightsError:
    return WeightsError(
        f"these weights do not fit the architecture {architecture}: {what}",
        place=place,
        cure="name the architecture that the file was saved from (--backbone TIMM_NAME)",
    )
