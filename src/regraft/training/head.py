"""`head`: the network stays, a head learns on its features by gradients, as in the tutorials.

With a hidden layer or more (``--hidden 256``) this is the tutorials' small network on top; with
none it is what the probe solves in closed form. An epoch reads no picture and runs no network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from regraft.probe.method import Method

if TYPE_CHECKING:
    from regraft.training.plan import Plan
    from regraft.training.trainable import Trainable


def head(plan: Plan) -> Trainable:
    """A head alone, on stored features."""
    from regraft.training.examples import FeatureExamples
    from regraft.training.trainable import Trainable

    rows = plan.rows
    return Trainable(
        body=None,
        learn=FeatureExamples(plan.feature_views()),
        choose=FeatureExamples([plan.input.X[rows.choose]]) if rows.n_choose else None,
    )


HEAD = Method(
    name="head",
    help="the same by gradients",
    learns="the head alone, by gradients",
    network="kept as it was, with a new head learnt by gradients",
    paper="only the head learnt",
    moves_network=False,
    has_views=True,
    images_seen={False: (20_000, 5, 60), True: (20_000, 5, 60)},
    trainable=head,
)
