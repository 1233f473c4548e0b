"""`regraft predict`."""

from __future__ import annotations

from typing import Any

import click

from regraft.cli import options


@click.command(short_help="label new images with a saved model")
@click.argument("model")
@click.argument("images", nargs=-1, required=True)
@click.option("--out", "out", metavar="FILE", help="Write the answers into a CSV file.")
@click.option(
    "--top",
    type=click.IntRange(1),
    help="Classes shown of each image.  [default: 3, without those below 0.1 %]",
)
@options.promises
@options.path_column
@options.no_store
@options.keep
@options.runner
@options.offline
@click.option("--json", "as_json", is_flag=True, help="One JSON object per image on stdout.")
@options.quiet
def command(
    model: str, images: tuple[str, ...], out: str | None, top: int | None,
    path_column: str | None, no_store: bool, offline: bool, as_json: bool, quiet: bool,
    runner: str, **levels: Any,
) -> int:  # fmt: skip
    """Label IMAGES (files, folders, manifests or archives) with MODEL, a run's model folder.

    Every image of a folder is labelled, at any depth and whatever its folders are called; of a
    manifest only the paths are read. A file that cannot be read is named with its reason, as is
    what was left out; the others are labelled. Exit code 3 only if no image can be read.

    A level (--coverage, --reject, --precision) is a share, 95% or 0.95; what each promises, and
    what not, stands in docs/unknown.md.

    \b
      regraft predict runs/NAME new/
      regraft predict runs/NAME new/ --out labels.csv --precision 95%
    """
    from regraft.console import progress
    from regraft.console.predictions import show_predictions
    from regraft.model import predicting

    if out is not None:
        options.require_folder_of(out)
        options.require_own_table(out)
    options.require_model_first("predict", model, images)
    elsewhere = options.elsewhere_of(runner)
    listener = progress.counting(quiet=quiet)
    predicted = predicting.predict(
        model,
        images,
        **levels,
        path_column=path_column,
        uses_store=not no_store,
        offline=offline,
        listener=listener,
        elsewhere=elsewhere,
    )
    show_predictions(predicted, out=out, as_json=as_json, top=top)
    return 0 if predicted.paths else 3
