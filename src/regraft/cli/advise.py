"""`regraft advise`."""

from __future__ import annotations

import click

from regraft.choosing.way import BACKBONES_TRIED, names_in
from regraft.cli import options
from regraft.record import configuration


@click.command(short_help="which way to take, and what each would cost")
@click.argument("data")
@click.option(
    "--backbones",
    default=",".join(BACKBONES_TRIED),
    show_default=True,
    metavar="A,B,...",
    help="Networks to choose from; the first one measures.",
)
@options.offline
@options.device
@options.columns
@options.scale
@options.test_fraction
@options.seed
@options.output
def command(
    data: str, backbones: str, offline: bool, as_json: bool, quiet: bool, **settings: object
) -> None:
    """Say which way to take for DATA, by what one probe measures on train; learn nothing more.

    The tutorials' scenario with its numbers, whether more images would help, each way with its bill
    and what it may win, and the command of the one to take. The test is not looked at.

    \b
      regraft advise photos/
      regraft advise photos/ --backbones default,lite2 --json
    """
    from regraft.console import progress
    from regraft.console.advice import show_advice
    from regraft.workflows import advising

    networks = names_in(backbones, option="--backbones")
    config = configuration.RunConfig.from_dict({"data": data, "backbone": networks[0], **settings})
    options.require_usable(config)
    with progress.listening(quiet=quiet, after="measuring") as listener:
        found = advising.advise(config, backbones=networks, offline=offline, listener=listener)
    show_advice(found, as_json=as_json)
