"""`regraft calibrate`."""

from __future__ import annotations

import click

from regraft.cli import options


@click.command(short_help="let a saved model say what it does not know")
@click.argument("model")
@click.argument("data")
@click.option(
    "--split",
    type=click.Choice(["train", "val", "test"]),
    help="Which split of DATA calibrates. Default: all images that the model has not learnt from.",
)
@options.columns
@options.no_store
@options.offline
@options.output
def command(
    model: str, data: str, split: str | None, no_store: bool, offline: bool, as_json: bool,
    quiet: bool, **columns: str | None,
) -> None:  # fmt: skip
    """Give MODEL what predict's --coverage, --reject and --precision need, from labelled DATA.

    For a model that was saved before there was such a thing, that learnt from all images it had,
    or that will see other images than it was taught with. Its answers stay as they are. Only
    images that it has not learnt from count; those that it has are told by their content.

    \b
      regraft calibrate runs/NAME more/
    """
    from regraft.console import progress
    from regraft.console.calibrated import show_calibrated
    from regraft.workflows import calibrating

    options.require_model_first("calibrate", model, (data,))
    with progress.listening(quiet=quiet, after="calibrating") as listener:
        found = calibrating.calibrate(
            model, data, split=split, columns=columns, uses_store=not no_store, offline=offline,
            listener=listener,
        )  # fmt: skip
    show_calibrated(found, as_json=as_json)
