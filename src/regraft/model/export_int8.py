"""An ONNX file in 8-bit integers, by onnxruntime's quantiser, and whether it is worth it here."""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.errors import ArtefactError
from regraft.evaluation.paired import compare_paired
from regraft.machine import processor, quiet
from regraft.model.export_comparison import Seen, flips
from regraft.model.export_inputs import Input, Pixels
from regraft.model.export_runtimes import AT_ONCE, Runner
from regraft.probe.classifier import Classifier
from regraft.wording import printable

# Images of train that show how large the numbers in the network become.
N_CALIBRATING, FEWEST_CALIBRATING = 128, 16
# What takes nearly all of a network's time. Its head and its pooling stay in full precision.
_OPERATIONS = ["Conv", "MatMul", "Gemm", "Add", "Mul", "Relu", "Clip", "MaxPool"]
_HEAD = "/answer/"
# Rounds in which two files take turns, so that a busy machine is as slow for both.
ROUNDS = 7


def quantise(path: Path, inputs: Sequence[Input], shown: Sequence[Pixels]) -> None:
    """Write an ONNX file again, in 8-bit integers.

    Parameters
    ----------
    path : Path
    inputs : sequence of Input
    shown : sequence of (n, H, W, 3) uint8
        Real pictures that teach the ranges, as each input sees them; not those that it is then
        judged on.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory(prefix="regraft-") as room, quiet.no_warnings():
        prepared, quantised = Path(room) / "prepared.onnx", Path(room) / "quantised.onnx"
        quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(quantised),
            _Reader(inputs, shown),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_OPERATIONS,
            nodes_to_exclude=_kept_exact(prepared),
            per_channel=True,
            # Without these instructions sums of 8-bit products overflow 16 bits.
            reduce_range=not processor.multiplies_int8(),
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={"CalibMovingAverage": True},
        )
        shutil.copyfile(quantised, path)


class _Reader:
    """Pictures one by one, as the quantiser asks for them."""

    def __init__(self, inputs: Sequence[Input], shown: Sequence[Pixels]) -> None:
        self._names = [one.name for one in inputs]
        self._rows = iter(zip(*shown, strict=True))

    def get_next(self) -> dict[str, Any] | None:
        rows = next(self._rows, None)
        if rows is None:
            return None
        return {name: row[None] for name, row in zip(self._names, rows, strict=True)}


def _kept_exact(path: Path) -> list[str]:
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    return [node.name for node in graph.node if node.name.startswith(_HEAD)]


@dataclass(frozen=True)
class Lost:
    """What 8-bit integers cost, on the same images.

    Attributes
    ----------
    points : float
        Of accuracy; where no label is known, the share of images that get another one, in percent.
    paired : dict or None
        `PairedComparison` of fp32 (A) and int8 (B), as JSON.
    image : str
        The surest image that only fp32 has right; empty if there is none.
    """

    points: float
    paired: dict[str, Any] | None
    image: str

    @classmethod
    def of(cls, exact: Seen, smaller: Seen, classifier: Classifier) -> Lost:
        """From what both say of the same pictures."""
        a, b = exact.found.probabilities, smaller.found.probabilities
        code = {name: i for i, name in enumerate(classifier.classes)}
        truth = np.array([code.get(label or "", -1) for label in exact.pictures.labels])
        known = truth >= 0
        if not known.any():
            return cls(100 * len(flips(a, b)) / len(a), None, _surest(exact, flips(a, b)))
        right_a, right_b = a.argmax(1) == truth, b.argmax(1) == truth
        paired = compare_paired(right_a[known], right_b[known])
        told = np.flatnonzero(known & right_a & ~right_b)
        return cls(100 * paired.difference.value, paired.to_dict(), _surest(exact, told))

    def require_at_most(self, points: float) -> None:
        """Refuse a loss that is larger.

        Raises
        ------
        ArtefactError
        """
        if self.points > points:
            raise ArtefactError(
                f"8-bit integers cost {self.points:.2f} points of accuracy, at most {points:g} "
                "were asked for",
                place=printable(self.image),
                cure=f"--max-drop {self.points + 0.01:.2f} takes it all the same; or leave out "
                "--int8. Nothing was written",
                image=self.image,
            )


def _surest(seen: Seen, rows: NDArray[np.intp]) -> str:
    if not len(rows):
        return ""
    return seen.pictures.names[int(rows[seen.found.probabilities[rows].max(axis=1).argmax()])]


def times_as_fast(first: Runner, second: Runner, shown: Sequence[Pixels]) -> float:
    """How many times as many images a second `second` answers as `first`: the middle of rounds.

    Parameters
    ----------
    shown : sequence of (n, H, W, 3) uint8
        For each input; at least as many as go at once.
    """
    some, ratios = [pixels[:AT_ONCE] for pixels in shown], []
    for _ in range(ROUNDS):
        ratios.append(_seconds(first, some) / _seconds(second, some))
    return statistics.median(ratios)


def _seconds(runner: Runner, shown: Sequence[Pixels]) -> float:
    begun = time.perf_counter()
    runner(*shown)
    return time.perf_counter() - begun


def in_words(gain: float) -> str:
    """A measured gain.

    Examples
    --------
    >>> in_words(1.43), in_words(1.02), in_words(0.7)
    ('faster by 1.4x on this processor', 'no faster here', 'slower here, by 1.4x')
    """
    if gain >= 1.05:
        return f"faster by {gain:.1f}x on this processor"
    return "no faster here" if gain > 0.95 else f"slower here, by {1 / gain:.1f}x"
