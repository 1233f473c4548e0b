"""What a search says of its arms: what became of each, and why others were not tried."""

from __future__ import annotations

from collections.abc import Sequence

from regraft.choosing import standing
from regraft.choosing.arm import TRIED, WAITING, Arm
from regraft.choosing.expectation import Expected
from regraft.machine.memory import available_mib
from regraft.wording import duration, percent


def of_arm(arm: Arm, tried: Sequence[Arm], took: Arm, left_s: float) -> str:
    """What became of an arm, when it is over or paused."""
    left = f"{duration(max(0.0, left_s))} left"
    spent = f"{duration(arm.seconds)}, expected {duration(arm.predicted_s)}"
    if arm.state == WAITING:
        loss = f"held-out log loss {arm.paused_loss:.3f}"
        return (
            f"{arm.way.name}: paused after {percent(arm.paused_at)} of its epochs, {loss}; {left}"
        )
    if arm.state != TRIED or arm.left_out is None:
        return f"{arm.name}: {arm.why} ({spent}); {left}"
    if arm.is_again:
        return f"{arm.name}, as train would: learnt ({spent}); {left}"
    found = standing.score(arm, tried)
    words = f"left out {percent(found.accuracy)}, log loss {found.log_loss:.3f}"
    first = "; stands first" if took is arm else ""
    return f"{arm.way.name}: {words} ({spent}){first}; {left}"


def too_short(budget_s: float, needs: str) -> str:
    """That a budget does not hold the probe; it is done all the same."""
    return (
        f"a budget of {duration(budget_s)} is less than the probe takes: {needs} is the least "
        "here, and the probe is all that is done"
    )


def why_not(arm: Arm, offer: Expected, loss: float, is_worth_it: bool, needs_s: float,
            left_s: float) -> str:  # fmt: skip
    """Why an arm that waits is not tried, or not to its end.

    Parameters
    ----------
    loss : float
        Of what stands first.
    needs_s, left_s : float
        Seconds, with what comes last.
    """
    if not is_worth_it:
        gain = max(0.0, offer.hope)
        return f"may win next to nothing (log loss {loss:.3f}, by {gain:.3f} less): {offer.by}"
    if arm.memory_mib > available_mib():
        needs = f"{arm.memory_mib:,.0f} MiB of memory"
        return f"would need {needs}, {available_mib():,.0f} are free"
    words = (
        f"would not end within the budget: needs {duration(needs_s)} with the test, "
        f"{duration(max(0.0, left_s))} are left"
    )
    if not arm.paused_at:
        return words
    return f"paused after {percent(arm.paused_at)} of its epochs, behind another way; {words}"
