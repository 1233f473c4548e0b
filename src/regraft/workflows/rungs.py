"""Successive halving over epochs, where a budget holds one training but not two.

The first goes through a part of its epochs and stops; a rival goes as far; the one with the lower
held-out loss goes on, from its last epoch, to the same bits as if it had not stopped. After
Jamieson and Talwalkar (2016), "Non-stochastic best arm identification and hyperparameter
optimization", with two arms at a time, since few fit. Where all trainings fit whole nothing is
stopped: schedules that end at a rate of zero tell most at their end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from regraft.choosing.arm import Arm
from regraft.workflows.spending import SHORT

# After which share of its epochs a training may be compared with another one's.
RUNG = 0.4
# Of what is left of a training: less is not worth stopping it.
WORTH_STOPPING_S = 15.0


def pauses(
    arm: Arm, epoch: Any, n_epochs: int, others: Sequence[Arm], left_s: float,
    cost: Callable[[Arm], float],
) -> bool:  # fmt: skip
    """Whether a training stops after this epoch, for a rival or behind one.

    Parameters
    ----------
    others : sequence of Arm
        That wait and may win something.
    left_s : float
        Of the budget, for arms.
    """
    at = math.ceil(RUNG * n_epochs)
    if epoch.epoch != at or at >= n_epochs or arm.paused_at or epoch.held_out_loss is None:
        return False
    ahead = [one for one in others if one.paused_at]
    pace = max(1.0, epoch.seconds * n_epochs / max(1e-9, arm.steps_s))
    rival = None if ahead else _rival(arm, at / n_epochs, others, left_s / pace, cost)
    is_behind = any(one.paused_loss <= epoch.held_out_loss for one in ahead)
    if rival is None and not is_behind:
        return False
    arm.paused_at, arm.paused_loss = at / n_epochs, float(epoch.held_out_loss)
    arm.paused_for = rival.way.name if rival is not None else ""
    return True


def next_of(waiting: Sequence[Arm], fits: Callable[[Arm], bool]) -> Arm | None:
    """The next arm where one was paused: its rival as far, then the better one to its end.

    None where that is over, or there is no time for it: what was paused is one arm among others.
    """
    paused = [arm for arm in waiting if arm.paused_at]
    names = {arm.paused_for for arm in paused}
    for rival in waiting:
        if rival.way.name in names and not rival.paused_at and fits(rival):
            return rival
    best = min(paused, key=lambda arm: arm.paused_loss, default=None)
    return best if best is not None and len(paused) > 1 and fits(best) else None


def _rival(
    arm: Arm, share: float, others: Sequence[Arm], left_s: float, cost: Callable[[Arm], float]
) -> Arm | None:
    """One that could go as far, with time for either to go on, surely; but not both of them whole.

    `left_s` is by the clock of the bills: less where this very arm's epochs take longer.
    """
    to_come = (1 - share) * arm.steps_s + arm.rest_s
    if to_come < WORTH_STOPPING_S:
        return None
    for other in others:
        if not other.way.trains or other.paused_at:
            continue
        whole = cost(other)
        first_part = whole - (1 - share) * other.steps_s - other.rest_s
        again = max(_before_steps(arm), _before_steps(other))  # whichever goes on
        costlier = max(to_come, whole - first_part)
        if SHORT * (first_part + again + costlier) <= left_s < to_come + whole:
            return other
    return None


def _before_steps(arm: Arm) -> float:
    return arm.predicted_s - arm.steps_s - arm.rest_s
