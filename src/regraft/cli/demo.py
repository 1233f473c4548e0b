"""`regraft demo`."""

from __future__ import annotations

import click

from regraft.cli.train import draw_report
from regraft.record import configuration


@click.command(short_help="the main job on real images that come along")
@click.option(
    "--folder", default="regraft-demo", show_default=True, help="Where the images are written."
)
def command(folder: str) -> None:
    """Write 1,797 real handwritten digits as an image folder, then train on it.

    They are very unlike the photographs that the network learnt on, so the layer curve peaks
    before its end.
    """
    from regraft.console import progress
    from regraft.console.result import show_result
    from regraft.console.screen import say_aside
    from regraft.data import digits
    from regraft.workflows import experiment

    data = digits.write_digits(folder)
    say_aside(f"the images are in {data}; this is now exactly: regraft train {data}")
    config = configuration.RunConfig(str(data))
    with progress.listening(quiet=False) as listener:
        result = experiment.run(config, out=f"{folder}/runs", listener=listener)
    show_result(result, config=config)
    draw_report(result)
