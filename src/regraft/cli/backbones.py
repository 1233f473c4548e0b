"""`regraft backbones`."""

from __future__ import annotations

import click


@click.command(short_help="list the networks that can be used")
@click.argument("pattern", default="")
@click.option("--json", "as_json", is_flag=True, help="A JSON list on stdout.")
def command(pattern: str, as_json: bool) -> None:
    """List backbones; PATTERN is a part of a name or has wildcards ('resnet*')."""
    from regraft.backbones import listing
    from regraft.console.backbones import show_backbones
    from regraft.console.progress import waiting

    with waiting("looking through timm's networks", quiet=as_json):
        found = listing.find(pattern)
    show_backbones(found, pattern=pattern, as_json=as_json)
