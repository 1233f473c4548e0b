"""What a classifier's promises came to: sets, "none of these", answers that may stand alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from regraft.choosing import promised
from regraft.console.screen import hang
from regraft.console.wording import interval, literal
from regraft.wording import count, percent


def show_promises(screen: Console, metrics: Mapping[str, Any]) -> None:
    """One line each, of what was measured."""
    lines = [*_sets(metrics), *_alone(metrics), *_unknown(metrics)]
    for number, line in enumerate(lines):
        hang(screen, "" if number else "Doubt", line)


def show_strangers(screen: Console, found: Mapping[str, Any] | None) -> None:
    """How many pictures of something else were turned away."""
    if found is None:
        return
    hang(screen, "Unknown", f"{count(found['images'], 'picture')} of {literal(found['source'])}")
    for level in found["levels"]:
        caught, alarms = level["caught"], level["false_alarms"]
        words = (
            f"--reject {_level(level['asked'])} turns away {percent(caught['value'])} of them "
            f"({interval(caught)}), and {percent(alarms['value'])} of the tested images"
        )
        hang(screen, "", words)
    auroc = found["auroc"]
    hang(screen, "", f"told from the tested images with AUROC {auroc['value']:.3f}")


def _level(share: float) -> str:
    return f"{100 * share:.4g} %"


def _sets(metrics: Mapping[str, Any]) -> list[str]:
    shown = promised.shown_sets(metrics)
    if shown is None:
        return []
    held, asked = shown["coverage"], shown["coverage_asked"]
    remark = promised.of_sets(shown).remark
    empty = f", {count(shown['empty'], 'set')} empty" if shown.get("empty") else ""
    return [
        f"prediction sets for {_level(asked)} coverage held the right class in "
        f"{percent(held['value'])} ({interval(held)}){remark}; {shown['mean_size']:.2f} classes on "
        f"average{empty}"
    ]


def _alone(metrics: Mapping[str, Any]) -> list[str]:
    shown = promised.shown_alone(metrics)
    if shown is None:
        return []
    right, asked = shown["precision"], shown["precision_asked"]
    if right["high"] < asked:
        return [
            f"answers cannot be accepted without review: where {_level(asked)} were to be right, "
            f"{percent(right['value'])} were ({interval(right)})"
        ]
    return [
        f"if {_level(asked)} of the accepted answers are to be right, "
        f"{percent(shown['share'])} can be accepted without review "
        f"({percent(right['value'])} of these were right)"
    ]


def _unknown(metrics: Mapping[str, Any]) -> list[str]:
    found = metrics.get("unknown")
    if not found:
        return []
    alarms, auroc = found["false_alarms"], found["leave_class_out_auroc"]
    words = (
        f"rejected as none of these classes: {percent(alarms['value'])} of the images of the known "
        f"classes ({interval(alarms)}; target: at most {_level(found['false_alarms_asked'])})"
        f"{promised.of_alarms(found).remark}"
    )
    if auroc is not None:
        words += (
            f", {percent(found['caught'])} of a class left out of training "
            f"(AUROC {auroc['value']:.2f})"
        )
    words += _of_far(found)
    return [words]


def _of_far(found: Mapping[str, Any]) -> str:
    """Of pictures that show nothing; runs of older versions do not have them."""
    far, asked = found.get("far"), found["false_alarms_asked"]
    if not far:
        return ""
    [caught] = [level["caught"] for level in far["levels"] if level["asked"] == asked]
    return f", {percent(caught['value'])} of {far['images']} drawn patterns"
