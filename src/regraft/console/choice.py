"""What was chosen for a model, and how: its taps, its head, the layer curve behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape

from regraft.choosing import each_network, layer_curve, measured
from regraft.console.screen import hang
from regraft.console.wording import interval
from regraft.wording import count, percent


def show_choice(screen: Console, metrics: Mapping[str, Any]) -> None:
    """The choice, what it rests on, and the curve if stages were measured."""
    chosen = metrics["chosen"]
    look = each_network.look_in_words(metrics["backbone"])
    hang(
        screen,
        "Model",
        f"{escape(_taps_in_words(chosen['taps']))}{look}; {_head_in_words(metrics)}",
    )
    if chosen["candidates"]:
        hang(screen, "", f"[dim]{escape(_by_in_words(chosen))}[/]")
    if words := measured.caveat(chosen):
        hang(screen, "", f"[yellow]{escape(words)}[/]")
    curve = metrics["layers"]
    if len(curve) > 1:
        n = chosen["candidates"][0]["n"]
        hang(screen, "Layers", f"{layer_curve.bars(curve)}  {escape(_ends(curve))}")
        hang(screen, "", escape(layer_curve.read(curve, n).words))


def _ends(curve: Sequence[Mapping[str, Any]]) -> str:
    """The first stage, the best and the last, with their intervals."""
    best = max(curve, key=lambda point: float(point["accuracy"]))
    shown = [point for point in curve if any(point is p for p in (curve[0], best, curve[-1]))]
    return " … ".join(
        f"{point['tap']} {percent(point['accuracy'])}"
        + (f" ({interval({**point, 'value': 1}, short=True)})" if "low" in point else "")
        for point in shown
    )


def _taps_in_words(taps: Sequence[str]) -> str:
    """What the head sees; of several networks what it sees of each.

    Examples
    --------
    >>> _taps_in_words(["blocks.3", "blocks.5", "final", "source"])
    "stages blocks.3 to blocks.5, the final features and the network's own class probabilities"
    >>> _taps_in_words(["default:final", "lite2:final"])
    'the final features of default and lite2'
    """
    return each_network.in_words(taps, _of_one)


def _of_one(taps: Sequence[str]) -> str:
    stages = [t for t in taps if t not in ("final", "source")]
    words = []
    if len(stages) > 1:
        words.append(f"stages {stages[0]} to {stages[-1]}")
    elif stages:
        words.append(f"stage {stages[0]}")
    if "final" in taps:
        words.append("the final features")
    if "source" in taps:
        words.append("the network's own class probabilities")
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]


def _head_in_words(metrics: Mapping[str, Any]) -> str:
    chosen, training = metrics["chosen"], metrics.get("training")
    if training is not None and not training["starts_from_probe"]:
        hidden = training["settings"]["hidden"]
        return f"a new head with hidden layers {hidden}" if hidden else "a new linear head"
    strength = (
        f", regularisation {chosen['strength']:.3g}" if chosen["strength"] is not None else ""
    )
    names = {"pool": "several heads as one"}
    return f"{names.get(chosen['head'], chosen['head'] + ' head')}{strength}"


def _by_in_words(chosen: Mapping[str, Any]) -> str:
    """How the taps were chosen, for people; metrics.json has the exact rule."""
    by, candidates = str(chosen["by"]), chosen["candidates"]
    together = " together with its copies and its group"
    ways = {"leave-one-out": "", "leave-one-unit-out": together}
    how = ways.get(by.partition(" ")[0])
    if how is None:
        return f"by {by}"
    return (
        f"model selection: the simplest of {count(len(candidates), 'choice')} that is as good as "
        f"the best; cross-validated on {count(candidates[-1]['n'], 'train image')}, every one "
        f"left out in turn{how}"
    )
