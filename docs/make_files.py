"""Writes the map of all files in docs/architecture.md from their docstrings; a test compares."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "architecture.md"
START, END = "<!-- files: written by `make docs` -->\n", "<!-- end of files -->\n"
WIDTH = 100


def page() -> str:
    """docs/architecture.md with the map as it should be."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    return before + START + "\n" + "\n".join(rooms()) + "\n" + END + rest.partition(END)[2]


def rooms() -> Iterator[str]:
    """A room as a block: its files, and what each is for."""
    files = sorted((ROOT / "src" / "regraft").rglob("*.py"), key=lambda path: (path.parent, path))
    for folder, inside in groupby(files, key=lambda path: path.parent):
        yield f"```text\n{folder.relative_to(ROOT / 'src').as_posix()}/"
        for path in inside:
            head = f"  {path.name:24} "
            words = textwrap.wrap(purpose(path), WIDTH - len(head))
            yield head + ("\n" + " " * len(head)).join(words)
        yield "```\n"


def purpose(path: Path) -> str:
    """The first sentence of a file's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    first = " ".join(text.partition("\n\n")[0].split())
    return first.partition(". ")[0].rstrip(".:")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
