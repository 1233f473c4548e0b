"""A page of this room: a template filled, with all that it needs inside, and written whole.

Names are escaped by the templates, and each page's own policy (Content-Security-Policy) forbids it
to load or run anything but what it holds.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from regraft import wording
from regraft.choosing.difference import points
from regraft.errors import UsageError
from regraft.machine import atomic
from regraft.report import drawings
from regraft.report.chart import plain
from regraft.report.pictures import data_uri

TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, **context: Any) -> str:
    """A template of this room, filled; everything that is not Markup is escaped."""
    return compiled(template).render(**_shared(), **context)


def publish(html: str, file: Path) -> Path:
    """Written whole or not at all.

    Raises
    ------
    UsageError
        It cannot be written there.
    """
    try:
        with atomic.file(file) as part:
            # A name that is no UTF-8 carries its bytes as surrogates.
            part.write_text(html, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UsageError(
            f"the page cannot be written: {error.strerror}",
            place=str(file),
            cure="choose another place with --out",
        ) from error
    return file


def _shared() -> dict[str, Any]:
    """Style, script, and the policy that names the script by its digest."""
    style, script = (
        (TEMPLATES / name).read_text(encoding="utf-8") for name in ("style.css", "script.js")
    )
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    return {
        "style": Markup(style),
        "script": Markup(script),
        "policy": policy,
        "draw": drawings,
        "data_uri": data_uri,
    }


def compiled(template: str) -> Template:
    """A template, which is compiled when it is first asked for: 0.1 s."""
    return _environment().get_template(template)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=_percent,
        plain=plain,
        ms=_seconds,
        sentence=_sentence,
        points=points,
        count=wording.count,
    )
    return environment


def _percent(value: Any) -> str:
    """Of a share, or of an estimate as metrics.json has it."""
    share = value["value"] if isinstance(value, Mapping) else value
    return wording.percent(share).replace(" %", "\N{NO-BREAK SPACE}%")


def _sentence(words: str) -> str:
    """With a large letter at its start and a full stop at its end."""
    return words[:1].upper() + words[1:].rstrip(".") + "." if words else ""


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value < 100 else f"{value / 60:.1f} min"
