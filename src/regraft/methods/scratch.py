"""`scratch`: the same architecture, started from random numbers, without what the source taught.

It is here to be compared with: on a few thousand images it loses against every other method, by
far (docs/methods.md), and the result says so.
"""

from __future__ import annotations

from regraft.methods.fine_tuning import FineTuning, Part
from regraft.methods.gradient.plan import Plan


class Scratch(FineTuning):
    """All layers learn, from random weights; the statistics of BatchNorm are its own."""

    method = "scratch"
    starts_anew = True

    def part(self, plan: Plan) -> Part:
        from regraft.backbones import network

        body = network.untrained(plan.loaded, seed=plan.seed).requires_grad_(True)
        return Part(
            body=body,
            learn=plan.augmented_examples(),
            choose=plan.plain_examples(),
            stages=tuple(name for name, _ in plan.built.info.widths[:-1]),
        )
