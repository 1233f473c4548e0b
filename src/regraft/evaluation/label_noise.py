"""How many labels are wrong, as far as mistakes on the easiest images can tell.

A hard image is one that a classifier is unsure of; a wrong label does not ask how hard the image
is. So among the left-out images that it is surest of, hardly any mistake is left where classes are
merely hard to tell apart, and about as many as there are wrong labels where these are everywhere.

Where most images are hard (150 classes of 4 images), so are many of the surest quarter. Its own
surest quarter tells: a wrong label is as likely among these, a hard image is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from regraft.evaluation.blocks import as_asked, called, sureness
from regraft.evaluation.influence import unit_codes
from regraft.evaluation.intervals import Estimate
from regraft.evaluation.metrics import Array
from regraft.evaluation.rates import estimate_accuracy

# Of the left-out images, the surest. On 18 clean sets of 2 to 200 classes the mistakes among these
# were 0 to 4 %, where up to 37 % of all were; with 20 % of wrong labels planted, 14 to
# 56 % (docs/experiments.md).
SUREST = 0.25


@dataclass(frozen=True)
class LabelNoise:
    """Mistakes among the images that the classifier is surest of.

    Attributes
    ----------
    of : float
        The share of all images that these are.
    n : int
        Images among the surest.
    disagree : Estimate
        Share of them whose label is another than the one given to them with such certainty.
    """

    of: float
    n: int
    disagree: Estimate

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"of": self.of, "n": self.n, "disagree": self.disagree.to_dict()}


def label_noise(proba: Array, y: Array, *, units: Array | None = None) -> LabelNoise:
    """How often the label disagrees where a classifier is surest.

    Parameters
    ----------
    proba : array of shape (n, K)
        Out-of-fold probabilities of n images for K classes.
    y : int array of shape (n,)
        Codes of their labels.
    units : array of shape (n,), optional
        Images with the same number (copies, a group) count as one for the interval.

    Raises
    ------
    ValueError
        If there are no images.

    Examples
    --------
    Twenty sure and twenty unsure images; five mistakes among those that are unsure, none elsewhere:

    >>> proba = np.repeat([[0.99, 0.01], [0.6, 0.4]], 20, axis=0)
    >>> label_noise(proba, np.repeat([0, 1], [35, 5])).disagree.value
    0.0
    >>> label_noise(proba, np.arange(40) % 2).disagree.value  # labels by chance
    0.5
    """
    proba, y = as_asked(proba), np.asarray(y)
    if not len(y):
        raise ValueError("label noise needs at least one image")
    by_sureness = np.argsort(-sureness(proba), kind="stable")
    is_other = called(proba) != y

    def among(of: float) -> LabelNoise:
        surest = by_sureness[: max(1, round(of * len(y)))]
        groups = None if units is None else unit_codes(np.asarray(units)[surest])
        return LabelNoise(of, len(surest), estimate_accuracy(is_other[surest], groups=groups))

    quarter, surer = among(SUREST), among(SUREST**2)
    return surer if surer.disagree.high < quarter.disagree.value else quarter
