"""What a score stands beside: naive ways to answer, and the score without copies from train."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from regraft.console.screen import hang
from regraft.console.wording import interval, literal
from regraft.evaluation.metrics import is_even
from regraft.record.configuration import RunConfig
from regraft.wording import percent

IN_WORDS = {"nearest neighbour": "1-nearest neighbour"}


def show_baselines(
    screen: Console,
    metrics: Mapping[str, Any],
    config: RunConfig | None,
    train_counts: Mapping[str, int],
) -> None:
    """The naive ways' scores, and a plain word if the model is no better.

    Parameters
    ----------
    train_counts : mapping of str to int
        Images to learn from, of each class; empty if that is not known.
    """
    baselines = [
        f"{IN_WORDS.get(name, name)} {percent(estimate['value'])}"
        for name, estimate in metrics["baselines"].items()
    ]
    hang(screen, "Against", f"baselines: {', '.join(baselines)}")
    sentences = _no_better(metrics)
    for sentence in sentences if metrics.get("verdict") is None else []:  # which says it better
        hang(screen, "", f"[yellow]{sentence}[/]")
    is_balanced = config is not None and config.class_weight == "balanced"
    if sentences and not is_even(list(train_counts.values())) and not is_balanced:
        hang(screen, "", "the classes of train are uneven; try [bold]--class-weight balanced[/]")
    _without_copies(screen, metrics["leaks"])


def _no_better(metrics: Mapping[str, Any]) -> list[str]:
    """A plain sentence for each baseline that the model does not beat."""
    evaluation = metrics["evaluation"]
    accuracy, baselines = evaluation["accuracy"]["value"], metrics["baselines"]
    sentences = []
    majority, nearest = (baselines.get(n) for n in ("majority class", "nearest neighbour"))
    if majority and majority["value"] is not None and accuracy <= majority["value"]:
        right = round(majority["value"] * evaluation["n"])
        labels = [row["label"] for row in evaluation["per_class"] if row["n"] == right]
        answer = f"'{literal(labels[0])}'" if len(labels) == 1 else "the largest class"
        sentences.append(f"no better than always answering {answer}")
    if nearest and nearest["value"] is not None and accuracy <= nearest["value"]:
        sentences.append("no better than copying the nearest training image")
    return sentences


def _without_copies(screen: Console, leaks: Mapping[str, Any]) -> None:
    if not leaks["images"] or not leaks["evaluation_without"]:
        return
    clean = leaks["evaluation_without"]["accuracy"]
    have = "image that has" if leaks["images"] == 1 else "images that have"
    hang(
        screen,
        "",
        f"leakage: without the {leaks['images']} {have} a copy in train, accuracy is "
        f"{percent(clean['value'])} ({interval(clean)})",
    )
