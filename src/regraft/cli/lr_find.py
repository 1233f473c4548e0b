"""`regraft lr-find`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from regraft.cli import options, training_options
from regraft.cli.grouped_help import Grouped
from regraft.console.lines import width_of, wrapped
from regraft.training.methods import TRAINED
from regraft.wording import count

if TYPE_CHECKING:
    from regraft.training.lr_find import RangeTest

# Of the up to 100 steps the table shows so many.
ROWS = 12


@click.command(
    "lr-find",
    cls=Grouped,
    short_help="learning-rate range test: the loss while the rate rises",
)
@click.argument("data")
@click.option(
    "--method",
    type=click.Choice(TRAINED),
    default="partial",
    show_default=True,
    help="How to learn, as in `regraft train`.",
)
@options.backbone
@options.head
@options.columns
@options.scale
@options.test_fraction
@options.seed
@click.option("--out", metavar="FILE", help="Write the picture there (PNG, SVG or PDF).")
@training_options.training
@options.output
def command(
    data: str, taps: str | None, class_weight: str, out: str | None, offline: bool, as_json: bool,
    quiet: bool, **settings: object,
) -> None:  # fmt: skip
    """Learning-rate range test: up to 100 steps on DATA while the rate rises from 1e-5 to 1.

    It stops where the loss is four times its best, and names two rates to begin with: where the
    loss falls fastest, and a tenth of where it is smallest (Smith, 2017, arXiv:1506.01186). The
    options are those of `regraft train`; no model is saved.

    \b
      regraft lr-find photos/ --method full --out rate.png
    """
    from regraft.console import progress
    from regraft.errors import UsageError
    from regraft.machine import processes
    from regraft.workflows import survey

    if processes.n_processes() > 1:
        raise UsageError(
            f"lr-find runs in one process, {processes.n_processes()} were started",
            cure="regraft lr-find ..., without torchrun or accelerate launch",
        )
    if out is not None:
        options.require_picture(out)
    config = training_options.configured(data, taps, class_weight, settings)
    options.require_usable(config)
    with progress.listening(quiet=quiet, after="taking steps") as listener:
        found = survey.try_rates(config, offline=offline, listener=listener)
    if as_json:
        import json

        print(json.dumps(found.to_dict(), allow_nan=False))
    else:
        _show(found)
    if out is not None:
        _draw(found, out)
        if not as_json:
            click.echo(f"picture: {out}")
    if not as_json:
        _show_next(found, sys.argv[1:])


def _show(found: RangeTest) -> None:
    """Some steps of the test, evenly over the rates, and what to take from them."""
    n = len(found.rates)
    shown = sorted({round(i * (n - 1) / (ROWS - 1)) for i in range(ROWS)}) if n else []
    highest = max((found.smoothed[i] for i in shown), default=1.0) or 1.0
    click.secho("    rate    loss  smoothed", bold=True)
    for i in shown:
        bar = "█" * round(30 * found.smoothed[i] / highest)
        numbers = f"{found.rates[i]:8.1e}  {found.losses[i]:6.3f}    {found.smoothed[i]:6.3f}"
        click.echo(f"{numbers}  {click.style(bar, fg='blue')}")
    over = count(found.n_images, "train image")
    click.echo(f"{count(n, 'step')} over {over}; losses in nats per image")
    click.echo(wrapped(found.reading, width_of(sys.stdout)))
    if found.steepest is not None:
        click.echo(f"steepest descent      {found.option} {found.steepest:.1e}")
    if found.tenth is not None:
        click.echo(f"a tenth of the least  {found.option} {found.tenth:.1e}")


def _show_next(found: RangeTest, typed: Sequence[str]) -> None:
    """The line that trains, with the smaller of the two rates: it is the safer start."""
    rates = [rate for rate in (found.steepest, found.tenth) if rate is not None]
    rate = [found.option, f"{min(rates):.1e}"] if rates else []
    rest = _without_out(typed[typed.index("lr-find") + 1 :] if "lr-find" in typed else typed)
    has_method = any(word.partition("=")[0] == "--method" for word in rest)
    method = [] if has_method else ["--method", found.method]
    click.echo("Next    " + shlex.join(["regraft", "train", *rest, *method, *rate]))


def _without_out(typed: Sequence[str]) -> list[str]:
    """As it was typed, without what a train does not take or takes otherwise."""
    kept: list[str] = []
    words = iter(typed)
    for word in words:
        if word == "--out":
            next(words, None)
        elif not word.startswith("--out="):
            kept.append(word)
    return kept


def _draw(found: RangeTest, out: str) -> None:
    from regraft.report import figures

    marks = {"steepest": found.steepest, "a tenth of the least": found.tenth}
    figures.rate_curve(
        found.rates,
        found.losses,
        found.smoothed,
        out,
        marks={name: rate for name, rate in marks.items() if rate is not None},
        n_images=found.n_images,
    )
