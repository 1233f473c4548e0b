"""A training by gradients: what learnt and what stayed, and what became the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape

from regraft.choosing import kept
from regraft.console.screen import hang
from regraft.console.wording import whole_percent
from regraft.training.methods import METHODS
from regraft.wording import count


def show_training(screen: Console, metrics: Mapping[str, Any]) -> None:
    """What the run's metrics say of it; nothing for the probe, which needs none."""
    training = metrics.get("training")
    if training is None:
        return
    heading = "Tried" if kept.keeps_probe(metrics) else "Trained"
    hang(screen, heading, _learnt(metrics["method"], training))
    hang(screen, "", f"[dim]model selection: {_taken(training)}[/]")
    weights = training["weights"]
    if kept.keeps_probe(metrics):
        hang(screen, "", "[dim]no tensor of the network moved, and the head is the probe's[/]")
    elif weights["frozen"]:
        hang(
            screen,
            "",
            f"[dim]{count(weights['frozen'], 'tensor was', 'tensors were')} frozen and did not "
            "change by a bit; "
            f"{weights['moved']} moved[/]",
        )
    for note in training["notes"]:
        hang(screen, "", f"[yellow]{escape(note)}[/]")
    if warning := METHODS[metrics["method"]].warning:
        hang(screen, "", f"[yellow]{warning}[/]")


def _learnt(method: str, training: Mapping[str, Any]) -> str:
    settings = training["settings"]
    part = METHODS[method].what_learns(settings["split_point"])
    epochs = count(len(training["epochs"]), "epoch")
    has_no_views = not METHODS[method].moves_network and settings["views"] == 1
    views = "" if has_no_views else f", views {settings['augment']}, {settings['image_size']} px"
    return f"{escape(part)}: {epochs} over {count(training['learnt_from'], 'image')}{views}"


def _taken(training: Mapping[str, Any]) -> str:
    """Which state on the way from the start to the trained weights, and by what."""
    chosen = training["chosen"]
    by = f"{count(training['held_out'], 'held-out image')} of {training['held_out_from']}"
    if training.get("probe_kept"):
        return f"the probe itself: what was learnt did worse on {by}"
    start = "the probe" if training["starts_from_probe"] else "the start"
    ends = {
        0.0: f"{start} itself",
        1.0: f"the weights of the {chosen['weights']}",
    }
    way = f"{whole_percent(chosen['alpha'])} of the way from {start} to the {chosen['weights']}"
    by = f"by {count(training['held_out'], 'validation image')} of {training['held_out_from']}"
    if not training["candidates"]:
        by = "with too few images for a validation part that could tell"
    return f"{ends.get(chosen['alpha'], way)}, {by}{_beside_start(training, start)}"


def _beside_start(training: Mapping[str, Any], start: str) -> str:
    """What was taken beside what it started from, on the images that chose between them; beside the
    probe as it was (the last of these) where it started from one of other pictures or features."""
    chosen = training["chosen"]
    starts = [one for one in training["candidates"] if one["alpha"] == 0]
    if not starts or chosen["alpha"] == 0:
        return ""
    return f": log loss {chosen['loss']:.3f}, where {start} has {starts[-1]['loss']:.3f}"
