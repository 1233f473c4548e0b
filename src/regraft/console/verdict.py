"""Whether to trust a score: the test beside cross-validation, the verdict and its reasons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape

from regraft.choosing.difference import left_out_in_words, points
from regraft.console.screen import INDENT, hang
from regraft.console.wording import literal
from regraft.wording import count

STYLES = {"yes": "bold green", "with care": "bold yellow", "no": "bold red"}
MEANINGS = {
    "with care": ": usable for photographs like the tested ones, within these limits",
    "no": ": do not rely on this score; fix this and train again before use",
}
# Where files or groups give the class away, as they do in the tested images too.
NOT_BY_MOTIF = ": part of the score may come from the files, not from what the photographs show"
COLOURS = {"no": "red", "care": "yellow", "none": "dim"}


def show_cross_validated(screen: Console, metrics: Mapping[str, Any]) -> None:
    """Accuracy of left-out training images, and how far the test is from it."""
    left_out = metrics.get("left_out")
    if left_out is None:
        return
    hang(screen, "", f"{escape(left_out_in_words(left_out))}", indent=0)
    gap = left_out["difference"]
    size = "within chance" if gap["low"] <= 0 <= gap["high"] else "beyond chance"
    hang(screen, "", f"difference {points(gap)}: {size}", indent=0)


def show_verdict(screen: Console, metrics: Mapping[str, Any]) -> None:
    """The answer, every reason that weighs, and what findings speak of though it does not; the
    others stand in metrics.json."""
    judged = metrics.get("verdict")
    if judged is None:
        return
    style = STYLES[judged["answer"]]
    weighty = [reason for reason in judged["reasons"] if reason["weight"] != "none"]
    n_checks = len(judged["reasons"])
    nothing = f", for photos like those tested: {count(n_checks, 'check')} found nothing against it"
    meaning = MEANINGS.get(judged["answer"], nothing)
    if judged["answer"] == "with care" and any(r["kind"] == "findings" for r in weighty):
        meaning = NOT_BY_MOTIF
    hang(screen, "Trust", f"[{style}]{judged['answer']}[/]{meaning}")
    for reason in judged["reasons"]:
        if reason["weight"] != "none" or reason.get("told"):
            title, text = literal(reason["title"]), literal(reason["text"])
            hang(screen, "", f"[{COLOURS[reason['weight']]}]{title}.[/] {text}")


def show_steps(screen: Console, metrics: Mapping[str, Any]) -> bool:
    """What to do next, as the verdict asks for; False if the run says nothing of it."""
    judged = metrics.get("verdict")
    if judged is None:
        return False
    for number, step in enumerate(judged["next"], start=1):
        hang(screen, "Next" if number == 1 else "", f"{number}. {literal(step['text'])}")
        if step["command"]:
            # On one line, so that it can be copied.
            screen.print(f"{' ' * INDENT}[bold blue]{literal(step['command'])}[/]", soft_wrap=True)
    return True
