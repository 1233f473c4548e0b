"""`regraft compare`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import click

from regraft.choosing.way import Way, is_several, known_backbones, methods_in, names_in, ways_of
from regraft.cli import options
from regraft.errors import BackboneError, UsageError
from regraft.record import configuration
from regraft.training.methods import METHODS
from regraft.training.settings import RECIPES
from regraft.wording import listed


@click.command(short_help="several ways on the same data, side by side")
@click.argument("data")
@click.option(
    "--ways",
    default="probe,partial",
    show_default=True,
    metavar="A,B,...",
    help="Methods to compare: probe, head, partial, full, scratch.",
)
@click.option(
    "--backbones",
    default="default",
    show_default=True,
    metavar="A,B,...",
    help="Networks to compare.",
)
@click.option(
    "--seeds",
    default="0",
    show_default=True,
    metavar="A,B,...",
    help="Random seeds; each way is run with each, and more seeds tell more.",
)
@click.option(
    "--epochs",
    type=click.IntRange(0),
    help="Passes over the images, of the methods that learn by gradients.",
)
@click.option(
    "--recipe",
    type=click.Choice(RECIPES),
    default="default",
    show_default=True,
    help="Defaults of the methods that learn by gradients; tutorial: as the tutorials do.",
)
@options.offline
@options.device
@options.class_weight
@options.columns
@options.scale
@options.test_fraction
@click.option("--out", default="runs", show_default=True, metavar="DIR", help="Where runs go.")
@options.output
def command(
    data: str, ways: str, backbones: str, seeds: str, epochs: int | None, recipe: str, out: str,
    offline: bool, as_json: bool, quiet: bool, class_weight: str, **settings: object,
) -> None:  # fmt: skip
    """Run several ways on DATA and say which is best, and which is the cheapest that ties with it.

    Each is kept as a run of its own; what was run before is taken as it is, so that a comparison
    that was stopped goes on. The page compare.html shows accuracy against time.

    \b
      regraft compare photos/
      regraft compare photos/ --ways probe,partial,full --backbones default,lite2
      regraft compare photos/ --seeds 0,1,2
      regraft compare photos/ --ways head,full --recipe tutorial --epochs 5
    """
    from regraft.console import progress
    from regraft.console.compared import show_ranking
    from regraft.workflows import comparing

    methods, networks = methods_in(ways), names_in(backbones, option="--backbones")
    found, missing = known_backbones(networks)
    if not found:
        name, why = next(iter(missing.items()))
        raise BackboneError(f"no backbone can be had; {name}: {why}", cure="--backbones default")
    given = {"class_weight": None if class_weight == "none" else class_weight, **settings}
    config = configuration.RunConfig.from_dict({"data": data, **given})
    options.require_usable(config)
    options.require_room(out)
    given_recipe = {} if recipe == "default" else {"recipe": recipe}
    tried = [_with_epochs(way, epochs) for way in ways_of(methods, found)]
    beside = _not_ways(methods, found)
    if epochs is not None and not any(way.trains for way in tried):
        raise UsageError(
            f"--epochs {epochs} would change nothing: no way in --ways learns by gradients",
            cure="leave it out, or add one that does: --ways probe,partial",
        )
    if not tried:
        raise UsageError(beside, cure="--ways probe, or a single network in --backbones")
    with progress.listening(quiet=quiet, after="") as listener:
        for name, why in missing.items():
            listener.say(f"{name} is left out: {why}")
        if beside:
            listener.say(f"left out: {beside}")
        ranking, folder = comparing.compare(
            config, tried, seeds=_seeds(seeds), out=out, settings=given_recipe, offline=offline,
            listener=listener,
            absent=[(way, missing[way.backbone]) for way in ways_of(methods, list(missing))],
            on_row=lambda way, seed, metrics: listener.say(comparing.row_in_words(way, metrics)),
        )  # fmt: skip
    show_ranking(ranking, folder / comparing.PAGE, as_json=as_json)


def _not_ways(methods: Sequence[str], backbones: Sequence[str]) -> str:
    """That some methods are for one network, where several side by side were asked for too."""
    several = [name for name in backbones if is_several(name)]
    moving = [name for name in methods if METHODS[name].trains]
    if not several or not moving:
        return ""
    return f"{listed(moving)} on {listed(several)}: what learns by gradients moves one network"


def _seeds(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) < 2**32 for part in parts):
        raise UsageError(
            f"--seeds must be whole numbers with commas between them, got {text!r}",
            cure="--seeds 0,1,2",
        )
    return list(dict.fromkeys(map(int, parts)))


def _with_epochs(way: Way, epochs: int | None) -> Way:
    return replace(way, epochs=epochs) if way.trains else way
