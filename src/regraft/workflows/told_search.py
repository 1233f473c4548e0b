"""A search that is over, for metrics.json: what was tried, what was not and why, what was taken."""

from __future__ import annotations

from typing import Any

from regraft.choosing import standing
from regraft.choosing.arm import DROPPED, TRIED, Arm
from regraft.wording import count
from regraft.workflows.search import Search


def told(search: Search) -> dict[str, Any]:
    """The search for metrics.json and ``--json``."""
    contest, took = search.contest, search.contest.took
    dropped = [arm for arm in contest.arms if arm.state == DROPPED]
    stopped = [arm for arm in dropped if arm.seconds]
    absent = [
        {"way": None, "backbone": name, "predicted_s": None, "why": why}
        for name, why in search.absent
    ]
    return {
        "budget_s": search.budget.seconds,
        "spent_s": round(search.budget.spent, 2),
        "tried": [_told(search, arm) for arm in [*contest.tried, *stopped]],
        "not_tried": [{**arm.to_dict(), "why": arm.why} for arm in dropped if not arm.seconds]
        + absent,
        "took": {**took.to_dict(), "why": why_taken(search), **_again(search)},
        "compared": contest.optimism,
        "stopped": search.stopped_by or None,
        "chosen_by": chosen_by(search),
    }


def _told(search: Search, arm: Arm) -> dict[str, Any]:
    """An arm that was tried, to its end or not."""
    comparable = None
    if arm.judged is not None and arm.state == TRIED:
        found = standing.score(arm, search.contest.tried)
        comparable = {"log_loss": round(found.log_loss, 6), "accuracy": round(found.accuracy, 6)}
    return {
        **arm.to_dict(),
        "seconds": round(arm.seconds, 2),
        "left_out": arm.left_out if arm.state == TRIED else None,
        "comparable": comparable,
        "took": arm is search.contest.took,
        "why": arm.why,
    }


def _again(search: Search) -> dict[str, Any]:
    """That it learnt once more as `train` would, or tried to; nothing where it did not."""
    again = search.again
    if again is None:
        return {}
    is_kept = again.state == TRIED and not again.keeps_probe
    own = {"predicted_s": round(again.predicted_s, 2), "seconds": round(again.seconds, 2)}
    return {"again": {**own, "kept": is_kept, "why": again.why}}


def why_taken(search: Search) -> str:
    """In a sentence."""
    took, tried = (
        search.contest.took,
        [arm for arm in search.contest.tried if arm.judged is not None],
    )
    if not tried:
        return "too few images could be left out to judge one way against another"
    found = standing.score(took, search.contest.tried)
    words = f"log loss {found.log_loss:.3f} on images that had taught it nothing"
    if len(tried) == 1:
        return f"{words}; no other way was judged"
    words += (
        f": of the {len(tried)} ways that were judged the cheapest that no dearer one beats by "
        f"{standing.MARGIN_IN_WORDS}"
    )
    probe = search.contest.arms[0]
    if took is probe:
        return words
    against = standing.difference(took, probe, search.contest.tried)
    tie = ", a tie" if against["low"] <= 0 <= against["high"] else ""
    return (
        f"{words}; against the first probe {against['value']:+.3f} ({against['low']:+.3f} to "
        f"{against['high']:+.3f}{tie})"
    )


def chosen_by(search: Search) -> str:
    """What the choice rests on."""
    first = search.contest.tried[0]
    n = len(first.judged.rows) if first.judged is not None else 0
    return (
        f"probes by {count(n, 'image')} of train, each left out in turn; what learns by gradients "
        "by a part of train that it never saw, against its own probe on the same images"
    )
