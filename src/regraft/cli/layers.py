"""`regraft layers`."""

from __future__ import annotations

import click

from regraft.cli import options
from regraft.record import configuration


@click.command(short_help="how far each stage of the network carries")
@click.argument("data")
@options.backbone
@options.look
@options.columns
@options.scale
@click.option("--out", metavar="FILE", help="Write the picture there (PNG, SVG or PDF).")
@options.seed
@options.output
def command(
    data: str, out: str | None, offline: bool, as_json: bool, quiet: bool, **settings: object
) -> None:
    """Measure on train how well a head does on each stage of the network alone.

    A curve that peaks at the end: DATA is like what the network learnt on. A peak before the end:
    DATA is unlike it, and its earlier stages serve better than its last.

    \b
      regraft layers photos/
    """
    from regraft.console import progress
    from regraft.console.layers import show_layers
    from regraft.workflows import survey

    if out is not None:
        options.require_picture(out)
    config = configuration.RunConfig.from_dict({"data": data, **settings})
    options.require_usable(config)
    with progress.listening(quiet=quiet, after="measuring the stages") as listener:
        curve = survey.layers(config, offline=offline, listener=listener)
    show_layers(curve, out=out, as_json=as_json)
