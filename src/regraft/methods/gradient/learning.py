"""From a part that is ready to learn to a model that is chosen, calibrated and checked.

The result is looked for on the way from the start to what was learnt: WiSE-FT (Wortsman et al.,
2022, arXiv:2109.01903) between the two, and the average of the last epochs (Izmailov et al., 2018,
arXiv:1803.05407). The images that were held out choose, at the price of looking at them a few
times more.
"""

from __future__ import annotations

import copy
import functools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from regraft.backbones import splitting, weights
from regraft.backbones.network import LoadedNetwork
from regraft.errors import TrainingError
from regraft.evaluation.calibration import fit_temperature, softmax
from regraft.features import engines, extract
from regraft.features.engines import BuiltEngine, available_cores
from regraft.methods import processes
from regraft.methods.base import Floats, Head
from regraft.methods.fine_tuning import Part
from regraft.methods.gradient import batchnorm, devices, optim
from regraft.methods.gradient.examples import Labelled
from regraft.methods.gradient.history import Epoch, History, State
from regraft.methods.gradient.plan import Plan
from regraft.methods.gradient.stepping import Stepper
from regraft.methods.gradient.training import Trainer
from regraft.methods.gradient.tunable import TunableClassifier, as_head, head_module, random_head
from regraft.methods.linear_head import LinearHead
from regraft.methods.representation import Representation

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
    worth : (n,) float
        Of each image, the smaller the better: its log loss, or whether it is wrong.
    loss, accuracy, temperature : float
    proba : (n, K)
        At that temperature.
    """

    name: str
    alpha: float
    worth: Floats
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
    representation : Representation
    head : Head
        On that representation of the features of `built`.
    temperature : float
    alpha : float
        How far from the start.
    best_epoch : int
    built : BuiltEngine
        Of the network as it is now.
    epochs : list of Epoch
    held_out_proba : (n, K)
        Of the rows that chose.
    record : dict
        For metrics.json.
    """

    representation: Representation
    head: Head
    temperature: float
    alpha: float
    best_epoch: int
    built: BuiltEngine
    epochs: list[Epoch]
    held_out_proba: Floats
    record: dict[str, Any]


def learn(plan: Plan, part: Part, *, alpha: float | None = None) -> Outcome:
    """Train `part`, choose among what it went through, calibrate, and check what was frozen.

    `alpha` is how far to go from the start where no images are held out to tell.
    """
    settings = plan.settings
    processes.require_same(plan.identity)
    torch.set_num_threads(processes.share(available_cores()))
    before = {n: t.clone() for n, t in plan.loaded.network.state_dict().items()}
    model, prepared = module(plan, part)
    trainer = trainer_of(plan, part, model)
    devices.start_tracking(plan.accelerator, plan.settings)
    start = _copied(model.state_dict())
    history = trainer.run()
    devices.stop_tracking(plan.accelerator)
    candidates, states = _candidates(trainer, start, settings.interpolate)
    candidates += _probe_as_it_was(plan, trainer.choose)
    default = MIDDLE if plan.start is not None and not plan.situation.is_unlike else END
    chosen = preferred(candidates, default) if candidates else None
    blind = default if settings.interpolate else END
    blind = blind if alpha is None else alpha
    best = states.get(chosen.name, history.best) if chosen else history.best
    alpha = chosen.alpha if chosen else blind
    temperature = chosen.temperature if chosen else 1.0

    learnt = _head_at(model, best)
    model.load_state_dict(between(start, best, alpha))
    held_out = chosen.proba if chosen else np.zeros((0, plan.n_classes))
    head = _on_base_of_all(plan, start, learnt, alpha)
    if prepared is not None:
        prepared.finish()
    if part.body is not None and settings.batchnorm == "re-estimate":
        _re_estimate(part)
    built, moved = _tuned_engine(plan, part, before, trainer)
    record = _record(plan, history, candidates, chosen, blind, moved)
    representation = plan.representation
    if chosen is not None and chosen.name == AS_IT_WAS:
        probe = plan.scout
        representation, head, temperature = probe.representation_, probe.head_, probe.temperature_
        built = plan.method.built
    return Outcome(
        representation, head, temperature, alpha, history.best_epoch, built, history.epochs,
        held_out, record,
    )  # fmt: skip


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


