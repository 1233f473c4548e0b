"""From a part that is ready to learn to a model that is chosen, calibrated and checked.

The result is looked for on the way from the start to what was learnt: WiSE-FT (Wortsman et al.,
2022, arXiv:2109.01903) between the two, and the average of the last epochs (Izmailov et al., 2018,
arXiv:1803.05407). The images that were held out choose, at the price of looking at them a few
times more.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from regraft.backbones import weights
from regraft.backbones.network import LoadedNetwork
from regraft.errors import TrainingError
from regraft.evaluation.calibration import fit_temperature, softmax
from regraft.features import engines
from regraft.features.engines import BuiltEngine
from regraft.images import pictures
from regraft.listener import Doing
from regraft.machine import processes, torch_threads
from regraft.machine.processor import available_cores
from regraft.probe.base import Floats, Head
from regraft.probe.classifier import Classifier
from regraft.probe.linear_head import LinearHead
from regraft.probe.representation import Representation
from regraft.training import acceleration, batchnorm, optim
from regraft.training.examples import Labelled
from regraft.training.history import Epoch, History, State, copied
from regraft.training.loop import Trainer
from regraft.training.plan import Plan, fitted_probe
from regraft.training.stepping import Stepper
from regraft.training.trainable import Trainable, state_of
from regraft.training.tunable import TunableClassifier, as_head, head_module, random_head

ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)
# Where to stand when the held-out images cannot tell: in the middle, which is best or next to it
# over many data sets (Wortsman et al., section 4, "fixed alpha = 0.5"), or, for data unlike the
# source, where the start is known to be poor, at the end.
MIDDLE, END = 0.5, 1.0
# The candidate that training at another picture size must beat too.
AS_IT_WAS = "probe at the network's own size"


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
    """

    name: str
    alpha: float
    image_loss: Floats
    loss: float
    accuracy: float
    temperature: float
    proba: Floats

    def to_dict(self) -> dict[str, Any]:
        """For metrics.json."""
        return {
            "weights": self.name,
            "alpha": self.alpha,
            "loss": round(self.loss, 6),
            "accuracy": round(self.accuracy, 6),
        }


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
    held_out_proba : (n, K)
        Of the rows that chose.
    record : dict
        For metrics.json.
    """

    classifier: Classifier
    alpha: float
    best_epoch: int
    held_out_proba: Floats
    record: dict[str, Any]


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
    model, folded = module(plan, trainable)
    start = copied(model.state_dict())
    trainer = trainer_of(plan, trainable, model)
    with acceleration.tracking(plan.accelerator, plan.settings):
        history = trainer.run()

    end = _end_of_the_way(plan, trainer, start, alpha)
    is_probe = end.is_start and plan.start.head is not None
    head = _on_base_of_all(plan, start, _head_at(model, end.state), end.alpha)
    model.load_state_dict(between(start, end.state, end.alpha))
    if folded is not None:
        folded.finish()  # from here on the body has its own BatchNorm again
    if trainable.body is not None and plan.settings.batchnorm == "re-estimate" and not is_probe:
        _re_estimate(trainable)
    built, moved = _tuned_engine(plan, trainable, before, trainer)
    return Outcome(
        _probe(plan) if is_probe else _classifier(plan, end, head, built),
        end.alpha,
        history.best_epoch,
        end.chosen.proba if end.chosen else np.zeros((0, len(plan.task.classes))),
        _record(plan, history, end, moved) | {"probe_kept": is_probe},
    )


def _end_of_the_way(plan: Plan, trainer: Trainer, start: State, given: float | None) -> End:
    """What the images that choose like best; without any, `given` or what is usually best."""
    candidates, states = _candidates(trainer, start, plan.settings.interpolate)
    candidates += _probe_as_it_was(plan, trainer.choose)
    is_near = plan.start.head is not None and not plan.chosen.situation.is_unlike
    usual = MIDDLE if is_near else END
    if candidates:
        chosen = preferred(candidates, usual)
        best = states.get(chosen.name, trainer.history.best)
        return End(best, chosen.alpha, candidates, chosen)
    alpha = usual if plan.settings.interpolate else END
    return End(trainer.history.best, alpha if given is None else given, [], None)


def _classifier(plan: Plan, end: End, head: Head, built: BuiltEngine) -> Classifier:
    return Classifier(plan.task.classes, plan.start.representation, head, end.temperature).on(built)


def _probe(plan: Plan) -> Classifier:
    """The probe itself, with its own temperature: just what the method `probe` gives of these
    images; of pictures of another size or normalisation only where that was asked for."""
    given = plan.task.settings
    is_asked_for = (given.image_size, given.mean, given.std) != (None,) * 3
    is_another = is_asked_for and not plan.input.is_native
    return plan.start.probe if is_another else plan.task.fit_probe()


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


def module(plan: Plan, trainable: Trainable) -> tuple[TunableClassifier, batchnorm.Prepared | None]:
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


def _candidates(
    trainer: Trainer, start: State, interpolates: bool
) -> tuple[list[Candidate], dict[str, State]]:
    """Everything that may become the model, scored on the images that choose."""
    history, choose = trainer.history, trainer.choose
    states = {"best epoch": history.best, "average": history.average, "last epoch": history.last}
    if choose is None:
        return [], states
    tried = [("best epoch", 1.0)]
    if not _are_equal(history.last, history.best):
        tried.append(("last epoch", 1.0))
    if trainer.settings.average_last > 1 and not _are_equal(history.average, history.last):
        tried.append(("average", 1.0))
    if interpolates:
        tried = [("best epoch", alpha) for alpha in ALPHAS[:-1]] + tried
    found = []
    for name, alpha in tried:
        trainer.model.load_state_dict(between(start, states[name], alpha))
        logits = trainer.stepper.scores(choose.examples)
        found.append(_candidate(name, alpha, logits, choose, trainer.settings.keep))
    return found, states


def _probe_as_it_was(plan: Plan, choose: Labelled | None) -> list[Candidate]:
    """Where another size of picture was chosen for training: the probe at the network's own, which
    no way back through the weights leads to."""
    task, look = plan.task, plan.look
    given = task.settings
    is_chosen = (given.image_size, given.mean, given.std, task.probe.taps) == (None,) * 4
    is_comparable = plan.start.head is not None and plan.settings.interpolate
    if choose is None or not (is_chosen and is_comparable) or plan.input.is_native:
        return []
    taps = look.probe.representation.taps
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
        name, alpha, image_loss, float(loss.mean()), 1 - float(wrong.mean()), temperature, proba
    )


def preferred(candidates: list[Candidate], default: float = MIDDLE) -> Candidate:
    """The candidate nearest to `default` on the way among those that tie with the best.

    A tie: not worse by more than one standard error of the paired difference. On the few images
    that choose, the very best is mostly chance.
    """
    best = min(candidates, key=lambda c: float(c.image_loss.mean()))
    tied = []
    for candidate in candidates:
        difference = candidate.image_loss - best.image_loss
        error = difference.std(ddof=1) / np.sqrt(len(difference))
        if difference.mean() <= error:
            tied.append(candidate)
    return min(tied, key=lambda c: (abs(c.alpha - default), float(c.image_loss.mean())))


def _are_equal(a: State, b: State) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def _head_at(model: TunableClassifier, state: State) -> Head:
    own = {n.removeprefix("head."): t for n, t in state.items() if n.startswith("head.")}
    head = copy.deepcopy(model.head)
    head.load_state_dict(own)
    return as_head(head)


def _on_base_of_all(plan: Plan, start: State, tuned: Head, alpha: float) -> Head:
    """The probe of all of train, and what moved while a part of it was held out added to it."""
    if not isinstance(tuned, LinearHead):
        return tuned
    first = LinearHead(_array(start["head.weight"]), _array(start["head.bias"]))
    if plan.start.head is None:
        return _sum(first, tuned, first, alpha)
    whole, seen = plan.start.probe, plan.start.head.representation
    assert isinstance(whole.head, LinearHead)
    base = LinearHead(whole.head.weight / whole.temperature, whole.head.bias / whole.temperature)
    parts = (_plain(base, whole.representation), _plain(tuned, seen), _plain(first, seen))
    return _represented(_sum(*parts, alpha), whole.representation)


def _sum(base: LinearHead, tuned: LinearHead, first: LinearHead, alpha: float) -> LinearHead:
    """``base + alpha (tuned - first)``."""
    return LinearHead(
        base.weight + alpha * (tuned.weight - first.weight),
        base.bias + alpha * (tuned.bias - first.bias),
    )


def _plain(head: LinearHead, representation: Representation) -> LinearHead:
    """The head on features that are neither centred nor scaled, float64."""
    weight = head.weight.astype(np.float64) * representation.scale
    return LinearHead(weight, head.bias.astype(np.float64) - weight @ representation.centre)


def _represented(head: LinearHead, representation: Representation) -> LinearHead:
    """The inverse of :func:`_plain`."""
    scale = representation.scale
    weight = np.divide(head.weight, scale, out=np.zeros_like(head.weight), where=scale > 0)
    bias = head.bias + (weight * scale) @ representation.centre
    return LinearHead(weight.astype(np.float32), bias.astype(np.float32))


def _array(tensor: torch.Tensor) -> Floats:
    found: Floats = tensor.detach().cpu().float().numpy()
    return found


def _re_estimate(trainable: Trainable) -> None:
    assert trainable.body is not None
    order = np.random.default_rng(0).permutation(len(trainable.learn))
    batches = (trainable.learn.batch(order[i : i + 32], 0) for i in range(0, len(order), 32))
    batchnorm.re_estimate(trainable.body, (x for x, _ in batches))


def _tuned_engine(
    plan: Plan, trainable: Trainable, before: State, trainer: Trainer
) -> tuple[BuiltEngine, dict[str, Any]]:
    """The engine of the network as it is now, and what moved and what did not."""
    built = plan.input.built
    if trainable.body is None:
        nothing = {"trained": 0, "moved": 0, "unmoved": [], "proof": {}}
        return built, {"frozen": len(before), **nothing, "is_frozen": True}
    body = {n: t.detach().cpu() for n, t in trainable.merged(trainable.body).items()}
    _refuse_strangers(body, before)
    after = {n: body.get(n, t) for n, t in before.items()}
    same, moved = weights.changed(before, after)
    learnt = _learning(trainable, trainer, set(before))
    report = _frozen_report(trainable, set(same), set(moved), learnt)
    if not moved:
        return built, report
    network = copy.deepcopy(plan.input.loaded.network)
    network.load_state_dict(after)
    network.eval().requires_grad_(False)
    digest = weights.digest_of_tensors(network.state_dict())
    loaded: LoadedNetwork = replace(plan.input.loaded, network=network, weights_digest=digest)
    source = replace(built.source, kind="tuned", identity=f"digest:{digest}", weights_digest=digest)
    with processes.main_first():
        tuned = engines.locate(
            source,
            sample=pictures.sample(plan.look.table.paths),
            device=built.device,
            say=_of_the_tuned_network(plan.listener.say),
            loaded=loaded,
        )
    return tuned, report


def _of_the_tuned_network(say: Callable[[str], None]) -> Callable[[str], None]:
    """Says what is built in words of its own; the engine's own name it by its digest."""
    building = Doing("building the engine of the tuned network")
    return lambda text: say(building if isinstance(text, Doing) else text)


