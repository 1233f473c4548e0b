"""What mistakes on the surest images say of the labels, and through them of a score."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from regraft.choosing.trust_check import Check, Facts, guessed_of_left_out
from regraft.wording import count, percent

# One mistake among few images may be an accident of that image.
LEAST_MISTAKES = 2
# The share of labels that surely disagree among the images that a classifier is surest of (the low
# end of the interval): 'care' and 'bad'. Clean sets stay below the first (evaluation.label_noise).
SOME, MANY = 0.03, 0.10
# Of fewer training images (of the median class) a model may be sure of the wrong class itself.
FEW_OF_CLASS = 10


def labels(metrics: Facts) -> Iterator[Check]:
    """Whether labels seem to be wrong, beyond images that are merely hard.

    Nothing is said where left-out images are not surely better than guessed: who recognises nothing
    cannot tell a wrong label. Runs of earlier versions do not have the figures.
    """
    left_out = metrics.get("left_out") or {}
    noise = left_out.get("label_noise")
    if noise is None or left_out["accuracy"]["low"] <= guessed_of_left_out(metrics):
        return
    share = noise["disagree"]
    text = (
        f"Of {count(noise['n'], 'training image')} that it is surest of, each left out of what was "
        f"learnt, {percent(share['value'])} ({_range(share)}) have another label"
    )
    if share["low"] < SOME or round(share["value"] * noise["n"]) < LEAST_MISTAKES:
        yield Check("good", "Labels agree where the model is sure", text + ".")
        return
    counts = metrics["data"].get("counts", {}).get("train", {})
    each = statistics.median(counts.values()) if counts else FEW_OF_CLASS
    if each < FEW_OF_CLASS:
        yield Check(
            "care",
            "Some labels may be wrong",
            f"{text}. Of classes with so few images ({each:g} to learn from in the median) it may "
            "be the model that is wrong: look at the first of the list.",
        )
        return
    is_many = share["low"] >= MANY
    yield Check(
        "bad" if is_many else "care",
        f"{'Many' if is_many else 'Some'} labels seem to be wrong",
        f"{text}. Images that are merely hard would not be among the surest, unless what tells two "
        "classes apart is what this network does not see (which way a thing points, say). If they "
        "are wrong, labels of the test images that were made in the same way are wrong as often, "
        "and the score with them.",
    )


def agree(metrics: Facts) -> bool:
    """Whether the images that the model is surest of speak against wrong labels: few of them have
    another one. Those on the list are hard images then."""
    noise = (metrics.get("left_out") or {}).get("label_noise")
    return noise is not None and noise["disagree"]["value"] < SOME


def _range(share: Facts) -> str:
    return f"{100 * share['low']:.0f} to {100 * share['high']:.0f} %"