def module(plan: Plan, part: Part) -> tuple[TunableClassifier, batchnorm.Prepared | None]:
    """The module that learns, its BatchNorm prepared, and only what gets a gradient free."""
    settings = plan.settings
    representation = plan.start.representation_ if plan.start else plan.representation
    if plan.start is not None:
        assert isinstance(plan.start.head_, LinearHead)
        head: nn.Module = head_module(plan.start.head_, plan.start.temperature_)
    else:
        n_features = len(representation.centre)
        head = random_head(
            n_features, plan.n_classes, settings.hidden_widths, settings.dropout, seed=plan.seed
        )
    prepared = None
    x, earlier = part.learn.batch(np.arange(min(4, len(part.learn))), 0)
    if part.body is not None:
        prepared = batchnorm.prepare(part.body, str(settings.batchnorm), x)
        part.body.to(memory_format=torch.channels_last)
    model = TunableClassifier(part.body, part.stages, plan.built.info.taps, representation, head)
    _free_what_learns(model, x, earlier)
    return model, prepared


def _free_what_learns(model: TunableClassifier, x: torch.Tensor, earlier: Any) -> None:
    """What the scores do not depend on (the network's old classifier) must not be waited for."""
    model.eval()
    wanted = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    found = torch.autograd.grad(
        model(x, earlier).square().sum(), [p for _, p in wanted], allow_unused=True
    )
    for (_, parameter), gradient in zip(wanted, found, strict=True):
        parameter.requires_grad_(gradient is not None)


def stepper_of(plan: Plan, part: Part, model: TunableClassifier) -> Stepper:
    """Steps on the plan's rows, each part of the network at its own rate."""
    settings = plan.settings
    rate, head_rate = float(settings.learning_rate or 0), float(settings.head_rate or 0)
    names = [f"body.{name}" for name in part.stages]
    learning = [n for n, p in model.named_parameters() if p.requires_grad]
    stages = [n for n in names if any(p.startswith(n + ".") for p in learning)]
    groups = optim.parameter_groups(
        model,
        rate=rate if part.body is not None else head_rate,
        weight_decay=settings.weight_decay,
        stages=stages,
        layer_decay=settings.layer_decay,
        head="head",
        head_factor=head_rate / rate if part.body is not None and rate else 1.0,
    )
    return Stepper(
        model,
        Labelled(part.learn, plan.y[plan.learn], plan.weights(plan.learn)),
        settings,
        groups=groups,
        accelerator=plan.accelerator,
        n_classes=plan.n_classes,
        seed=plan.seed,
        say=plan.listener.say,
    )


