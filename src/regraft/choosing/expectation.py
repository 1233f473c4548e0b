"""What a way may be expected to win, before it is tried, by what was measured on these data.

The shares are those of this project's own measurements (docs/experiments.md, "Which way"): where
the layer curve or the probe's left-out errors say that much has to change, learning on wins much;
else it wins next to nothing, and a larger backbone wins more. What arms that were tried really won
takes the place of these shares as soon as it is there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from regraft.choosing.arm import Arm
from regraft.choosing.network_cost import cost_of
from regraft.choosing.standing import LEAST_LOSS, LEAST_SHARE, first, score
from regraft.choosing.way import Way
from regraft.training import defaults
from regraft.training.defaults import Situation
from regraft.wording import count, percent

# Share of the probe's left-out log loss that is won, by whether much has to change.
WON_BY_METHOD = {
    True: {"partial": 0.50, "full": 0.60, "head": 0.0, "scratch": -1.0},
    False: {"partial": 0.02, "full": 0.03, "head": 0.0, "scratch": -2.0},
}
# What learning on wins it wins on so many images, and in proportion on fewer: on a hundred the
# probe is rarely beaten, however much has to change. What all layers win over the later ones
# takes more of them.
MANY, MANY_FOR_ALL = 300, 1_000
# Of the default backbone's, for each doubling of multiply-adds.
WON_BY_DOUBLING = 0.12
# Several backbones seen together, over the larger one of them.
WON_BY_SEVERAL = 0.08
WON_BY_LOOK = 0.03


@dataclass(frozen=True)
class Expected:
    """Of an arm that waits.

    Attributes
    ----------
    log_loss : float
        That it may reach.
    gain : float
        Over the arm that stands first.
    by : str
        By what.
    hope : float
        The gain if few images are as good as many: where there is time, to measure is better than
        to expect.
    """

    log_loss: float
    gain: float
    by: str
    hope: float

    def is_worth_it(self, first_loss: float) -> bool:
        """Whether it will win anything to speak of."""
        return self.gain >= _to_speak_of(first_loss)

    def may_be_worth_it(self, first_loss: float) -> bool:
        """Whether it can win anything to speak of."""
        return self.hope >= _to_speak_of(first_loss)


def expected(way: Way, arms: Sequence[Arm], situation: Situation) -> Expected:
    """What an arm may win, over the one that stands first among those that were judged."""
    best = first(arms)
    assert best is not None
    reference, by = _probe_loss(way, arms)
    first_loss = score(best, arms).log_loss
    reached, at_best = (
        reference * (1 - _won_by(way, arms, situation, n_learn))
        for n_learn in (situation.n_images, MANY_FOR_ALL)
    )
    words = by
    if way.trains:
        words = f"{change_in_words(situation)}; {by}"
    return Expected(reached, first_loss - reached, words, first_loss - at_best)


def change_in_words(situation: Situation) -> str:
    """Whether much has to change, by the rule that chooses settings, and by which numbers.

    Examples
    --------
    >>> of_signs = Situation(1290, 43, 50, 224, True, 0.132, (), probe_error=0.13)
    >>> print(change_in_words(of_signs))
    much has to change: with earlier stages the probe is 13.2 points better than without
    >>> change_in_words(Situation(245, 2, 500, 224, True, 0.0, (), probe_error=0.02))
    'little has to change: the probe is wrong on 2.0 % of left-out images'
    """
    gain = f"with earlier stages the probe is {100 * situation.gain_of_stages:.1f} points better"
    wrong = f"the probe is wrong on {percent(situation.probe_error)} of left-out images"
    if situation.is_unlike:
        return f"much has to change: {gain} than without"
    if situation.has_to_change:
        return f"much has to change: {wrong}"
    if situation.probe_error > defaults.OFTEN_WRONG:
        few = f"{count(situation.n_images, 'image')} that teach are too few to change much by"
        return f"{wrong}, but {few}"
    return f"little has to change: {wrong}"


def _probe_loss(way: Way, arms: Sequence[Arm]) -> tuple[float, str]:
    """Log loss of the way's probe: measured, or from another backbone's by its size."""
    probes = [arm for arm in arms if arm.judged is not None and not arm.way.trains]
    for arm in probes:
        if arm.way.backbone == way.backbone and arm.way.look == way.look:
            return score(arm, arms).log_loss, f"its probe's left-out log loss, {way.backbone}"
    nearest = min(probes, key=lambda arm: abs(_doublings(way) - _doublings(arm.way)))
    grown = _doublings(way) - _doublings(nearest.way)
    share = float((1 - _won_by_doubling(probes, arms)) ** grown)
    if way.look and not nearest.way.look:
        share *= 1 - WON_BY_LOOK
    words = f"the probe of {nearest.way.backbone}, and what larger backbones won"
    return score(nearest, arms).log_loss * share, words


def _won_by_doubling(probes: Sequence[Arm], arms: Sequence[Arm]) -> float:
    """As larger backbones won here, where two were tried; half of it is taken for chance."""
    by_size = sorted(probes, key=lambda arm: _doublings(arm.way))
    small, large = by_size[0], by_size[-1]
    grown = _doublings(large.way) - _doublings(small.way)
    if grown < 0.3:
        return WON_BY_DOUBLING
    ratio = max(1e-6, score(large, arms).log_loss) / max(1e-6, score(small, arms).log_loss)
    measured = 1 - float(ratio ** (1 / grown))
    return max(-0.3, min(0.6, 0.5 * measured + 0.5 * WON_BY_DOUBLING))


def _won_by(way: Way, arms: Sequence[Arm], situation: Situation, n_learn: int) -> float:
    """Share that learning on wins over the way's probe; as it won on another backbone."""
    if not way.trains:
        return 0.0
    shares = WON_BY_METHOD[situation.has_to_change]
    usual = shares.get(way.method, 0.0)
    if usual > 0.0:
        by_later_layers = min(usual, shares["partial"])
        by_all = usual - by_later_layers
        usual = by_later_layers * min(1.0, n_learn / MANY)
        usual += by_all * min(1.0, n_learn / MANY_FOR_ALL)
    for arm in arms:
        if arm.judged is None or not arm.way.trains:
            continue
        probe = _probe_loss(arm.way, arms)[0]
        won = 0.0 if arm.keeps_probe else 1 - score(arm, arms).log_loss / max(1e-9, probe)
        if arm.way.method == way.method:
            return 0.8 * won + 0.2 * usual
        if won <= 0.0:
            usual = min(usual, 0.5 * usual)  # another way of learning on won nothing here
    return usual


def _to_speak_of(first_loss: float) -> float:
    return max(LEAST_LOSS, LEAST_SHARE * first_loss)


def _doublings(way: Way) -> float:
    """Of multiply-adds over the default backbone's; several backbones count a little more."""
    size = cost_of(way.backbone).multiply_adds / cost_of("default").multiply_adds
    more = WON_BY_SEVERAL / WON_BY_DOUBLING if "+" in way.backbone else 0.0
    return math.log2(size) + more
