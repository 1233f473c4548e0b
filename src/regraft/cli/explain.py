"""`regraft explain`."""

from __future__ import annotations

import click

from regraft.cli import options


@click.command(short_help="where a saved model looks, as pictures and numbers")
@click.argument("model")
@click.argument("images", nargs=-1, required=True)
@click.option(
    "--out",
    default="explained",
    show_default=True,
    metavar="FOLDER",
    help="Folder for an image of each picture, and maps.json.",
)
@click.option(
    "--method",
    type=click.Choice(["auto", "cam", "gradcam", "occlusion"]),
    default="auto",
    show_default=True,
    help="How the map is made; auto takes the first of the others that the model allows.",
)
@click.option("--label", metavar="NAME", help="Explain this class.  [default: the predicted one]")
@click.option(
    "--top",
    default=3,
    show_default=True,
    type=click.IntRange(0),
    help="How many of the nearest training images are named.",
)
@options.path_column
@options.no_store
@options.offline
@click.option("--json", "as_json", is_flag=True, help="One JSON object per image on stdout.")
@options.quiet
def command(
    model: str, images: tuple[str, ...], out: str, method: str, label: str | None, top: int,
    path_column: str | None, no_store: bool, offline: bool, as_json: bool, quiet: bool,
) -> int:  # fmt: skip
    """Show which places of IMAGES (files, folders, manifests or archives) speak for their label.

    \b
    cam         the score itself, divided over the places it is a sum of
    gradcam     the score's gradient at the network's last map, times the map
    occlusion   what the label loses when a place is hidden

    MODEL is a run's model folder. Every image of a folder is explained, at any depth and whatever
    its folders are called; of a manifest only the paths are read. A file that cannot be read is
    named with its reason, as is what was left out. Exit code 3 only if no image can be read.

    \b
      regraft explain runs/NAME new/1.jpg
    """
    from regraft.console import progress
    from regraft.console.explained import show_explained
    from regraft.workflows import explaining

    options.require_model_first("explain", model, images)
    options.require_room(out)
    options.require_folder_of_its_own(out, marked_by="maps.json")
    with progress.listening(quiet=quiet, after="explaining") as listener:
        explained = explaining.explain(
            model, images, out=out, method=method, label=label, top=top,
            path_column=path_column, uses_store=not no_store, offline=offline, listener=listener,
        )  # fmt: skip
    show_explained(explained, as_json=as_json)
    return 0 if explained.images else 3
