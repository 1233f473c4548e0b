"""`full`: every layer learns on, from the source's weights and the probe's head."""

from __future__ import annotations

import copy

from regraft.methods.fine_tuning import FineTuning, Part
from regraft.methods.gradient.plan import Plan


class Full(FineTuning):
    """All of the network learns, on pictures that are augmented anew in each epoch."""

    method = "full"

    def part(self, plan: Plan) -> Part:
        body = copy.deepcopy(plan.loaded.network).requires_grad_(True)
        return Part(
            body=body,
            learn=plan.augmented_examples(),
            choose=plan.plain_examples(),
            stages=tuple(name for name, _ in plan.built.info.widths[:-1]),
        )
