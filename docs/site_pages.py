"""Pages of the documentation's site that lie outside docs/: the README is its first one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    "index.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
}


def on_files(files: Files, config: Any) -> Files:
    """Adds them, their links turned into those of the site."""
    for page, source in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=within_site(text)))
    return files


def within_site(text: str) -> str:
    """A page's text with the links that it has there.

    >>> within_site("[a](docs/methods.md#b), [c](CONTRIBUTING.md), [d](https://e.org/docs/f.md)")
    '[a](methods.md#b), [c](contributing.md), [d](https://e.org/docs/f.md)'
    """
    names = {source: page for page, source in PAGES.items()}

    def turned(match: re.Match[str]) -> str:
        target = match[1].removeprefix("docs/")
        return f"]({names.get(target, target)}"

    return re.sub(r"\]\(((?!\w+:)[^)#]+)", turned, text)