def trainer_of(plan: Plan, part: Part, model: TunableClassifier) -> Trainer:
    """The loop over the plan's rows; the listener and the trackers hear of every epoch."""

    def on_epoch(epoch: Epoch) -> None:
        devices.track(plan.accelerator, epoch.to_dict())
        plan.listener.epoch(epoch, int(plan.settings.epochs or 0))

    choose = None
    if part.choose is not None:
        everything = plan.weights(np.arange(len(plan.rows)))
        choose = Labelled(part.choose, plan.y[plan.choose], everything[plan.choose])
    return Trainer(
        stepper_of(plan, part, model),
        choose,
        folder=plan.environment.folder,
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
    given = plan.method.settings
    is_chosen = (given.image_size, given.mean, given.std, plan.method.taps) == (None,) * 4
    is_comparable = plan.start is not None and plan.settings.interpolate
    if choose is None or not (is_chosen and is_comparable) or plan.X_at_size is plan.X:
        return []
    taps = plan.scout.representation_.taps
    probe = plan.fit_probe(plan.X, plan.method.built, taps, plan.learn)
    scores = probe.head_.scores(probe.representation_(plan.X[plan.choose]))
    return [_candidate(AS_IT_WAS, 0.0, scores, choose, plan.settings.keep)]


def _candidate(name: str, alpha: float, logits: Floats, choose: Labelled, keep: str) -> Candidate:
    """Calibrated and scored on the images that choose, by what is to be kept."""
    y = choose.y
    temperature = fit_temperature(logits, y)
    proba = softmax(logits.astype(np.float64), temperature=temperature)
    loss = -np.log(np.maximum(proba[np.arange(len(y)), y], 1e-12))
    wrong = (proba.argmax(1) != y).astype(float)
    worth = wrong * choose.weight if keep == "balanced-accuracy" else wrong
    if keep in ("loss", "last"):
        worth = loss
    return Candidate(
        name, alpha, worth, float(loss.mean()), 1 - float(wrong.mean()), temperature, proba
    )


def preferred(candidates: list[Candidate], default: float = MIDDLE) -> Candidate:
    """The candidate nearest to `default` on the way among those that tie with the best.

    A tie: not worse by more than one standard error of the paired difference. On the few images
    that choose, the very best is mostly chance.
    """
    best = min(candidates, key=lambda c: float(c.worth.mean()))
    tied = []
    for candidate in candidates:
        difference = candidate.worth - best.worth
        error = difference.std(ddof=1) / np.sqrt(len(difference))
        if difference.mean() <= error:
            tied.append(candidate)
    return min(tied, key=lambda c: (abs(c.alpha - default), float(c.worth.mean())))


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
    if plan.start is None:
        return _sum(first, tuned, first, alpha)
    held_out = plan.start.representation_
    whole = plan.probe
    assert isinstance(whole.head_, LinearHead)
    base = LinearHead(
        whole.head_.weight / whole.temperature_, whole.head_.bias / whole.temperature_
    )
    parts = (_plain(base, plan.representation), _plain(tuned, held_out), _plain(first, held_out))
    return _represented(_sum(*parts, alpha), plan.representation)


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


def _re_estimate(part: Part) -> None:
    assert part.body is not None
    order = np.random.default_rng(0).permutation(len(part.learn))
    batches = (part.learn.batch(order[i : i + 32], 0) for i in range(0, len(order), 32))
    batchnorm.re_estimate(part.body, (x for x, _ in batches))


def _tuned_engine(
    plan: Plan, part: Part, before: State, trainer: Trainer
) -> tuple[BuiltEngine, dict[str, Any]]:
    """The engine of the network as it is now, and what moved and what did not."""
    if part.body is None:
        nothing = {"trained": 0, "moved": 0, "unmoved": [], "proof": {}}
        return plan.built, {"frozen": len(before), **nothing, "is_frozen": True}
    body = {n: t.detach().cpu() for n, t in part.body.state_dict().items()}
    after = {n: body.get(n, t) for n, t in before.items()}
    same, moved = splitting.changed(before, after)
    learnt = {
        n.removeprefix("body.") for n, p in trainer.model.named_parameters() if p.requires_grad
    }
    report = _frozen_report(part, set(before), set(same), set(moved), learnt)
    network = copy.deepcopy(plan.loaded.network)
    network.load_state_dict(after)
    network.eval().requires_grad_(False)
    digest = weights.digest_of_tensors(network.state_dict())
    loaded: LoadedNetwork = replace(plan.loaded, network=network, weights_digest=digest)
    source = replace(
        plan.built.source, kind="tuned", identity=f"digest:{digest}", weights_digest=digest
    )
    with processes.main_first():
        tuned = engines.locate(
            source,
            sample=extract.sample_pictures(plan.table),
            device=plan.built.device,
            say=lambda text: plan.listener.say("building the engine of the tuned network"),
            loaded=loaded,
        )
    return tuned, report


def _frozen_report(
    part: Part, names: set[str], same: set[str], moved: set[str], learnt: set[str]
) -> dict[str, Any]:
    """What stayed bit by bit and what moved; a frozen tensor that moved is a bug of ours."""
    broken = sorted(set(part.frozen) & moved)
    if broken:
        raise TrainingError(
            f"{len(broken)} tensors of the frozen part changed, first {broken[0]!r}: "
            "the model is not saved",
            cure="please report this with the command",
        )
    return {
        "frozen": len(set(part.frozen)),
        "trained": len(learnt & names),
        "moved": len(moved),
        "unmoved": sorted(learnt & same)[:20],
        "is_frozen": True,
        "proof": {name: float(f"{value:.3g}") for name, value in part.proof.items()},
    }


def _record(
    plan: Plan,
    history: History,
    candidates: list[Candidate],
    chosen: Candidate | None,
    blind: float,
    moved: dict[str, Any],
) -> dict[str, Any]:
    return {
        "settings": plan.settings.to_dict(),
        "epochs": [epoch.to_dict() for epoch in history.epochs],
        "best_epoch": history.best_epoch,
        "resumed_at": history.resumed_at,
        "held_out": len(plan.choose),
        "held_out_from": "train" if plan.is_carved else "val",
        "starts_from_probe": plan.start is not None,
        "learnt_from": len(plan.learn),
        "candidates": [candidate.to_dict() for candidate in candidates],
        "chosen": chosen.to_dict() if chosen else {"weights": "last epoch", "alpha": blind},
        "weights": moved,
        "compiled": history.compiled,
        "notes": history.notes,
    }


def _copied(state: State) -> State:
    return {name: tensor.detach().clone() for name, tensor in state.items()}
