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
from regraft.choosing.way import BACKBONES_TRIED, METHODS_TRIED, Way, known_backbones, ways_of
from regraft.choosing.workload import Workload
from regraft.record.configuration import RunConfig
from regraft.training.defaults import Situation
from regraft.training.methods import METHODS
from regraft.wording import duration

# A way that takes twice as long has to win this share of the log loss to be worth it; shorter
# times than this do not matter to anybody.
SHARE_OF_DOUBLE_TIME, NO_MATTER_S = 0.12, 10.0


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
    best = min(range(len(offers)), key=lambda i: _price(offers[i]))
    return Recommendation(offers, best, _why(offers, best, situation))


def of_metrics(metrics: Mapping[str, Any], base: RunConfig) -> Recommendation | None:
    """The same from what a finished run of the probe wrote down; None where it measured nothing."""
    candidates, left_out = metrics["chosen"]["candidates"], metrics.get("left_out")
    if METHODS[metrics["method"]].trains or not candidates or not left_out:
        return None
    if not {"taps", "left_out_accuracy", "left_out_log_loss"} <= set(candidates[0]):
        return None  # of an older Regraft
    data, K = metrics["data"], len(metrics["data"]["classes"])
    n_learn = int(data["splits"].get("train", left_out["n"]))
    situation = situation_of_candidates(candidates, n_learn, K)
    wrong = max(1e-3, 1 - float(left_out["accuracy"]["value"]))
    judged = Judged(np.zeros(1, np.intp), np.array([wrong]), np.ones(1, bool))
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
    candidates: Sequence[Mapping[str, Any]], n_learn: int, n_classes: int
) -> Situation:
    """What metrics.json says of the kind of data."""
    candidates = [c for c in candidates if c["n"] == candidates[0]["n"]]
    best = min(candidates, key=lambda found: float(found["left_out_log_loss"]))
    of_final = [c for c in candidates if list(c["taps"]) == ["final"]] or [best]
    final = min(of_final, key=lambda found: float(found["left_out_log_loss"]))
    own = [c for c in candidates if "source" not in c["taps"]] or [best]
    of_network = min(own, key=lambda found: float(found["left_out_log_loss"]))
    stages = tuple(dict.fromkeys(c["taps"][0] for c in candidates if len(c["taps"]) == 1))
    return Situation(
        n_learn, n_classes, 1e4, 224, True,
        float(of_network["left_out_accuracy"]) - float(final["left_out_accuracy"]),
        stages, 1 - float(best["left_out_accuracy"]),
    )  # fmt: skip


def _price(offer: Offer) -> float:
    doublings = math.log2(NO_MATTER_S + offer.bill.seconds)
    return math.log(max(1e-9, offer.expected.log_loss)) + SHARE_OF_DOUBLE_TIME * doublings


def _why(offers: Sequence[Offer], best: int, situation: Situation) -> str:
    taken = offers[best]
    words = f"{change_in_words(situation)}; {taken.way.name} may win most for its {taken.bill.time}"
    costly = max(offers, key=lambda offer: offer.bill.seconds)
    if costly is not taken:
        words += (
            f" ({costly.way.name} would take {duration(costly.bill.seconds)}, and may reach a log "
            f"loss of {costly.expected.log_loss:.3f} instead of {taken.expected.log_loss:.3f})"
        )
    return words
