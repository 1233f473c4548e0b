"""`regraft check`."""

from __future__ import annotations

import click

from regraft.cli import options
from regraft.record import configuration


@click.command(short_help="what is in a folder, and what is wrong with it")
@click.argument("data")
@click.option("--quick", is_flag=True, help="Look at names and labels only; read no pixels.")
@options.backbone
@options.look
@options.columns
@options.scale
@options.seed
@options.keep
@options.runner
@options.output
def command(
    data: str,
    quick: bool,
    offline: bool,
    as_json: bool,
    quiet: bool,
    runner: str,
    **settings: object,
) -> int:
    """Say what is in DATA, what is wrong with it, and what to do about it.

    Every file is decoded once. Exit code 3 only for what would make a result wrong.

    \b
      regraft check photos/
    """
    from regraft.console import progress
    from regraft.console.checked import show_check
    from regraft.workflows import survey

    config = configuration.RunConfig.from_dict({"data": data, **settings})
    options.require_usable(config)
    elsewhere = options.elsewhere_of(runner)
    with progress.listening(quiet=quiet, after="looking for problems") as listener:
        checked = survey.check(
            config, quick=quick, offline=offline, listener=listener, elsewhere=elsewhere
        )
    show_check(checked, as_json=as_json, config=config)
    return 3 if checked.has_errors else 0
