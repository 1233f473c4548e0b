"""`regraft show`."""

from __future__ import annotations

import click

from regraft.cli import options
from regraft.record import configuration
from regraft.wording import count


@click.command(short_help="what the network will see of your pictures")
@click.argument("data")
@click.option(
    "--out",
    default="show.png",
    show_default=True,
    metavar="FILE",
    help="Where the picture goes (PNG, SVG or PDF).",
)
@click.option(
    "--n",
    type=click.IntRange(1, 40),
    default=8,
    show_default=True,
    help="How many images, spread over classes and splits.",
)
@click.option(
    "--augment",
    "presets",
    multiple=True,
    metavar="PRESET",
    help="Augmentation: none, light, standard, strong, orientation-free or upright; may be given "
    "again. One alone is shown in several views.  [default: a view of each]",
)
@options.backbone
@options.columns
@options.scale
@options.seed
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(
    data: str, out: str, n: int, presets: tuple[str, ...], offline: bool, as_json: bool,
    **settings: object,
) -> None:  # fmt: skip
    """Draw what the network will really see of DATA.

    A row for each of some images: as it is, plain (resized and cut as for every score), and in
    random views as training makes them. No weights are needed.

    \b
      regraft show photos/
      regraft show photos/ --augment light --out light.png
    """
    import os

    from regraft.console.json_line import print_json
    from regraft.console.left_out import show_left_out
    from regraft.console.progress import waiting
    from regraft.workflows import viewing

    options.require_picture(out)
    options.require_room(os.path.dirname(out) or ".")
    config = configuration.RunConfig.from_dict({"data": data, **settings})
    options.require_usable(config)
    with waiting("drawing the pictures", quiet=as_json):
        preview = viewing.look(config, n=n, presets=presets, offline=offline)
        viewing.draw(preview, out)
    if as_json:
        print_json({**preview.to_dict(), "picture": out})
        return
    show_left_out(preview.rejected)
    click.echo(f"picture: {out} ({len(preview.images)} of {count(preview.n_images, 'image')})")
