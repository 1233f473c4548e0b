"""What may become the model, and what does: states on the way from the start to what was learnt.

WiSE-FT (Wortsman et al., 2022, arXiv:2109.01903) between the two, and the average of the last
epochs (Izmailov et al., 2018, arXiv:1803.05407). The images that were held out choose, at the price
of looking at them a few times more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from regraft.evaluation.calibration import fit_temperature, softmax
from regraft.evaluation.influence import standard_error
from regraft.probe.base import Codes, Floats
from regraft.training.examples import Labelled
from regraft.training.history import State
from regraft.training.look import fitted_probe
from regraft.training.loop import Trainer
from regraft.training.plan import Plan

ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)
# Where to stand when the held-out images cannot tell: in the middle, which is best or next to it
# over many data sets (Wortsman et al., section 4, "fixed alpha = 0.5"), or, for data unlike the
# source, where the start is known to be poor, at the end.
MIDDLE, END = 0.5, 1.0
# The candidate that training must beat too where it starts from another one: at another picture
# size, or with more for the head to see.
AS_IT_WAS = "probe as it was"


@dataclass(frozen=True, eq=False)
class Candidate:
    """A state that may become the model, and how it did on the images that choose.

    Attributes
    ----------
    name : str
        'best epoch', 'last epoch' or 'average', whose weights are the end of the way; or
        `AS_IT_WAS`.
    alpha : float
        0 is the start, 1 the end.
    image_loss : (n,) float
        Of each image, the smaller the better: its log loss, or whether it is wrong.
    loss, accuracy, temperature : float
    proba : (n, K)
        At that temperature.
    scores : (n, K)
        Before it.
    """

    name: str
    alpha: float
    image_loss: Floats
    loss: float
    accuracy: float
    temperature: float
    proba: Floats
    scores: Floats

    def to_dict(self) -> dict[str, Any]:
        """For metrics.json."""
        return {
            "weights": self.name,
            "alpha": self.alpha,
            "loss": round(self.loss, 6),
            "accuracy": round(self.accuracy, 6),
        }


@dataclass(frozen=True, eq=False)
class End:
    """Where on the way from the start the result stands, and by what.

    Attributes
    ----------
    state : State
        The learnt weights at the end of the way.
    alpha : float
        How far from the start.
    candidates : list of Candidate
        What was compared; empty without images that choose.
    chosen : Candidate or None
        Of these.
    """

    state: State
    alpha: float
    candidates: list[Candidate]
    chosen: Candidate | None

    @property
    def is_start(self) -> bool:
        """Nothing that was learnt is taken."""
        return self.alpha == 0

    @property
    def temperature(self) -> float:
        """That of the chosen one."""
        return self.chosen.temperature if self.chosen else 1.0


def end_of_the_way(plan: Plan, trainer: Trainer, start: State, given: float | None) -> End:
    """What the images that choose like best; without any, `given` or what is usually best."""
    candidates, states = _candidates(trainer, start, plan.settings.interpolate)
    candidates += _probe_as_it_was(plan, trainer.choose)
    is_near = plan.start.head is not None and not plan.chosen.situation.is_unlike
    usual = MIDDLE if is_near else END
    if candidates:
        chosen = preferred(candidates, usual, plan.rows.units[plan.rows.choose])
        best = states.get(chosen.name, trainer.history.best)
        return End(best, chosen.alpha, candidates, chosen)
    alpha = usual if plan.settings.interpolate else END
    return End(trainer.history.best, alpha if given is None else given, [], None)


def between(start: State, end: State, alpha: float) -> State:
    """The state at `alpha` of the way; what is equal at both ends stays bit by bit."""
    found = {}
    for name, a in start.items():
        b = end[name]
        if not a.is_floating_point():
            found[name] = b
        elif alpha in (0.0, 1.0):
            found[name] = a if alpha == 0 else b
        else:
            found[name] = torch.where(a == b, a, a + alpha * (b - a))
    return found


def _candidates(
    trainer: Trainer, start: State, interpolates: bool
) -> tuple[list[Candidate], dict[str, State]]:
    """Everything that may become the model, scored on the images that choose."""
    history, choose = trainer.history, trainer.choose
    states = {"best epoch": history.best, "average": history.average, "last epoch": history.last}
    if choose is None:
        return [], states
    kept = "last epoch" if trainer.settings.keep == "last" else "best epoch"
    tried = [(kept, 1.0)]
    if not _are_equal(history.last, history.best):
        tried.append(("last epoch", 1.0))
    if trainer.settings.average_last > 1 and not _are_equal(history.average, history.last):
        tried.append(("average", 1.0))
    if interpolates:
        tried = [(kept, alpha) for alpha in ALPHAS[:-1]] + tried
    found = []
    for name, alpha in tried:
        trainer.model.load_state_dict(between(start, states[name], alpha))
        logits = trainer.stepper.scores(choose.examples)
        found.append(_candidate(name, alpha, logits, choose, trainer.settings.keep))
    return found, states


def _probe_as_it_was(plan: Plan, choose: Labelled | None) -> list[Candidate]:
    """Where another size of picture was chosen for training, or the head had to see more for the
    network to learn: the probe itself, which no way back through the weights leads to."""
    task, look = plan.task, plan.look
    given = task.settings
    is_chosen = (given.image_size, given.mean, given.std, task.probe.taps) == (None,) * 4
    is_comparable = plan.start.head is not None and plan.settings.interpolate
    taps = look.probe.representation.taps
    is_start = plan.input.is_native and plan.start.probe.representation.taps == taps
    if choose is None or not (is_chosen and is_comparable) or is_start:
        return []
    probe = fitted_probe(task, plan.rows, look.X, task.built, taps, plan.rows.learn)
    scores = probe.head.scores(probe.representation(look.X[plan.rows.choose]))
    return [_candidate(AS_IT_WAS, 0.0, scores, choose, plan.settings.keep)]


def _candidate(name: str, alpha: float, logits: Floats, choose: Labelled, keep: str) -> Candidate:
    """Calibrated and scored on the images that choose, by what is to be kept."""
    y = choose.y
    temperature = fit_temperature(logits, y)
    proba = softmax(logits.astype(np.float64), temperature=temperature)
    loss = -np.log(np.maximum(proba[np.arange(len(y)), y], 1e-12))
    wrong = (proba.argmax(1) != y).astype(float)
    image_loss = wrong * choose.weight if keep == "balanced-accuracy" else wrong
    if keep in ("loss", "last"):
        image_loss = loss
    return Candidate(
        name, alpha, image_loss, float(loss.mean()), 1 - float(wrong.mean()), temperature, proba,
        logits,
    )  # fmt: skip


def preferred(
    candidates: list[Candidate], default: float = MIDDLE, units: Codes | None = None
) -> Candidate:
    """The candidate nearest to `default` on the way among those that tie with the best.

    A tie: not worse by more than one standard error of the paired difference. On the few images
    that choose, the very best is mostly chance; those of one unit count as one.
    """
    best = min(candidates, key=lambda c: float(c.image_loss.mean()))
    tied = []
    for candidate in candidates:
        difference = candidate.image_loss - best.image_loss
        if difference.mean() <= standard_error(difference, units):
            tied.append(candidate)
    return min(tied, key=lambda c: (abs(c.alpha - default), float(c.image_loss.mean())))


def _are_equal(a: State, b: State) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)
