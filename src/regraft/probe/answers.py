"""What a classifier answers: a row for every picture, also for those that cannot be read.

Array letters: N pictures, K classes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.data.table import Rejected
from regraft.errors import DataError
from regraft.probe.doubts import Doubts


@dataclass(frozen=True, eq=False)
class Answers:
    """What a classifier answers to N pictures, in their order.

    Attributes
    ----------
    names : list of N str
        Their paths; of pictures in memory 'image 3 (bytes)', counted from 1.
    proba : (N, K) float64
        Calibrated probabilities; a row of NaN for a picture that cannot be read.
    known : (K,) array
        The labels that the columns stand for.
    rejected : tuple of Rejected
        What cannot be read: its name as ``path``, a reason, and how to mend it.
    doubts : Doubts
        Sets, "none of these" and what may stand alone, where these were asked for.

    Examples
    --------
    >>> bad = (Rejected("b.jpg", "the file is empty (0 bytes)", "copy it again"),)
    >>> proba = np.array([[0.9, 0.1], [np.nan, np.nan]])
    >>> found = Answers(["a.jpg", "b.jpg"], proba, np.array(["ants", "bees"]), bad)
    >>> found.labels, found.is_read
    (array(['ants', None], dtype=object), array([ True, False]))
    """

    names: list[str]
    proba: NDArray[np.float64]
    known: NDArray[Any]
    rejected: tuple[Rejected, ...] = ()
    doubts: Doubts = field(default_factory=Doubts)

    @property
    def is_read(self) -> NDArray[np.bool_]:
        """Which pictures were read, (N,)."""
        return np.asarray(~np.isnan(self.proba).any(axis=1), np.bool_)

    @property
    def labels(self) -> NDArray[Any]:
        """The most probable label of each picture, (N,); None for one that cannot be read, and for
        one that is none of the classes, where `reject` was asked for."""
        is_read = self.is_read
        if self.doubts.is_none is not None:
            is_read = is_read & ~self.doubts.is_none
        best: NDArray[Any] = self.known[self.proba[is_read].argmax(axis=1)]
        if is_read.all():
            return best
        found = np.full(len(is_read), None, object)
        found[is_read] = best
        return found


def unreadable(rejected: Sequence[Rejected], names: Sequence[str]) -> DataError:
    """The refusal of pictures that cannot be read, where rows must stay in line.

    Its ``rejected`` and ``rows`` say which of the N named pictures these are.
    """
    first = "; ".join(f"{bad.path or repr('')}: {bad.reason}" for bad in rejected[:5])
    bad_names = {bad.path for bad in rejected}
    return DataError(
        f"{len(rejected)} of {len(names)} images cannot be read: {first}",
        cure=_mend(rejected[0]),
        rejected=tuple(rejected),
        rows=[row for row, name in enumerate(names) if name in bad_names],
    )


def _mend(bad: Rejected) -> str:
    path = bad.path
    if path.startswith("image "):
        return bad.mend or "leave it out"
    if "://" in path:
        return "download it, and give its path or its bytes"
    if os.path.isdir(path):
        return (
            "give the images of the folder, sorted(pathlib.Path(FOLDER).rglob('*.jpg')); or "
            "regraft.predict(MODEL, FOLDER)"
        )
    if not os.path.lexists(path):
        if any(sign in path for sign in "*?["):
            return f"give the paths that it stands for: sorted(glob.glob({path!r}))"
        return f"give paths that exist; relative ones begin at {os.getcwd()!r}"
    return bad.mend or "leave it out"
