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

    show_backbones(listing.find(pattern), pattern=pattern, as_json=as_json)
