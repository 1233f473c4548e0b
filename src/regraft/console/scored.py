"""`regraft evaluate`: a saved model's score, and which images are not in it."""

from __future__ import annotations

from typing import Any

from regraft.console.evaluation import show_classes, show_score
from regraft.console.left_out import show_left_out, show_not_used, show_other_splits
from regraft.console.promises import show_promises, show_strangers
from regraft.console.screen import hang, print_json, stdout
from regraft.console.verdict import show_cross_validated
from regraft.wording import count


def show_scored(scored: Any, *, as_json: bool) -> None:
    """The score, and what was left out of it or flatters it."""
    if as_json:
        print_json(scored.to_dict())
        return
    screen = stdout()
    evaluation = scored.evaluation.to_dict()
    show_score(screen, evaluation)
    show_cross_validated(screen, {"left_out": scored.left_out})
    screen.print()
    show_classes(screen, evaluation)
    show_promises(screen, scored.promises)
    show_strangers(screen, scored.strangers)
    show_left_out(scored.table.as_shown(scored.table.rejected))
    show_not_used(scored.skipped)
    if scored.other_splits:
        show_other_splits(scored.other_splits)
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
