"""From a part that is ready to learn to a model that is chosen, calibrated and checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from regraft.features.engines import BuiltEngine
from regraft.machine import processes, torch_threads
from regraft.machine.processor import available_cores
from regraft.probe.base import Floats, Head
from regraft.probe.classifier import Classifier
from regraft.training import acceleration, batchnorm
from regraft.training.assembly import module_of, trainer_of
from regraft.training.candidates import End, between, end_of_the_way
from regraft.training.final_head import final_head
from regraft.training.history import History, copied
from regraft.training.plan import Plan
from regraft.training.trainable import Trainable
from regraft.training.tuned_network import engine_after


@dataclass(frozen=True, eq=False)
class Outcome:
    """What training leaves.

    Attributes
    ----------
    classifier : Classifier
        On the network as it is now; the probe, where nothing that was learnt is taken.
    alpha : float
        How far from the start.
    best_epoch : int
    held_out_proba, held_out_scores : (n, K)
        Of the rows that chose, by a head that they had no part in; the classifier's own head is
        based on the probe of all, these included.
    record : dict
        For metrics.json.
    """

    classifier: Classifier
    alpha: float
    best_epoch: int
    held_out_proba: Floats
    held_out_scores: Floats
    record: dict[str, Any]


def learn(plan: Plan, trainable: Trainable, *, alpha: float | None = None) -> Outcome:
    """Train, choose among what training went through, calibrate, and check what was frozen.

    `alpha` is how far to go from the start where no images are held out to tell.

    Several threads may be in here at once, each with threads of PyTorch's of its own; their steps
    take turns, since chance belongs to the process.
    """
    processes.require_same(plan.identity)
    with torch_threads.threads(processes.share(available_cores())):
        return _learnt(plan, trainable, alpha)


def _learnt(plan: Plan, trainable: Trainable, alpha: float | None) -> Outcome:
    before = copied(plan.input.loaded.network.state_dict())
    model, folded = module_of(plan, trainable)
    start = copied(model.state_dict())
    trainer = trainer_of(plan, trainable, model)
    with acceleration.tracking(plan.accelerator, plan.settings):
        history = trainer.run()

    end = end_of_the_way(plan, trainer, start, alpha)
    is_probe = end.is_start and plan.start.head is not None
    head = final_head(plan, model, start, end)
    model.load_state_dict(between(start, end.state, end.alpha))
    if folded is not None:
        folded.finish()  # from here on the body has its own BatchNorm again
    if trainable.body is not None and plan.settings.batchnorm == "re-estimate" and not is_probe:
        _re_estimate(trainable)
    built, moved = engine_after(plan, trainable, before, trainer)
    nothing = np.zeros((0, len(plan.task.classes)))
    return Outcome(
        _probe(plan) if is_probe else _classifier(plan, end, head, built),
        end.alpha,
        history.best_epoch,
        end.chosen.proba if end.chosen else nothing,
        end.chosen.scores if end.chosen else nothing,
        _record(plan, history, end, moved) | {"probe_kept": is_probe},
    )


def _classifier(plan: Plan, end: End, head: Head, built: BuiltEngine) -> Classifier:
    return Classifier(plan.task.classes, plan.start.representation, head, end.temperature).on(built)


def _probe(plan: Plan) -> Classifier:
    """The probe itself, with its own temperature: just what the method `probe` gives of these
    images; of pictures of another size or normalisation only where that was asked for."""
    given = plan.task.settings
    is_asked_for = (given.image_size, given.mean, given.std) != (None,) * 3
    is_another = is_asked_for and not plan.input.is_native
    return plan.start.probe if is_another else plan.task.fit_probe()


def _re_estimate(trainable: Trainable) -> None:
    assert trainable.body is not None
    order = np.random.default_rng(0).permutation(len(trainable.learn))
    batches = (trainable.learn.batch(order[i : i + 32], 0) for i in range(0, len(order), 32))
    batchnorm.re_estimate(trainable.body, (x for x, _ in batches))


def _record(plan: Plan, history: History, end: End, moved: dict[str, Any]) -> dict[str, Any]:
    unchosen = {"weights": "last epoch", "alpha": end.alpha}
    chosen = end.chosen.to_dict() if end.chosen else unchosen
    return {
        "settings": plan.settings.to_dict(),
        "epochs": [epoch.to_dict() for epoch in history.epochs],
        "best_epoch": history.best_epoch,
        "resumed_at": history.resumed_at,
        "held_out": plan.rows.n_choose,
        "held_out_from": "train" if plan.rows.is_carved else "val",
        "starts_from_probe": plan.start.head is not None,
        "learnt_from": plan.rows.n_learn,
        "candidates": [candidate.to_dict() for candidate in end.candidates],
        "chosen": chosen,
        "weights": moved,
        "compiled": history.compiled,
        "notes": history.notes,
    }
