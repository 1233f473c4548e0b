"""`regraft backbones`: a network a line, with where its weights come from and their licence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.markup import escape

from regraft.console.screen import print_json, stdout
from regraft.wording import shortened


def show_backbones(found: Sequence[Any], *, pattern: str, as_json: bool) -> None:
    """All that were found; without a pattern, how to find more."""
    if as_json:
        print_json([listed.to_dict() for listed in found])
        return
    screen = stdout()
    rows = [(one.name, _weights_in_words(one), shortened(one.licence, 16)) for one in found]
    width = max(len("name"), *(len(name) for name, _, _ in rows))
    second = max(len("weights"), *(len(weights) for _, weights, _ in rows))
    screen.print(f"[bold]{'name':{width}}  {'weights':{second}}  licence[/]", soft_wrap=True)
    for name, weights, licence in rows:
        line = f"{name:{width}}  {weights:{second}}  {licence}"
        screen.print(escape(line), soft_wrap=True)
    if not pattern:
        screen.print(
            "[dim]These need no download. regraft backbones PATTERN lists timm's, e.g. 'resnet*';\n"
            "local-dir:FOLDER, hf-hub:OWNER/REPO and --weights FILE work too.[/]"
        )


def _weights_in_words(listed: Any) -> str:
    if listed.weights.startswith("hf-hub"):
        return "hf-hub"
    return str(listed.weights) + ("" if listed.is_here else " (not installed)")
