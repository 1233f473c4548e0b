"""What comes out of an exported model: names, in the order of the outputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from regraft.evaluation import conformal
from regraft.probe.classifier import Classifier
from regraft.probe.unknown import Unknown

PROBABILITIES, FEATURES, ODDNESS = "probabilities", "features", "oddness"
# A new output goes to the end: programs read the first ones by their place.
MEANINGS = {
    PROBABILITIES: "calibrated, in the order of labels.json; each row sums to 1",
    FEATURES: "what the head sees of the picture: for search by example",
    ODDNESS: "how unlike all that was learnt: above a level of none_of_these it is none of these",
}
# Shares of pictures of the known classes that are called none of these by mistake.
REJECTS = (0.005, 0.01, 0.02, 0.05, 0.1)


def outputs_of(classifier: Classifier) -> tuple[str, ...]:
    """Names of what an exported classifier gives; the last one only of those that know it."""
    return tuple(MEANINGS)[: 2 if classifier.unknown is None else 3]


def levels_of(unknown: Unknown) -> dict[str, float]:
    """From a share of false alarms to the oddness above which a picture is none of these.

    Shares that too few images calibrate are left out. As `predict --reject` decides.
    """
    odd = np.sort(unknown.odd)
    p = conformal.p_values(odd, unknown.odd, conformal.weights_of(unknown.odd_units))
    beyond: Any = conformal.p_values(
        odd[-1:] + 1, unknown.odd, conformal.weights_of(unknown.odd_units)
    )
    return {
        str(share): float(odd[p >= share].max())
        for share in REJECTS
        if beyond[0] < share and (p >= share).any()
    }
