"""What "chosen for these data" means: the rules for every training setting that was not given.

The tutorials choose by two questions: are there many images, and are they like those that the
network learnt on? The second is measured. Where a probe on several stages is clearly better than
one on the final features, the last layers do not fit these data and have to change; and where the
probe is often wrong there is much to learn. In both cases rates are large and the split early.
Else the probe is good already and careless steps lose several points: rates are small, and grow
with the number of images. docs/experiments.md has the measurements behind each number,
"Fine-tuning".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from regraft.probe.method import Method
from regraft.training.settings import TrainingSettings, is_used

# Pictures smaller than the network's input gain nothing from its size; below this too much goes.
SMALLEST_PX = 128
# Left-out accuracy that several stages must have before the final features for "unlike", and of how
# many images that must be more: of fourteen, one is seven points.
CLEARLY_BETTER, MORE_THAN_CHANCE = 0.05, 3
# Left-out error of the probe that leaves much to learn, and the images that large steps need.
OFTEN_WRONG, ENOUGH_FOR_LARGE_STEPS = 0.15, 400


@dataclass(frozen=True)
class Situation:
    """What the rules look at.

    Attributes
    ----------
    n_images, n_classes : int
        Images that teach.
    median_side_px : float
        Of the shorter sides of the pictures.
    native_px : int
        Side of the network's own input.
    takes_any_size : bool
    gain_of_stages : float
        Left-out accuracy of the probe on its best taps, less that on the final features.
    probe_error : float
        Left-out share of images that the probe on its best taps gets wrong.
    stages : tuple of str
        Of the network, in order.
    """

    n_images: int
    n_classes: int
    median_side_px: float
    native_px: int
    takes_any_size: bool
    gain_of_stages: float
    stages: tuple[str, ...]
    probe_error: float = 0.0

    @property
    def is_unlike(self) -> bool:
        """The data are unlike what the network learnt on."""
        return is_clearly_better(self.gain_of_stages, self.n_images)

    @property
    def has_to_change(self) -> bool:
        """There is much to learn, so that large steps gain more than they risk."""
        is_often_wrong = self.probe_error > OFTEN_WRONG
        return self.is_unlike or (is_often_wrong and self.n_images >= ENOUGH_FOR_LARGE_STEPS)


def is_clearly_better(gain: float, n_images: int) -> bool:
    """Whether a gain of left-out accuracy on so many images says that data are unlike the source.

    Examples
    --------
    >>> is_clearly_better(0.13, 1290), is_clearly_better(0.07, 14), is_clearly_better(0.03, 1290)
    (True, False, False)
    """
    return gain > CLEARLY_BETTER and round(gain * n_images) > MORE_THAN_CHANCE


def resolved(
    settings: TrainingSettings, method: Method, situation: Situation, split_points: Sequence[str]
) -> TrainingSettings:
    """The settings with everything chosen that was left open."""
    if settings.patience and settings.keep == "last":
        settings = replace(settings, keep="loss")  # else every epoch is the best so far
    is_tutorial = settings.recipe == "tutorial"
    chosen: dict[str, Any] = {
        "image_size": image_size(method, situation, is_tutorial),
        "epochs": 5 if is_tutorial else epochs(method, situation),
        "views": 1 if is_tutorial else views(method, situation, settings.epochs),
        "learning_rate": learning_rate(method, settings, situation),
        "head_rate": head_rate(method, settings, situation),
        "batchnorm": "train" if method.starts_anew else "frozen",
    }
    chosen["split_point"] = split_point(situation, split_points)
    chosen = {name: value for name, value in chosen.items() if is_used(name, method)}
    settings = replace(settings, **method.fixed)
    given = {name: getattr(settings, name) for name in chosen}
    return replace(settings, **{n: v if given[n] is None else given[n] for n, v in chosen.items()})


def image_size(method: Method, situation: Situation, is_tutorial: bool = False) -> int:
    """The network's own size; where much has to change, no more of it than the pictures have (in
    steps of 32 pixels).

    A network is used to things as large as at its own size. Small steps cannot make up for another
    one, and the head's features are there at this one.
    """
    native = situation.native_px
    if (
        not method.moves_network
        or is_tutorial
        or not situation.takes_any_size
        or not (situation.has_to_change or method.starts_anew)
        or situation.median_side_px >= native
    ):
        return native
    wanted = 32 * math.ceil(situation.median_side_px / 32)
    return min(native, max(SMALLEST_PX, wanted))


def split_point(situation: Situation, names: Sequence[str]) -> str | None:
    """Half of the stages stay where much has to change, else about two thirds."""
    stages = [name for name in names if name in situation.stages]
    if not stages:
        return None
    share = 0.45 if situation.has_to_change else 0.7
    n_before = [situation.stages.index(name) for name in stages]
    target = share * len(situation.stages)
    best = min(range(len(stages)), key=lambda i: abs(n_before[i] - target))
    return stages[best]


def epochs(method: Method, situation: Situation) -> int:
    """About as many images seen for every size of data, within bounds."""
    seen, fewest, most = method.images_seen[situation.has_to_change]
    return max(fewest, min(most, round(seen / max(1, situation.n_images))))


def views(method: Method, situation: Situation, n_epochs: int | None = None) -> int:
    """A new one for each epoch, where that is not too many."""
    wanted = epochs(method, situation) if n_epochs is None else n_epochs
    return 1 if not method.moves_network else max(1, min(8, wanted))


def learning_rate(method: Method, settings: TrainingSettings, situation: Situation) -> float:
    """Of the body, per step of 32 images."""
    if method.starts_anew:
        return 0.05 if settings.optimizer == "sgd" else 1e-3
    if situation.has_to_change:
        return 0.03 if settings.optimizer == "sgd" else 5e-4
    many = max(1.0, min(10.0, situation.n_images / 1000))
    careful = 0.5 if method.sees_pictures else 1.0  # the early layers too move then
    return many * careful * (5e-4 if settings.optimizer == "sgd" else 1e-5)


def head_rate(method: Method, settings: TrainingSettings, situation: Situation) -> float:
    """Of the head, which sees features of length one, or the final ones if it starts at random."""
    if not method.moves_network and settings.learning_rate is not None:
        return settings.learning_rate  # the head is all that learns
    if settings.init_head == "random" or settings.hidden_widths or method.starts_anew:
        return 0.01 if settings.optimizer == "sgd" else 1e-3
    if settings.optimizer != "sgd":
        return 1e-3
    return 0.1 if situation.has_to_change else 0.005
