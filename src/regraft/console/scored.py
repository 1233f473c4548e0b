"""`regraft evaluate`: a saved model's score, and which images are not in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from regraft.console.evaluation import show_classes, show_score
from regraft.console.left_out import show_left_out, show_not_used, show_other_splits
from regraft.console.promises import show_promises, show_strangers
from regraft.console.screen import hang, print_json, stdout
from regraft.console.verdict import show_cross_validated
from regraft.wording import agree, count


def show_scored(scored: Any, *, as_json: bool) -> None:
    """The score, and what was left out of it or flatters it."""
    if as_json:
        print_json(scored.to_dict())
        return
    screen = stdout()
    evaluation = scored.evaluation.to_dict()
    show_score(screen, evaluation)
    _show_flattery(screen, scored)
    show_cross_validated(screen, {"left_out": scored.left_out})
    if meaning := _meaning_of_difference(scored.left_out):
        hang(screen, "", f"[yellow]{meaning}[/]", indent=0)
    screen.print()
    show_classes(screen, evaluation)
    show_promises(screen, scored.promises)
    show_strangers(screen, scored.strangers)
    show_left_out(scored.table.as_shown(scored.table.rejected))
    show_not_used(scored.skipped)
    if scored.other_splits:
        show_other_splits(scored.other_splits)
    if scored.n_learnt_from and not scored.counts_them:
        words = f"{_what_it_learnt(scored)}; not in this score (--split all counts them in)"
        hang(screen, "", words, indent=0)
    if scored.n_unlabelled:
        were = "was" if scored.n_unlabelled == 1 else "were"
        screen.print(f"{count(scored.n_unlabelled, 'image')} without a label {were} left out")


def _show_flattery(screen: Console, scored: Any) -> None:
    """Straight under the score, which is read first: images in it that taught the model."""
    if not scored.counts_them:
        return
    n, n_scored = scored.n_learnt_from, len(scored.table)
    new = n_scored - n
    rest = f"; {new:,} of the {n_scored:,} {agree(new, '[is|are]')} new to it" if new else ""
    words = f"{_what_it_learnt(scored)}, and in this score: it says little about new images{rest}"
    hang(screen, "", f"[yellow]{words}[/]", indent=0)


def _what_it_learnt(scored: Any) -> str:
    n = scored.n_learnt_from
    return f"{n:,} of these images {agree(n, '[is|are]')} what the model learnt from"


def _meaning_of_difference(left_out: Mapping[str, Any] | None) -> str:
    """What a difference to the images it was taught with says, where it is no chance.

    Examples
    --------
    >>> _meaning_of_difference({"difference": {"low": -0.1, "high": 0.1}})
    ''
    >>> _meaning_of_difference({"difference": {"low": 0.1, "high": 0.2}})
    'these images are easier for it than those it was taught with, or copies of them'
    """
    gap = left_out["difference"] if left_out else {"low": 0.0, "high": 0.0}
    if gap["low"] > 0:
        return "these images are easier for it than those it was taught with, or copies of them"
    if gap["high"] < 0:
        return (
            "these images are harder for it than those it was taught with: another camera, source "
            "or season, or labels that are wrong; to do well on them, train with some of them too"
        )
    return ""
