"""`regraft summary`."""

from __future__ import annotations

import click

from regraft.cli import options
from regraft.training.methods import METHODS


@click.command(short_help="a network's layers, their cost, and what learns")
@click.argument("backbone", default="default")
@click.option(
    "--input",
    "input_size",
    metavar="SIZE",
    help="Size of the picture: 3x1024x1024, or 1024 for a square. Default: the network's own.",
)
@click.option(
    "--classes",
    "n_classes",
    type=click.IntRange(2),
    metavar="K",
    help="Number of classes of the head. Default: that of the network's own classifier.",
)
@click.option(
    "--method",
    type=click.Choice(list(METHODS)),
    help="Method whose trained part is counted.  [default: probe; partial with --split-point]",
)
@click.option(
    "--split-point",
    metavar="NAME",
    help="First module that learns, such as blocks.5 or layer4 (partial).",
)
@click.option(
    "--depth",
    type=click.IntRange(1),
    default=2,
    show_default=True,
    help="How deep the table goes: layer1.0 is at depth 2.",
)
@click.option(
    "--weights",
    metavar="FILE",
    help="Weights file, as for `regraft train`; only its name is looked at.",
)
@options.offline
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, all layers.")
def command(depth: int, as_json: bool, **settings: object) -> None:
    """Show what BACKBONE is made of, without its weights.

    Each layer with the shape of its output, its parameters and its multiply-adds for one picture;
    where the network can be cut; what a method would train, and the memory that this takes.

    \b
      regraft summary resnet50 --input 3x1024x1024 --classes 5
      regraft summary default --method partial --split-point blocks.5
    """
    from regraft.console.network import show_network
    from regraft.console.progress import waiting
    from regraft.workflows import summary

    with waiting("building the network without its weights", quiet=as_json):
        found = summary.summarise(**settings)  # type: ignore[arg-type]
    show_network(found, depth=depth, as_json=as_json)
