"""`regraft calibrate`: what a model can promise now."""

from __future__ import annotations

from typing import Any

from regraft.console.screen import print_json, stdout
from regraft.wording import agree, count, percent


def show_calibrated(found: Any, *, as_json: bool) -> None:
    """On how many images, and the finest levels that these support."""
    if as_json:
        print_json(found.to_dict())
        return
    screen = stdout()
    least = 1 / (found.n_units + 1)
    units = f", {found.n_units:,} with copies and groups counted once"
    screen.print(
        f"calibrated on {count(found.n, 'image')} that it has not learnt from"
        + units * (found.n != found.n_units)
    )
    screen.print(f"--reject from {percent(least)} on, --coverage up to {percent(1 - least)}")
    if found.n_learnt_from:
        n, verb = found.n_learnt_from, "[calibrates|calibrate]"
        screen.print(f"{count(n, 'image')} of the data taught it, and {agree(n, verb)} nothing")
    screen.print(f"saved: {found.folder}", soft_wrap=True, markup=False)
