"""`partial`: the layers before a split point stay as they are, those after it learn on.

What stays is inference: it runs once per augmented view on the engine of the probe's pass, and an
epoch costs only what learns. That the two parts continue each other exactly is proven each time.
"""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING

from regraft.probe.method import Method

if TYPE_CHECKING:
    from regraft.features.activations import PrefixEngine
    from regraft.training.examples import Examples
    from regraft.training.plan import Plan
    from regraft.training.trainable import Trainable


def partial(plan: Plan) -> Trainable:
    """What comes after the split point, on what the frozen part makes of each view."""
    import numpy as np

    from regraft.backbones import splitting
    from regraft.errors import BackboneError
    from regraft.features.activations import PrefixNetwork, prefix_engine
    from regraft.training.trainable import Trainable

    built, loaded = plan.input.built, plan.input.loaded
    if plan.settings.split_point is None:
        raise BackboneError(
            f"{built.info.architecture} has no split point",
            cure="--method full, which trains all layers, or --method probe, which trains none",
        )
    split = splitting.split(loaded.network, plan.settings.split_point)
    mean, std = loaded.config["mean"], loaded.config["std"]
    module = PrefixNetwork(split, plan.input.stages, mean=mean, std=std).eval()
    example = np.stack([plan.views.plain(i) for i in range(min(4, len(plan.rows)))])
    engine = prefix_engine(
        module, built, cut=split.point.after, taps=built.info.taps, example=example
    )
    if engine.note:
        plan.listener.say(engine.note)
    return Trainable(
        body=split.rest,
        learn=_views_that_teach(plan, engine),
        choose=_plain_ones_that_choose(plan, engine) if plan.rows.n_choose else None,
        stages=tuple(name for name in plan.input.stages if name not in module.stages),
        frozen=split.frozen,
        proof=split.proof,
    )


def _views_that_teach(plan: Plan, engine: PrefixEngine) -> Examples:
    """All views of the rows that teach, from memory or disk, or made when they are needed."""
    from regraft.features import activations
    from regraft.training.examples import ActivationExamples, MadeActivations

    n_views, n_images = int(plan.settings.views or 1), plan.rows.n_learn
    found = activations.compute(
        engine,
        plan.views.augmented,
        n_images,
        n_views,
        recipe=plan.views.recipe(plan.rows.learn),
        budget_bytes=int(plan.settings.budget_gib * 2**30),
        progress=functools.partial(plan.listener.progress, "views"),
    )
    if found is not None:
        return ActivationExamples(found, engine.n_earlier, engine.shape)
    wanted = 4 * engine.width * n_images * n_views / 2**30
    plan.listener.say(
        f"{n_views} views of {n_images} images take {wanted:.1f} GiB of activations, "
        f"more than the {plan.settings.budget_gib:g} GiB of --budget-gib: they are made anew "
        "in each epoch"
    )
    return MadeActivations(engine, plan.views.augmented, n_images, n_views)


def _plain_ones_that_choose(plan: Plan, engine: PrefixEngine) -> Examples:
    from regraft.features import activations
    from regraft.training.examples import ActivationExamples

    X = activations.compute(
        engine,
        lambda row, number: plan.views.plain(plan.rows.n_learn + row),
        plan.rows.n_choose,
        1,
        recipe=json.dumps(["plain", plan.views.digest(plan.rows.choose)]),
        budget_bytes=2**40,
    )
    assert X is not None
    return ActivationExamples(X, engine.n_earlier, engine.shape)


PARTIAL = Method(
    name="partial",
    help="fine-tune from a split point on",
    learns="from {split_point} on",
    network="its later layers learnt on",
    paper="layers from {split_point} on learnt",
    splits=True,
    has_views=True,
    images_seen={False: (2_500, 4, 8), True: (7_000, 4, 16)},
    trainable=partial,
)
