"""The range test: the loss while the learning rate rises from step to step, until it diverges.

Smith (2017), Cyclical Learning Rates for Training Neural Networks, WACV, arXiv:1506.01186.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.machine import torch_threads
from regraft.machine.processor import available_cores
from regraft.training.assembly import module_of, stepper_of
from regraft.training.examples import Rows
from regraft.training.methods import METHODS
from regraft.training.plan import Plan
from regraft.training.stepping import NotFiniteError, Stepper
from regraft.training.trainable import Trainable

LOWEST, HIGHEST = 1e-5, 1.0
MOST_STEPS, FEWEST_STEPS = 100, 30
# Small data are gone through at most so often, so that the test does not learn them by heart.
MOST_PASSES = 10
# Of the moving average over the steps: about the last ten count.
SMOOTHING = 0.9
# The loss has diverged when it is this many times its best.
DIVERGED = 4.0
# The first steps, at rates too small to learn, say where the loss stands and how it varies.
AT_REST = 10
# A fall of less than this share of the loss, or of so many standard errors of the moving average,
# is no fall.
LEAST_FALL, STANDARD_ERRORS = 0.05, 3.0


@dataclass(frozen=True)
class RangeTest:
    """What the test measured.

    Attributes
    ----------
    rates, losses, smoothed : list of float
        One a step; losses in nats per image, over the images of the step.
    has_diverged : bool
        It stopped before the highest rate.
    n_images : int
        That the steps were drawn from.
    method : str
        `head` has the head's rate, all others the body's; the head goes along in proportion.
    """

    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    has_diverged: bool
    n_images: int
    method: str

    @property
    def lowest_step(self) -> int | None:
        """The step with the smallest smoothed loss; None if it is no clear fall."""
        if len(self.losses) <= AT_REST:
            return None
        rest = np.array(self.losses[:AT_REST])
        # A moving average of independent losses has (1 - beta) / (1 + beta) of their variance.
        error = rest.std(ddof=1) * math.sqrt((1 - SMOOTHING) / (1 + SMOOTHING))
        step = AT_REST + int(np.argmin(self.smoothed[AT_REST:]))
        least = max(LEAST_FALL * rest.mean(), STANDARD_ERRORS * error)
        return step if self.smoothed[step] < rest.mean() - least else None

    @property
    def minimum(self) -> float | None:
        """The rate at which the smoothed loss is smallest."""
        return None if self.lowest_step is None else self.rates[self.lowest_step]

    @property
    def steepest(self) -> float | None:
        """The rate at which the loss falls fastest per factor of the rate, before its minimum."""
        if self.lowest_step is None:
            return None
        steps = slice(AT_REST - 1, self.lowest_step + 1)
        return steepest_descent(self.rates[steps], self.smoothed[steps])

    @property
    def tenth(self) -> float | None:
        """A tenth of the rate at the minimum."""
        return None if self.minimum is None else self.minimum / 10

    @property
    def option(self) -> str:
        """Of `train`, that takes the rate."""
        return "--learning-rate" if METHODS[self.method].moves_network else "--head-rate"

    @property
    def reading(self) -> str:
        """In plain words."""
        last = self.rates[-1] if self.rates else LOWEST
        end = f"it diverges at {last:.1g}" if self.has_diverged else "it does not diverge"
        if self.minimum is None:
            return (
                f"no rate makes the loss clearly smaller, and {end}: the start, mostly the probe's "
                "head, is as good as these steps can tell; the rate that was chosen for these data "
                "stays"
            )
        return f"the smoothed loss falls fastest at {self.steepest:.1e} and {end}"

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "schema": 1,
            "method": self.method,
            "n": self.n_images,
            "steepest": self.steepest,
            "tenth_of_minimum": self.tenth,
            "minimum": self.minimum,
            "diverged": self.has_diverged,
            "option": self.option,
            "reading": self.reading,
            "rates": self.rates,
            "losses": self.losses,
            "smoothed": self.smoothed,
        }


def range_test(plan: Plan, trainable: Trainable) -> RangeTest:
    """Take steps at rising rates with what `plan` would train; nothing of it is kept."""
    with torch_threads.threads(available_cores()):
        return _range_test(plan, trainable)


def _range_test(plan: Plan, trainable: Trainable) -> RangeTest:
    model, _ = module_of(plan, trainable)
    stepper = stepper_of(plan, trainable, model)
    base = max(group.rate for group in stepper.groups if group.is_head == (trainable.body is None))
    n_steps = steps_for(math.ceil(plan.rows.n_learn / stepper.images_per_step))
    rates, losses = rising(n_steps), []
    stepper.prepare()
    model.train()
    smooth: list[float] = []
    has_diverged = False
    stepper.compile(n_steps)
    steps = itertools.islice(_steps(stepper, plan.rows.n_learn), n_steps)
    for number, (epoch, step, rows, inputs) in enumerate(steps):
        factor = rates[number] / base
        try:
            total, _ = stepper.take(epoch, step, rows, rows, inputs, factor=factor)
        except NotFiniteError:
            has_diverged = True
            break
        losses.append(total / float(stepper.learn.weight[rows].sum()))
        smooth = smoothed(losses)
        plan.listener.progress("steps", number + 1, n_steps)
        if smooth[-1] > DIVERGED * min(smooth):
            has_diverged = True
            break
    method = plan.task.method.name
    return RangeTest(rates[: len(losses)], losses, smooth, has_diverged, plan.rows.n_learn, method)


def _steps(stepper: Stepper, n: int) -> Iterator[tuple[int, int, Rows, Any]]:
    """(epoch, step, rows, inputs), pass after pass, without an end."""
    size = stepper.images_per_step
    for epoch in itertools.count():
        order = np.random.default_rng([stepper.seed, epoch, 1]).permutation(n)
        rows = [order[i : i + size] for i in range(0, n, size)]
        # A last step of a few images would be a loss of a few images.
        rows = [r for r in rows if len(r) == size] or rows
        for step, (part, inputs) in enumerate(stepper.inputs(rows, epoch)):
            yield epoch, step, part, inputs


def steps_for(steps_per_epoch: int) -> int:
    """How many steps the test takes.

    Examples
    --------
    >>> steps_for(1), steps_for(5), steps_for(200)
    (30, 50, 100)
    """
    return max(FEWEST_STEPS, min(MOST_STEPS, MOST_PASSES * steps_per_epoch))


def rising(n_steps: int) -> list[float]:
    """Rates from the lowest to the highest, each the same factor above the one before.

    Examples
    --------
    >>> [f"{rate:.0e}" for rate in rising(6)]
    ['1e-05', '1e-04', '1e-03', '1e-02', '1e-01', '1e+00']
    """
    return [float(rate) for rate in np.geomspace(LOWEST, HIGHEST, n_steps)]


def smoothed(losses: Sequence[float], beta: float = SMOOTHING) -> list[float]:
    """The moving average ``s_t = beta s_{t-1} + (1 - beta) l_t`` over ``1 - beta^t``, which makes
    it unbiased from the first step on (Kingma and Ba, 2015, arXiv:1412.6980, section 3).

    Examples
    --------
    >>> [round(s, 6) for s in smoothed([2.0, 2.0, 2.0])]
    [2.0, 2.0, 2.0]
    >>> smoothed([1.0, 3.0], beta=0.5)[1]  # (0.5 * 0.5 * 1 + 0.5 * 3) / 0.75
    2.3333333333333335
    """
    average, found = 0.0, []
    for step, loss in enumerate(losses, 1):
        average = beta * average + (1 - beta) * loss
        found.append(average / (1 - beta**step))
    return found


def steepest_descent(rates: Sequence[float], smooth: Sequence[float]) -> float | None:
    """The rate at which the loss falls fastest over the logarithm of the rate; None if nowhere.

    Examples
    --------
    >>> steepest_descent([1e-4, 1e-3, 1e-2, 1e-1, 1.0], [2.0, 1.9, 1.0, 0.1, 0.0])
    0.01
    """
    if len(rates) < 2:
        return None
    slope: NDArray[np.float64] = np.gradient(np.asarray(smooth), np.log(rates))
    best = int(np.argmin(slope))
    return float(rates[best]) if slope[best] < 0 and math.isfinite(slope[best]) else None
