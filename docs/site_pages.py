"""The documentation's site: pages that lie outside docs/ (the README is the first), and tables."""

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


def on_page_content(html: str, **_: Any) -> str:
    """Code in tables may break after punctuation, so that it need not break within a word."""
    return re.sub(r"<td[^>]*>.*?</td>", lambda cell: with_breaks(cell[0]), html, flags=re.DOTALL)


def with_breaks(cell: str) -> str:
    """A cell of a table: long words of code have places to break at, and options do not break.

    >>> with_breaks("<code>runs/first/predictions.csv</code>")
    '<code>runs/<wbr>first/<wbr>predictions.<wbr>csv</code>'
    >>> with_breaks("<code>--no-report</code>")
    '<code><span class="whole">--no-report</span></code>'
    """

    def turned(code: re.Match[str]) -> str:
        parted = re.sub(r"\S{12,}", parts, code[0])
        return re.sub(r"--[a-z][a-z-]*", r'<span class="whole">\g<0></span>', parted)

    def parts(word: re.Match[str]) -> str:
        return re.sub(r"([/(,=._:|])(?=.)", r"\1<wbr>", word[0])

    return re.sub(r"(?<=<code>)[^<]*", turned, cell)
