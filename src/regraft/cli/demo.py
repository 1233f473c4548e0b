"""`regraft demo`."""

from __future__ import annotations

import click

from regraft.cli.train import draw_report


@click.command(short_help="the main job on real images that come along")
@click.option(
    "--folder", default="regraft-demo", show_default=True, help="Where the images are written."
)
def command(folder: str) -> None:
    """Write 1,797 real handwritten digits as an image folder, then train on it.

    They are very unlike the photographs that the network learnt on, so the layer curve peaks
    before its end.
    """
    from regraft import console, demonstration, experiment, progress, runs

    data = demonstration.write_digits(folder)
    console.say_next(f"the images are in {data}; this is now exactly: regraft train {data}")
    config = runs.RunConfig(str(data))
    with progress.listening(quiet=False) as listener:
        result = experiment.run(config, out=f"{folder}/runs", listener=listener)
    console.show_result(result, as_json=False, config=config)
    draw_report(result)
