"""`regraft export`: what was written, and how it compared."""

from __future__ import annotations

from typing import Any

from rich.markup import escape

from regraft.console.screen import hang, print_json, stdout
from regraft.console.wording import literal
from regraft.model.export_comparison import MOST_DIFFERENCE
from regraft.wording import count


def show_exported(exported: Any, *, as_json: bool) -> None:
    """On stdout: the folder, the shapes, the comparison."""
    if as_json:
        print_json(exported.to_dict())
        return
    screen, compared = stdout(), exported.compared
    screen.print(f"[bold]{literal(str(exported.folder))}[/]  {exported.target}", soft_wrap=True)
    if exported.target == "docker":
        hang(screen, "next:", "docker compose up --build, there; README.md says more")
        return
    hang(screen, "in:", escape(f"{exported.input}, RGB; decode and resize by preprocess.py"))
    hang(screen, "out:", ", ".join(exported.outputs))
    images = count(compared["images"], "real image")
    hang(
        screen,
        "apart:" if "int8" in compared else "same:",
        f"{_apart(compared)} on {images} in {compared['runtime']}{_allowed(compared)}",
    )
    if compared["from_file"]["images"]:
        grey = compared["from_file"]["grey_levels"]
        hang(screen, "files:", f"{_apart(compared['from_file'])} with preprocess.py, whose resize "
             f"is another one ({grey:.2f} grey levels apart on average)")  # fmt: skip
    if here := compared.get("predict_here"):
        hang(screen, "here:", f"{_apart(here)} from predict on this machine, which computes in "
             f"{here['precision']}")  # fmt: skip
    if int8 := compared.get("int8"):
        hang(screen, "int8:", f"{int8['in_words']}; {int8['drop']:.2f} points of accuracy lost")


def _allowed(compared: dict[str, Any]) -> str:
    """The limit that was kept; integers have one of their own, in accuracy."""
    return "" if "int8" in compared else f" (at most {MOST_DIFFERENCE:g} is allowed)"


def _apart(said: dict[str, Any]) -> str:
    flips = count(said["flips"], "other label") if said["flips"] else "no other label"
    return f"{flips}, probabilities {said['max_difference']:.2g} apart at most"
