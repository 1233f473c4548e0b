"""`head`: the network stays, a head learns on its features by gradients, as in the tutorials.

With a hidden layer or more (``--hidden 256``) this is the tutorials' small network on top; with
none it is what the probe solves in closed form.
"""

from __future__ import annotations

from regraft.methods.fine_tuning import FineTuning, Part
from regraft.methods.gradient.plan import Plan


class HeadOnly(FineTuning):
    """Learns on stored features; an epoch reads no picture and runs no network."""

    method = "head"

    def part(self, plan: Plan) -> Part:
        from regraft.methods.gradient.examples import FeatureExamples

        views = plan.feature_views()
        return Part(
            body=None,
            learn=FeatureExamples([X[plan.learn] for X in views]),
            choose=FeatureExamples([views[0][plan.choose]]) if len(plan.choose) else None,
        )
