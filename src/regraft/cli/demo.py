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
    from regraft import demonstration, experiment, progress, runs
    from regraft.console.result import show_result
    from regraft.console.screen import say_aside

    data = demonstration.write_digits(folder)
    say_aside(f"the images are in {data}; this is now exactly: regraft train {data}")
    config = runs.RunConfig(str(data))
    with progress.listening(quiet=False) as listener:
        result = experiment.run(config, out=f"{folder}/runs", listener=listener)
    show_result(result, as_json=False, config=config)
    draw_report(result)
