"""`regraft serve`: what is served and where, on stderr; stdout has its log."""

from __future__ import annotations

from regraft.console.lines import say_plain
from regraft.data.table import quoted
from regraft.listener import Doing
from regraft.server.guard import Doors, is_loopback
from regraft.server.models import Models, Served
from regraft.wording import percent, printable


def say(text: str) -> None:
    """One line before anything that takes seconds."""
    say_plain(text, lead="regraft: ")


def say_what_must_be_known(text: str) -> None:
    """As `say`, without what only says what goes on."""
    if not isinstance(text, Doing):
        say(text)


def show_ready(url: str, models: Models, doors: Doors) -> None:
    """Which models answer, where, and who may ask."""
    for served in models.by_name.values():
        say(in_words(served))
    show_address(url, models, doors)


def show_address(url: str, models: Models, doors: Doors) -> None:
    """Where it answers, and who may ask."""
    page = f"{url}/#token={doors.token}" if doors.token else f"{url}/"
    say(f"ready at {page}  (Ctrl-C stops)")
    if not is_loopback(doors.host):
        say(
            "everyone who reaches this machine and knows the token can ask"
            if doors.token
            else "everyone who reaches this machine can ask: --token SECRET asks them for one"
        )


def in_words(served: Served) -> str:
    """One line on a model."""
    model = served.classifier
    score = f", {percent(model.test_score.value)} of its test right" if model.test_score else ""
    return f"{served.name}: {printable(quoted(model.classes))}{score}"
