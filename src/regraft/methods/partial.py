"""`partial`: the layers before a split point stay as they are, those after it learn on.

What stays is inference: it runs once per augmented view on the engine of the probe's pass, and an
epoch costs only what learns.
"""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING

import numpy as np

from regraft.methods.fine_tuning import FineTuning, Part
from regraft.methods.gradient.plan import Plan

if TYPE_CHECKING:
    from regraft.features.activations import PrefixEngine
    from regraft.methods.gradient.examples import Examples


class Partial(FineTuning):
    """Learns from `split_point` on; proven to continue the network exactly."""

    method = "partial"

    def part(self, plan: Plan) -> Part:
        from regraft.backbones import splitting
        from regraft.errors import BackboneError
        from regraft.features.activations import PrefixNetwork, prefix_engine

        settings, info = plan.settings, plan.built.info
        if settings.split_point is None:
            raise BackboneError(
                f"{info.architecture} has no split point",
                cure="--method full, which trains all layers, or --method probe, which trains none",
            )
        split = splitting.split(plan.loaded.network, settings.split_point)
        config = plan.loaded.config
        stages = [name for name, _ in info.widths[:-1]]
        module = PrefixNetwork(split, stages, mean=config["mean"], std=config["std"]).eval()
        example = np.stack([plan.views.plain(i) for i in range(min(4, len(plan.rows)))])
        engine = prefix_engine(
            module, plan.built, cut=split.point.after, taps=info.taps, example=example
        )
        if engine.note:
            plan.listener.say(engine.note)
        later = tuple(name for name in stages if name not in module.stages)
        return Part(
            body=split.rest,
            learn=self._learn(plan, engine),
            choose=self._choose(plan, engine) if len(plan.choose) else None,
            stages=later,
            frozen=split.frozen,
            proof=split.proof,
        )

    def _learn(self, plan: Plan, engine: PrefixEngine) -> Examples:
        """All views of the rows that teach, from memory or disk, or made when they are needed."""
        from regraft.features import activations
        from regraft.methods.gradient.examples import ActivationExamples, MadeActivations

        n_views = int(plan.settings.views or 1)
        budget = int(plan.settings.budget_gib * 2**30)
        found = activations.compute(
            engine,
            plan.views.augmented,
            len(plan.learn),
            n_views,
            recipe=plan.views.recipe(plan.learn),
            budget_bytes=budget,
            progress=functools.partial(plan.listener.progress, "views"),
        )
        if found is not None:
            return ActivationExamples(found, engine.n_earlier, engine.shape)
        wanted = 4 * engine.width * len(plan.learn) * n_views / 2**30
        plan.listener.say(
            f"{n_views} views of {len(plan.learn)} images take {wanted:.1f} GiB of activations, "
            f"more than the {plan.settings.budget_gib:g} GiB of --budget-gib: they are made anew "
            "in each epoch"
        )
        return MadeActivations(engine, plan.views.augmented, len(plan.learn), n_views)

    def _choose(self, plan: Plan, engine: PrefixEngine) -> Examples:
        from regraft.features import activations
        from regraft.methods.gradient.examples import ActivationExamples

        X = activations.compute(
            engine,
            lambda row, number: plan.views.plain(len(plan.learn) + row),
            len(plan.choose),
            1,
            recipe=json.dumps(["plain", plan.views.digest(plan.choose)]),
            budget_bytes=2**40,
        )
        assert X is not None
        return ActivationExamples(X, engine.n_earlier, engine.shape)
