"""`regraft layers`: how far each stage carries, as a table, a reading and a picture."""

from __future__ import annotations

from typing import Any

from rich.markup import escape

from regraft.choosing import layer_curve
from regraft.console.screen import bare_table, hang, print_json, stdout
from regraft.console.wording import literal
from regraft.wording import count, percent


def show_layers(curve: Any, *, out: str | None, as_json: bool) -> None:
    """A bar for each stage, and what the curve says; the picture if a file is named."""
    if out is not None:
        layer_curve.draw(curve.points, curve.n_images, out)
    if as_json:
        print_json(curve.to_dict())
        return
    table = bare_table()
    table.add_column("stage")
    table.add_column("")
    table.add_column("cross-validated accuracy", justify="right")
    best = max(point["accuracy"] for point in curve.points)
    for point in curve.points:
        bar = "█" * round(30 * point["accuracy"])
        style = "bold green" if point["accuracy"] == best else ""
        table.add_row(point["tap"], f"[blue]{bar}[/]", percent(point["accuracy"]), style=style)
    screen = stdout()
    screen.print(table)
    images = count(curve.n_images, "train image")
    hang(screen, "", f"n = {images}, each scored by a fit that did not see it", indent=0)
    hang(screen, "", escape(layer_curve.read(curve.points, curve.n_images).words), indent=0)
    if out is not None:
        screen.print(f"picture: {literal(out)}", soft_wrap=True)
