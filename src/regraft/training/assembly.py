"""What a plan and a trainable are put together to: a module, its steps, the loop over them."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from torch import nn

from regraft.probe.linear_head import LinearHead
from regraft.training import acceleration, batchnorm, optim
from regraft.training.examples import Labelled
from regraft.training.history import Epoch
from regraft.training.loop import Trainer
from regraft.training.plan import Plan
from regraft.training.stepping import Stepper
from regraft.training.trainable import Trainable
from regraft.training.tunable import TunableClassifier, head_module, random_head


def module_of(
    plan: Plan, trainable: Trainable
) -> tuple[TunableClassifier, batchnorm.Prepared | None]:
    """The module that learns, its BatchNorm prepared, and only what gets a gradient free."""
    settings, body, first = plan.settings, trainable.body, plan.start.head
    representation = first.representation if first else plan.start.representation
    if first is not None:
        assert isinstance(first.head, LinearHead)
        head: nn.Module = head_module(first.head, first.temperature)
    else:
        n_features, n_classes = len(representation.centre), len(plan.task.classes)
        head = random_head(
            n_features, n_classes, settings.hidden_widths, settings.dropout, seed=plan.seed
        )
    folded = None
    x, earlier = trainable.learn.batch(np.arange(min(4, len(trainable.learn))), 0)
    if body is not None:
        folded = batchnorm.prepare(body, str(settings.batchnorm), x)
        body.to(memory_format=torch.channels_last)
    taps = plan.input.built.info.taps
    model = TunableClassifier(body, trainable.stages, taps, representation, head)
    _free_what_learns(model, x, earlier)
    return model, folded


def _free_what_learns(model: TunableClassifier, x: torch.Tensor, earlier: Any) -> None:
    """What the scores do not depend on (the network's old classifier) must not be waited for."""
    model.eval()
    wanted = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    found = torch.autograd.grad(
        model(x, earlier).square().sum(), [p for _, p in wanted], allow_unused=True
    )
    for (_, parameter), gradient in zip(wanted, found, strict=True):
        parameter.requires_grad_(gradient is not None)


def stepper_of(plan: Plan, trainable: Trainable, model: TunableClassifier) -> Stepper:
    """Steps on the plan's rows, each part of the network at its own rate."""
    settings = plan.settings
    rate, head_rate = float(settings.learning_rate or 0), float(settings.head_rate or 0)
    names = [f"body.{name}" for name in trainable.stages]
    learning = [n for n, p in model.named_parameters() if p.requires_grad]
    stages = [n for n in names if any(p.startswith(n + ".") for p in learning)]
    groups = optim.parameter_groups(
        model,
        rate=rate if trainable.body is not None else head_rate,
        weight_decay=settings.weight_decay,
        stages=stages,
        layer_decay=settings.layer_decay,
        head="head",
        head_factor=head_rate / rate if trainable.body is not None and rate else 1.0,
    )
    return Stepper(
        model,
        Labelled(trainable.learn, plan.rows.y[: plan.rows.n_learn], plan.weights(plan.rows.learn)),
        settings,
        groups=groups,
        accelerator=plan.accelerator,
        n_classes=len(plan.task.classes),
        seed=plan.seed,
        say=plan.listener.say,
    )


def trainer_of(plan: Plan, trainable: Trainable, model: TunableClassifier) -> Trainer:
    """The loop over the plan's rows; the listener and the trackers hear of every epoch."""

    def on_epoch(epoch: Epoch) -> None:
        acceleration.track(plan.accelerator, epoch.to_dict())
        plan.listener.epoch(epoch, int(plan.settings.epochs or 0))

    choose = None
    if trainable.choose is not None:
        places = plan.rows.choose
        choose = Labelled(
            trainable.choose, plan.rows.y[places], plan.weights(plan.rows.all)[places]
        )
    return Trainer(
        stepper_of(plan, trainable, model),
        choose,
        folder=plan.task.environment.folder,
        identity=plan.identity,
        on_epoch=on_epoch,
        on_step=functools.partial(plan.listener.progress, "steps"),
    )
