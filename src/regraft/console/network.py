"""`regraft summary`: a network's layers as a table of at most 80 columns, and what is counted."""

from __future__ import annotations

from collections.abc import Iterator

from rich.markup import escape
from rich.table import Table

from regraft.backbones.cost import Layer
from regraft.console.screen import bare_table, hang, print_json, stdout
from regraft.console.wording import literal
from regraft.machine.cache import in_words
from regraft.training.methods import METHODS
from regraft.wording import count
from regraft.workflows.summary import FROZEN, HEAD, IN_PART, LEARNS, Summary

STYLES = {LEARNS: "bold", HEAD: "bold green", IN_PART: "", FROZEN: "dim"}
# Modules that do nothing in a forward pass and hold nothing.
IDLE = "Identity"
# Layer, kind, output: wider ones are folded or cut, so that the six columns fit in 80.
NAME_WIDTH, KIND_WIDTH, SHAPE_WIDTH = 22, 16, 14
INDENT = 13


def show_network(summary: Summary, *, depth: int, as_json: bool) -> None:
    """The table, then what is counted, where it can be cut, and what learns.

    Parameters
    ----------
    depth : int, at least 1
        'layer1.0' is at depth 2; deeper modules are counted in it.
    """
    if as_json:
        print_json(summary.to_dict())
        return
    screen = stdout()
    own = (
        "" if summary.input_shape == summary.own_shape else f", made for {_size(summary, own=True)}"
    )
    name = summary.architecture
    named = "" if name.startswith(summary.backbone) else f" ({summary.backbone})"
    screen.print(
        f"[bold]{escape(name + named)}[/] on one picture of {_size(summary)}{own}; head for "
        f"{count(summary.n_classes, 'class', 'classes')}"
    )
    screen.print()
    screen.print(_table(summary, depth))
    screen.print()
    for heading, words in (*_counts(summary), *_method(summary), *_cuts(summary)):
        hang(screen, heading, words, indent=INDENT)


def _table(summary: Summary, depth: int) -> Table:
    table = bare_table()
    table.padding = (0, 1, 0, 0)  # on one side alone: six columns have to fit
    table.add_column("  layer", overflow="fold", max_width=NAME_WIDTH)
    table.add_column("kind", no_wrap=True, max_width=KIND_WIDTH)
    table.add_column("output", no_wrap=True, max_width=SHAPE_WIDTH)
    for heading in ("parameters", "mult-adds"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("learns", no_wrap=True)
    cuts = {point.name for point in summary.split_points}
    for layer, learns in zip(summary.cost.layers, summary.learns, strict=True):
        if not _is_shown(layer, summary, depth):
            continue
        mark = "+" if layer.name in cuts else " "
        table.add_row(
            f"{mark} {escape(layer.name)}",
            literal(layer.kind, KIND_WIDTH),
            "–" if layer.shape is None else "×".join(map(str, layer.shape)),
            f"{layer.n_parameters:,}" if layer.n_parameters else "",
            _rounded(layer.multiply_adds) if layer.multiply_adds else "",
            learns,
            style=STYLES.get(learns, "dim"),
        )
    return table


def _is_shown(layer: Layer, summary: Summary, depth: int) -> bool:
    if layer.name == summary.split_point:
        return True
    did_nothing = layer.shape is None and not layer.n_parameters
    return layer.name.count(".") < depth and layer.kind != IDLE and not did_nothing


def _counts(summary: Summary) -> Iterator[tuple[str, str]]:
    cost = summary.cost
    without = cost.n_parameters - summary.n_head
    yield "Parameters", f"{cost.n_parameters:,}; {without:,} without the head"
    yield (
        "Mult-adds",
        f"{_rounded(cost.multiply_adds)} a picture, in convolutions and matrix products",
    )
    yield (
        "Memory",
        f"{in_words(cost.weight_bytes)} of weights; {in_words(cost.output_bytes)} if the outputs "
        "of all layers are kept (one picture, 32 bits)",
    )


def _method(summary: Summary) -> Iterator[tuple[str, str]]:
    """What learns, and what that takes."""
    method = METHODS[summary.method]
    words = method.what_learns(summary.split_point)
    frozen = summary.cost.n_parameters - summary.n_learnt
    stays = f", {frozen:,} stay" if frozen else ""
    yield (
        "Learns",
        f"{escape(words)} (--method {summary.method}): {summary.n_learnt:,} parameters{stays}",
    )
    if method.splits:
        share = 100 * summary.n_frozen_multiply_adds / max(1, summary.cost.multiply_adds)
        yield (
            "",
            f"{_rounded(summary.n_frozen_multiply_adds)} mult-adds ({share:.0f} %) are in what "
            "stays: once for each view, not in each epoch",
        )
    training = summary.training
    if training is not None:
        yield (
            "Training",
            f"at least {in_words(training.total_bytes)} at "
            f"{count(training.batch_size, 'picture')} a step: weights, gradients, momentum, and "
            f"{in_words(training.kept_bytes)} kept of each "
            "picture",
        )


def _cuts(summary: Summary) -> Iterator[tuple[str, str]]:
    """Where `partial` can begin."""
    stages = [point.name for point in summary.split_points if point.is_stage]
    if not stages:
        yield "Split points", "none: --method partial does not work with this network"
        return
    n = len(summary.split_points)
    shown = f"stages {stages[0]} to {stages[-1]}" if len(stages) > 1 else stages[0]
    within = ", and blocks within them" if n > len(stages) else ""
    yield "Split points", f"{n}, marked + ({escape(shown)}{within})"
    like, unlike = (summary.default_split_points.get(kind, "") for kind in ("like", "unlike"))
    if like == unlike:
        yield "", f"--method partial takes {escape(like)} if none is named"
        return
    yield (
        "",
        f"if none is named, --method partial takes {escape(like)}, or {escape(unlike)} where train "
        "measures that the data are unlike what the network learnt on",
    )


def _size(summary: Summary, *, own: bool = False) -> str:
    return " x ".join(map(str, summary.own_shape if own else summary.input_shape))


def _rounded(count: int) -> str:
    """Three digits and a unit.

    Examples
    --------
    >>> _rounded(4_089_184_256), _rounded(25_600), _rounded(999), _rounded(999_999)
    ('4.09 G', '25.6 k', '999', '1.00 M')
    """
    value, units = float(count), iter(("", " k", " M", " G", " T"))
    unit = next(units)
    while float(f"{value:.3g}") >= 1000:
        value, unit = value / 1000, next(units)
    if not unit:
        return str(count)
    whole = len(str(int(float(f"{value:.3g}"))))
    return f"{value:.{3 - whole}f}{unit}"
