"""Which of the tutorials' four scenarios the data look like, and by which numbers.

The rule of thumb (Karpathy, CS231n, "Transfer Learning"): small or large data, like or unlike what
the network learnt on. Regraft measures the second and counts the first. It stays a rule of thumb:
what decides is a comparison of runs on the data themselves.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from regraft.choosing import layer_curve
from regraft.training.defaults import is_clearly_better
from regraft.wording import percent

# ImageNet-1k has about 1,280 images of each class; a tenth of it is small beside it.
SMALL_PER_CLASS = 128


@dataclass(frozen=True)
class Scenario:
    """One of four.

    Attributes
    ----------
    is_small, is_alike : bool
    name : str
    advice : str
        What the tutorials say to do.
    numbers : str
        By which numbers it was told.
    """

    is_small: bool
    is_alike: bool
    name: str
    advice: str
    numbers: str


ADVICE = {
    (
        True,
        True,
    ): "train a new head on the network's features (the probe); letting layers learn on gains "
    "little and may harm",
    (False, True): "the probe is a strong start, and the data are enough to let all layers learn "
    "on (--method full)",
    (True, False): "take the features of earlier stages, or let the later stages learn anew "
    "(--method partial)",
    (False, False): "let the later stages, or all layers, learn on (--method partial or full)",
}


def read(
    curve: Sequence[Mapping[str, Any]],
    n_images: int,
    train_counts: Sequence[int],
    *,
    gain_of_stages: float = 0.0,
) -> Scenario:
    """From the layer curve and how many training images each class has.

    Data are unlike the source where one stage beats the last, or where several together do
    (`gain_of_stages`, accuracy) by as much as the rule that chooses a training's settings asks.

    Examples
    --------
    >>> curve = [{"tap": "blocks.4", "accuracy": 0.79}, {"tap": "final", "accuracy": 0.70}]
    >>> read(curve, 1290, [30] * 43).name
    'little data, unlike what the network learnt on'
    """
    reading = layer_curve.read(curve, n_images)
    median = statistics.median(train_counts) if train_counts else 0
    is_better_together = is_clearly_better(gain_of_stages, n_images)
    is_small = median < SMALL_PER_CLASS
    is_alike = not (reading.is_before_end or is_better_together)
    name = (
        f"{'little' if is_small else 'much'} data, {'like' if is_alike else 'unlike'} what the "
        "network learnt on"
    )
    numbers = (
        f"{median:g} training images in the median class (little: below {SMALL_PER_CLASS}, about a "
        "tenth of what a class of ImageNet has); left-out accuracy "
        f"{percent(reading.final_accuracy)} at the end, "
        f"{percent(reading.peak_accuracy)} at the best stage, {reading.peak}"
    )
    if is_better_together:
        numbers += f", {100 * gain_of_stages:.1f} points more than at the end by several together"
    return Scenario(is_small, is_alike, name, ADVICE[is_small, is_alike], numbers)
