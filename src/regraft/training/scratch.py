"""`scratch`: the same architecture, started from random numbers, without what the source taught.

It is here to be compared with: on a few thousand images it loses against every other method, by
far (docs/methods.md), and the result says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from regraft.probe.method import Method

if TYPE_CHECKING:
    from regraft.training.plan import Plan
    from regraft.training.trainable import Trainable


def scratch(plan: Plan) -> Trainable:
    """All layers, from random weights; the statistics of BatchNorm are its own."""
    from regraft.backbones import network
    from regraft.training.trainable import Trainable

    return Trainable(
        body=network.untrained(plan.input.loaded, seed=plan.seed).requires_grad_(True),
        learn=plan.augmented_examples(),
        choose=plan.plain_examples(),
        stages=plan.input.stages,
    )


SCRATCH = Method(
    name="scratch",
    help="every layer, from random weights",
    learns="every layer, from random weights",
    network="learnt from random weights",
    paper="all layers learnt from random weights",
    warning="training from scratch is for comparison: it has to learn from these images alone "
    "what the other methods start with",
    sees_pictures=True,
    starts_anew=True,
    # There is nothing to go back to, and no head to start from.
    fixed={"interpolate": False, "init_head": "random"},
    images_seen={False: (20_000, 10, 60), True: (20_000, 10, 60)},
    trainable=scratch,
)
