"""What a classifier said of the reported images, as far as a report shows it: a few columns.

Probabilities of R images for K classes are gigabytes where both are many, and a page needs of each
image what it was called and how surely, before and after the temperature, and for a few classes the
probabilities behind their curves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.evaluation.blocks import iterate_rows
from regraft.evaluation.curves import without_temperature

# Classes whose curves are drawn.
MOST_CURVES = 6


@dataclass(frozen=True, eq=False)
class Said:
    """Of R images.

    Attributes
    ----------
    called : (R,) int
        Codes.
    sureness : (R,) float32
        Their probabilities.
    called_before, sureness_before : (R,)
        The same without the temperature.
    curves : dict of int to (R,) float32
        The probabilities of some classes, by their codes.
    """

    called: NDArray[np.intp]
    sureness: NDArray[np.float32]
    called_before: NDArray[np.intp]
    sureness_before: NDArray[np.float32]
    curves: Mapping[int, NDArray[np.float32]]

    @classmethod
    def of(cls, proba: Any, *, temperature: float, codes: Sequence[int]) -> Said:
        """Of ``(R, K)`` probabilities, which are read in blocks.

        Examples
        --------
        >>> said = Said.of(np.array([[0.1, 0.9], [0.7, 0.3]]), temperature=0.5, codes=[1])
        >>> said.called, said.sureness, said.sureness_before.round(2), said.curves[1]
        (array([1, 0]), array([0.9, 0.7], dtype=float32), array([0.75, 0.6 ], dtype=float32), array([0.9, 0.3], dtype=float32))
        """  # noqa: E501
        parts = []
        for block in iterate_rows(proba):
            rows = block.astype(np.float32)
            before = without_temperature(rows, temperature)
            parts.append([
                rows.argmax(1), rows.max(1), before.argmax(1), before.max(1),
                *(rows[:, code].copy() for code in codes),  # a view would hold its block
            ])  # fmt: skip
        called, sure, called_before, sure_before, *curves = (
            np.concatenate(column) for column in zip(*parts, strict=True)
        )
        return cls(called, sure, called_before, sure_before, dict(zip(codes, curves, strict=True)))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """By name, for a file."""
        codes = np.array(list(self.curves), np.int32)
        columns = list(self.curves.values()) or [self.sureness]
        return {
            "called": self.called.astype(np.int32),
            "sureness": self.sureness,
            "called_before": self.called_before.astype(np.int32),
            "sureness_before": self.sureness_before,
            "curve_codes": codes,
            "curves": np.stack(columns)[: len(codes)],
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Said:
        """The inverse; KeyError if one is missing."""
        codes = arrays["curve_codes"].tolist()
        return cls(
            arrays["called"].astype(np.intp),
            arrays["sureness"],
            arrays["called_before"].astype(np.intp),
            arrays["sureness_before"],
            dict(zip(codes, arrays["curves"], strict=True)),
        )


def classes_with_curves(evaluation: Mapping[str, Any]) -> list[int]:
    """Codes of the classes whose curves are drawn: all of a few, or the weakest of many."""
    rows = evaluation["per_class"]
    known = [k for k, row in enumerate(rows) if row["auroc"]["value"] is not None]
    if len(known) == 2 and len(rows) == 2:
        return known[1:]
    weakest = sorted(known, key=lambda k: float(rows[k]["auroc"]["value"]))
    return weakest[:MOST_CURVES]
