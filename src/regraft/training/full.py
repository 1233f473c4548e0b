"""`full`: every layer learns on, from the source's weights and the probe's head."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from regraft.probe.method import Method

if TYPE_CHECKING:
    from regraft.training.plan import Plan
    from regraft.training.trainable import Trainable


def full(plan: Plan) -> Trainable:
    """All of the network, on pictures that are augmented anew in each epoch."""
    from regraft.training.trainable import Trainable

    return Trainable(
        body=copy.deepcopy(plan.input.loaded.network).requires_grad_(True),
        learn=plan.augmented_examples(),
        choose=plan.plain_examples(),
        stages=plan.input.stages,
    )


FULL = Method(
    name="full",
    help="fine-tune every layer",
    learns="every layer",
    network="all its layers learnt on",
    paper="all layers learnt",
    sees_pictures=True,
    images_seen={False: (2_000, 3, 6), True: (9_000, 4, 16)},
    trainable=full,
)
