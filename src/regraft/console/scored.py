"""`regraft evaluate`: a saved model's score, and which images are not in it."""

from __future__ import annotations

from typing import Any

from regraft.console.evaluation import show_evaluation
from regraft.console.left_out import show_left_out
from regraft.console.screen import hang, print_json, stdout
from regraft.wording import count


def show_scored(scored: Any, *, as_json: bool) -> None:
    """The score, and what was left out of it or flatters it."""
    if as_json:
        print_json(scored.to_dict())
        return
    screen = stdout()
    show_evaluation(screen, scored.evaluation.to_dict())
    show_left_out(scored.table.rejected)
    if scored.n_learnt_from:
        one = scored.n_learnt_from == 1
        known = f"{scored.n_learnt_from} of these images {'is' if one else 'are'} what the model "
        if scored.counts_them:
            words = f"[yellow]{known}learnt from, and in this score: it flatters[/]"
        else:
            words = f"{known}learnt from; not in this score (--split all counts them in)"
        hang(screen, "", words, indent=0)
    if scored.n_unlabelled:
        were = "was" if scored.n_unlabelled == 1 else "were"
        screen.print(f"{count(scored.n_unlabelled, 'image')} without a label {were} left out")