def _learning(trainable: Trainable, trainer: Trainer, network: set[str]) -> set[str]:
    """The network's tensors that were to learn; where others are folded in, all that may move."""
    if trainable.merged is not state_of:
        return network - set(trainable.frozen)
    parameters = trainer.model.named_parameters()
    return {n.removeprefix("body.") for n, p in parameters if p.requires_grad} & network


def _refuse_strangers(body: State, network: State) -> None:
    """What learnt under a name that the network lacks would be lost without a word."""
    strangers = sorted(set(body) - set(network))
    if strangers:
        raise TrainingError(
            f"{len(strangers)} tensors learnt that the network does not have, first "
            f"{strangers[0]!r}: the model is not saved",
            cure="the method's Trainable has to fold them in: `merged`",
        )


def _frozen_report(
    trainable: Trainable, same: set[str], moved: set[str], learnt: set[str]
) -> dict[str, Any]:
    """What stayed bit by bit and what moved; a frozen tensor that moved is a bug of ours."""
    broken = sorted(set(trainable.frozen) & moved)
    if broken:
        raise TrainingError(
            f"{len(broken)} tensors of the frozen part changed, first {broken[0]!r}: "
            "the model is not saved",
            cure="please report this with the command",
        )
    return {
        "frozen": len(set(trainable.frozen)),
        "trained": len(learnt),
        "moved": len(moved),
        "unmoved": sorted(learnt & same)[:20],
        "is_frozen": True,
        "proof": {name: float(f"{value:.3g}") for name, value in trainable.proof.items()},
    }


def _record(
    plan: Plan,
    history: History,
    end: End,
    moved: dict[str, Any],
) -> dict[str, Any]:
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
        "chosen": end.chosen.to_dict()
        if end.chosen
        else {"weights": "last epoch", "alpha": end.alpha},
        "weights": moved,
        "compiled": history.compiled,
        "notes": history.notes,
    }
