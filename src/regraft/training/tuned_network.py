"""The network after it learnt: its engine, what of it moved, and that what was frozen did not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from regraft.backbones import weights
from regraft.backbones.network import LoadedNetwork
from regraft.errors import TrainingError
from regraft.features import engines
from regraft.features.engines import BuiltEngine
from regraft.images import pictures
from regraft.listener import Doing
from regraft.machine import processes
from regraft.training.history import State
from regraft.training.loop import Trainer
from regraft.training.plan import Plan
from regraft.training.trainable import Trainable, state_of


def engine_after(
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
    return (_built_anew(plan, after) if moved else built), report


def _built_anew(plan: Plan, after: State) -> BuiltEngine:
    built = plan.input.built
    network = copy.deepcopy(plan.input.loaded.network)
    network.load_state_dict(after)
    network.eval().requires_grad_(False)
    digest = weights.digest_of_tensors(network.state_dict())
    loaded: LoadedNetwork = replace(plan.input.loaded, network=network, weights_digest=digest)
    source = replace(built.source, kind="tuned", identity=f"digest:{digest}", weights_digest=digest)
    with processes.main_first():
        return engines.locate(
            source,
            sample=pictures.sample(plan.look.table.paths),
            device=built.device,
            say=_of_the_tuned_network(plan.listener.say),
            loaded=loaded,
        )


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
