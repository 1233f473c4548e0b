"""`regraft evaluate`."""

from __future__ import annotations

import click

from regraft.cli import options


@click.command(short_help="score a saved model on labelled images")
@click.argument("model")
@click.argument("data")
@click.option(
    "--split",
    type=click.Choice(["train", "val", "test", "all"]),
    help="Which split of DATA. Default: test, else val, else all images.",
)
@click.option(
    "--unknown",
    metavar="FOLDER",
    help="Pictures of something else: how many of them are turned away as none of the classes.",
)
@options.columns
@options.no_store
@options.keep
@options.runner
@options.offline
@options.output
def command(
    model: str, data: str, split: str | None, unknown: str | None, no_store: bool, offline: bool,
    as_json: bool, quiet: bool, runner: str, **columns: str | None,
) -> None:  # fmt: skip
    """Score MODEL (a run's model folder) on the labelled images of DATA.

    \b
      regraft evaluate runs/NAME more/
    """
    from regraft.console import progress
    from regraft.console.scored import show_scored
    from regraft.model import scoring

    options.require_model_first("evaluate", model, (data,))
    elsewhere = options.elsewhere_of(runner)
    with progress.listening(quiet=quiet, after="scoring") as listener:
        scored = scoring.evaluate_model(
            model, data, split=split, unknown=unknown, columns=columns, uses_store=not no_store,
            offline=offline, listener=listener, elsewhere=elsewhere,
        )  # fmt: skip
    show_scored(scored, as_json=as_json)
