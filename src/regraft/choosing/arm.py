"""An arm of the search for the best way: what it would cost, what came of it, how it was judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.choosing.way import Way
from regraft.evaluation import blocks

WAITING, RUNNING, TRIED, DROPPED = "waiting", "running", "tried", "dropped"


@dataclass(frozen=True, eq=False)
class Judged:
    """What an arm gave images that had taught it nothing.

    Attributes
    ----------
    rows : (n,) int
        Of the extraction: the same images have the same numbers in all arms.
    loss : (n,) float
        Log loss of each.
    right : (n,) bool
    units : (n,) int or None
        Images of one unit (a group, near copies) count as one; None: each by itself.
    """

    rows: NDArray[np.intp]
    loss: NDArray[np.float64]
    right: NDArray[np.bool_]
    units: NDArray[np.intp] | None = None

    @classmethod
    def of(
        cls, rows: NDArray[np.intp], proba: NDArray[Any], y: NDArray[np.intp],
        units: NDArray[np.intp] | None = None,
    ) -> Judged:  # fmt: skip
        """From the probabilities of these rows, and the codes and units of all images."""
        own = y[rows]
        chance = blocks.own(proba, own).astype(np.float64)
        return cls(rows, -np.log(np.maximum(chance, 1e-12)), blocks.called(proba) == own,
                   None if units is None else units[rows])  # fmt: skip

    def and_of(self, other: Judged) -> Judged:
        """With what it gave other images."""
        return Judged(
            np.concatenate([self.rows, other.rows]),
            np.concatenate([self.loss, other.loss]),
            np.concatenate([self.right, other.right]),
            None if self.units is None or other.units is None
            else np.concatenate([self.units, other.units]),
        )  # fmt: skip

    def on(self, rows: NDArray[np.intp]) -> Judged:
        """Of these rows alone, which must be among its own."""
        order = np.argsort(self.rows, kind="stable")
        places = order[np.searchsorted(self.rows, rows, sorter=order)]
        units = None if self.units is None else self.units[places]
        return Judged(rows, self.loss[places], self.right[places], units)

    def to_dict(self) -> dict[str, Any]:
        """For the journal: floats come back to the bit."""
        return {
            "rows": self.rows.tolist(),
            "loss": self.loss.tolist(),
            "right": self.right.tolist(),
            "units": None if self.units is None else self.units.tolist(),
        }

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> Judged:
        """The inverse of :meth:`to_dict`."""
        return cls(
            np.array(kept["rows"], np.intp),
            np.array(kept["loss"], np.float64),
            np.array(kept["right"], bool),
            None if kept.get("units") is None else np.array(kept["units"], np.intp),
        )


@dataclass(eq=False)
class Arm:
    """One way in the search.

    Attributes
    ----------
    way : Way
    predicted_s, at_best_s : float
        What it is said to take, and the least that it may take.
    memory_mib : float
    steps_s, rest_s : float
        Of the predicted seconds those of learning, and what comes after it.
    state : {'waiting', 'running', 'tried', 'dropped'}
    seconds : float
        What it took.
    judged : Judged or None
    keeps_probe : bool
        What it learnt was no better than the probe that it began from.
    paused_at : float
        Share of its epochs after which it was paused; 0 if it was not.
    paused_loss : float
        Log loss then, on the images that judge it.
    paused_for : str
        The name of the way that goes as far meanwhile.
    why : str
        What became of it, in words.
    is_again : bool
        It was taken, and learns once more as a run of its own would.
    """

    way: Way
    predicted_s: float = 0.0
    at_best_s: float = 0.0
    memory_mib: float = 0.0
    steps_s: float = 0.0
    rest_s: float = 0.0
    state: str = WAITING
    seconds: float = 0.0
    judged: Judged | None = None
    keeps_probe: bool = False
    paused_at: float = 0.0
    paused_loss: float = 0.0
    paused_for: str = ""
    why: str = ""
    is_again: bool = False
    progress: str = field(default="", repr=False)

    @property
    def name(self) -> str:
        """Of its way, and whether it learns once more."""
        return f"{self.way.name}, once more" if self.is_again else self.way.name

    def drop(self, why: str) -> None:
        """It is not tried, or not to its end; what it had learnt is not kept."""
        self.state, self.why, self.paused_at = DROPPED, why, 0.0

    @property
    def to_learn_s(self) -> float:
        """Of the predicted seconds those of learning, and of what comes after it, to come."""
        return (1 - self.paused_at) * self.steps_s + self.rest_s

    @property
    def to_pay_s(self) -> float:
        """Of the predicted seconds those that are still to come."""
        return self.predicted_s - self.paused_at * self.steps_s

    @property
    def left_out(self) -> dict[str, Any] | None:
        """For JSON: how it did on images that had taught it nothing."""
        if self.judged is None:
            return None
        return {
            "log_loss": round(float(self.judged.loss.mean()), 6),
            "accuracy": round(float(self.judged.right.mean()), 6),
            "n": len(self.judged.rows),
        }

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        own = {"image_size": self.way.image_size, "epochs": self.way.epochs, "look": self.way.look}
        return {
            "name": self.way.name,
            "way": self.way.method,
            "backbone": self.way.backbone,
            **{name: value for name, value in own.items() if value},
            "predicted_s": round(self.predicted_s, 2),
        }
