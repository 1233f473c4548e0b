"""How the learning rate moves: pure functions of the step, as a factor on the highest rate.

Nothing has a state, so a run that goes on after an interruption needs only its step. Steps count
from 0; a schedule may as well be asked by epochs.
"""

from __future__ import annotations

import math


def constant(step: int, n_steps: int) -> float:
    """Always 1."""
    return 1.0


def step_decay(step: int, n_steps: int, *, every: int, factor: float = 0.1) -> float:
    """Times `factor` after every `every` steps, as torch's ``StepLR(every, factor)``.

    Examples
    --------
    >>> [round(step_decay(epoch, 21, every=7), 4) for epoch in (0, 6, 7, 14)]
    [1.0, 1.0, 0.1, 0.01]
    """
    if every < 1:
        raise ValueError(f"the rate can drop every 1 or more steps, got {every}")
    return float(factor ** (step // every))


def cosine(step: int, n_steps: int, *, final: float = 0.0) -> float:
    """From 1 to `final` along half a cosine.

    The end is what a step after the last one would have, as in torch's ``CosineAnnealingLR``.

    References
    ----------
    Loshchilov, Hutter (2017), "SGDR", ICLR, arXiv:1608.03983, equation 5 (without restarts).

    Examples
    --------
    >>> [round(cosine(step, 4), 3) for step in range(4)]
    [1.0, 0.854, 0.5, 0.146]
    """
    return _between(1.0, final, step / n_steps)


def one_cycle(
    step: int, n_steps: int, *, rise: float = 0.3, start: float = 1 / 25, final: float = 4e-6
) -> float:
    """From `start` up to 1 in the first `rise` of the steps, then down to `final`, along cosines.

    Torch's ``OneCycleLR`` with its own settings (momentum is left alone).

    References
    ----------
    Smith, Topin (2018), "Super-convergence", arXiv:1708.07120.

    Examples
    --------
    >>> [round(one_cycle(step, 11), 2) for step in (0, 10)]
    [0.04, 0.0]
    """
    top = rise * n_steps - 1  # not whole, as in torch
    if step <= top:
        return _between(start, 1.0, step / top if top else 1.0)
    return _between(1.0, final, (step - top) / max(n_steps - 1 - top, 1e-12))


SCHEDULES = ("constant", "cosine", "one-cycle", "step")


def rate(
    schedule: str,
    step: int,
    n_steps: int,
    *,
    warmup: float = 0.0,
    gamma: float = 0.1,
    step_size: int = 1,
) -> float:
    """The factor on the highest learning rate in a step.

    Parameters
    ----------
    schedule : {'constant', 'cosine', 'one-cycle', 'step'}
    step : int
        From 0.
    n_steps : int
        Of the whole run, warm-up included.
    warmup : float in [0, 1]
        Share of the steps in which the factor grows: evenly, the schedule then having the
        remaining steps; for 'one-cycle' its own rise.
    gamma, step_size : float, int
        For 'step': times gamma after every step_size steps.

    Returns
    -------
    float in [0, 1]

    Raises
    ------
    ValueError
        No such schedule, a step outside the run, or a warm-up that is no share.

    References
    ----------
    Goyal et al. (2017), arXiv:1706.02677, section 2.2 (gradual warm-up).

    Examples
    --------
    >>> [rate("constant", step, 5, warmup=0.6) for step in range(5)]
    [0.25, 0.5, 0.75, 1.0, 1.0]
    """
    if schedule not in SCHEDULES:
        raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}; got {schedule!r}")
    if not 0 <= step < n_steps:
        raise ValueError(f"step must be in 0..{n_steps - 1}, got {step}")
    if not 0 <= warmup <= 1:
        raise ValueError(f"warmup must be a share of the steps in [0, 1], got {warmup}")
    if schedule == "one-cycle":
        return one_cycle(step, n_steps, rise=warmup)

    n_warmup = round(warmup * n_steps)
    if step < n_warmup:
        return (step + 1) / (n_warmup + 1)
    step, n_steps = step - n_warmup, n_steps - n_warmup
    if schedule == "step":
        return step_decay(step, n_steps, every=step_size, factor=gamma)
    return cosine(step, n_steps) if schedule == "cosine" else constant(step, n_steps)


def _between(start: float, stop: float, share: float) -> float:
    return stop + (start - stop) * (1 + math.cos(math.pi * share)) / 2
