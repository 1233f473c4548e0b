"""Which way to take, of several with their bills and what each may win; `advise` and the report
say the same from here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from regraft.choosing import bill
from regraft.choosing.arm import TRIED, Arm, Judged
from regraft.choosing.bill import Bill
from regraft.choosing.expectation import Expected, change_in_words, expected
from regraft.choosing.past import Past
from regraft.choosing.standing import first, score
from regraft.choosing.way import BACKBONES_TRIED, METHODS_TRIED, Way, known_backbones, ways_of
from regraft.choosing.workload import Workload
from regraft.record.configuration import RunConfig
from regraft.training.defaults import Situation
from regraft.training.methods import METHODS
from regraft.wording import duration, percent

# A way that takes twice as long has to win this share of the log loss to be worth it; shorter
# times than this do not matter to anybody.
SHARE_OF_DOUBLE_TIME, NO_MATTER_S = 0.12, 10.0
# Of a log loss as small as this, a share is next to nothing: who is right nearly always, and sure
# of it, does not train for a minute to be surer.
NO_MATTER_LOSS = 0.01
# Of the pictures, in a run of an older Regraft: larger than any network's input.
UNKNOWN_SIDE = 1e4
COMPARED = {"taps", "left_out_accuracy", "left_out_log_loss"}


@dataclass(frozen=True, eq=False)
class Offer:
    """A way with its bill and what it may win."""

    way: Way
    bill: Bill
    expected: Expected


@dataclass(frozen=True, eq=False)
class Recommendation:
    """What to take, and why.

    Attributes
    ----------
    offers : list of Offer
    best : int
        Which of them.
    why : str
    """

    offers: list[Offer]
    best: int
    why: str

    @property
    def offer(self) -> Offer:
        """The one to take."""
        return self.offers[self.best]


def recommend(
    base: RunConfig, arms: Sequence[Arm], situation: Situation, work: Mapping[str, Workload],
    past: Past,
) -> Recommendation:  # fmt: skip
    """Of every usual way on every network that is at hand.

    Parameters
    ----------
    arms : sequence of Arm
        What was judged already: the probe at least.
    work : mapping from a backbone's name
        What it would have to go through.
    """
    offers = []
    for way in ways_of(METHODS_TRIED, list(work)):
        config = way.config(base)
        found = bill.bill_of(way, config, work[way.backbone], past)
        offers.append(Offer(way, found, expected(way, arms, situation)))
    judged = first(arms)
    assert judged is not None
    loss = score(judged, arms).log_loss
    worth_it = [
        i for i, offer in enumerate(offers)
        if offer.way == judged.way or offer.expected.is_worth_it(loss)
    ]  # fmt: skip
    best = min(worth_it or range(len(offers)), key=lambda i: _price(offers[i]))
    return Recommendation(offers, best, _why(offers, best, situation, judged.way))


def of_guesses(found: Recommendation, way: Way, loss: float, guessed: float) -> Recommendation:
    """The same where the way that was judged knows no more than how frequent the classes are.

    What others may win is a share of its loss, which says nothing then.

    Parameters
    ----------
    loss, guessed : float
        Log loss of left-out images: its own, and that of the classes' shares alone.
    """
    ways = [offer.way for offer in found.offers]
    why = (
        f"the probe is no better than guessing: left-out log loss {loss:.3f}, that of the classes' "
        f"shares alone {guessed:.3f}; what the others are expected to reach means nothing then. "
        "Check whether the labels are right and whether a person can tell the classes apart; if "
        "so, --method full may show what the network did not learn from its own images"
    )
    return Recommendation(found.offers, ways.index(way), why)


def of_metrics(metrics: Mapping[str, Any], base: RunConfig) -> Recommendation | None:
    """The same from what a finished run of the probe wrote down; None where it measured nothing."""
    candidates, left_out = metrics["chosen"]["candidates"], metrics.get("left_out")
    if METHODS[metrics["method"]].trains or not candidates or not left_out:
        return None
    if not set(candidates[0]) >= COMPARED:
        return None  # of an older Regraft
    data, K = metrics["data"], len(metrics["data"]["classes"])
    n_learn = int(data["splits"].get("train", left_out["n"]))
    sides = (
        float(data.get("median_side_px", UNKNOWN_SIDE)), min(metrics["backbone"]["input_px"])
    )  # fmt: skip
    situation = situation_of_candidates(candidates, n_learn, K, *sides)
    loss = left_out.get("log_loss", min(one["left_out_log_loss"] for one in candidates))
    judged = Judged(np.zeros(1, np.intp), np.array([loss], np.float64), np.ones(1, bool))
    arms = [Arm(Way("probe", metrics["backbone"]["name"]), state=TRIED, judged=judged)]
    n = int(data["images"])
    work = {
        name: Workload(
            n, n_learn, int(metrics["evaluation"]["n"]), K,
            n_missing=0 if name == metrics["backbone"]["name"] else n, situation=situation,
        )
        for name in known_backbones(BACKBONES_TRIED)[0]
    }  # fmt: skip
    return recommend(base, arms, situation, work, Past.read())


def situation_of_candidates(
    candidates: Sequence[Mapping[str, Any]],
    n_learn: int,
    n_classes: int,
    median_side_px: float,
    native_px: int,
) -> Situation:
    """What metrics.json says of the kind of data."""
    candidates = _compared(candidates)
    stages = tuple(dict.fromkeys(c["taps"][0] for c in candidates if len(c["taps"]) == 1))
    return Situation(
        n_learn, n_classes, median_side_px, native_px, True, gain_of_stages(candidates), stages,
        1 - float(_best(candidates)["left_out_accuracy"]),
    )  # fmt: skip


def gain_of_stages(candidates: Sequence[Mapping[str, Any]]) -> float:
    """Left-out accuracy of the best taps less that of the final features, by metrics.json; 0 where
    an older Regraft or no comparison does not tell."""
    if not candidates or not set(candidates[0]) >= COMPARED:
        return 0.0
    own = [c for c in _compared(candidates) if "source" not in c["taps"]]
    final = [c for c in own if list(c["taps"]) == ["final"]]
    if not final:
        return 0.0
    return float(_best(own)["left_out_accuracy"]) - float(_best(final)["left_out_accuracy"])


def _compared(candidates: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [c for c in candidates if c["n"] == candidates[0]["n"]]


def _best(candidates: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    return min(candidates, key=lambda found: float(found["left_out_log_loss"]))


def _price(offer: Offer) -> float:
    doublings = math.log2(NO_MATTER_S + offer.bill.seconds)
    loss = max(0.0, offer.expected.log_loss)
    return math.log(NO_MATTER_LOSS + loss) + SHARE_OF_DOUBLE_TIME * doublings


def _why(offers: Sequence[Offer], best: int, situation: Situation, judged: Way) -> str:
    taken, change = offers[best], change_in_words(situation)
    if situation.is_unlike and not taken.way.trains:
        change = (
            f"earlier stages are worth {100 * situation.gain_of_stages:.1f} points, and the probe "
            f"has them: it is wrong on {percent(situation.probe_error)} of left-out images"
        )
    if taken.way == judged:
        return f"{change}; no other way may win anything to speak of that is worth its time"
    words = f"{change}; {taken.way.name} may win most for its {taken.bill.time}"
    costly = max(offers, key=lambda offer: offer.bill.seconds)
    if costly.expected.log_loss < taken.expected.log_loss:
        words += (
            f" ({costly.way.name} would take {duration(costly.bill.seconds)}, and may reach a log "
            f"loss of {costly.expected.log_loss:.3f} instead of {taken.expected.log_loss:.3f})"
        )
    return words
