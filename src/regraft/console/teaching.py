"""`regraft teach`: what is taught and where its page is, on stderr; a browser where people sit."""

from __future__ import annotations

import contextlib
import sys
import webbrowser
from collections.abc import Callable

from regraft.console.served import say
from regraft.server.guard import Doors, is_loopback
from regraft.teaching.classroom import Classroom
from regraft.teaching.disk import in_words
from regraft.wording import count, printable

__all__ = ["note_bug", "say", "showing"]


def note_bug(text: str) -> None:
    """A traceback as it is."""
    print(text, file=sys.stderr, flush=True)


def showing(*, opens_browser: bool) -> Callable[[str, Classroom, Doors], None]:
    """What is called once the page can be opened."""

    def show(url: str, room: Classroom, doors: Doors) -> None:
        project = room.project
        n, classes = len(project.shown()), len(project.classes)
        say(
            f"{printable(str(project.folder))}: {count(n, 'picture')} in "
            f"{count(classes, 'class', 'classes')}"
        )
        if left_out := in_words(room.disk.left_out):
            say(left_out)
        page = f"{url}/#token={doors.token}" if doors.token else f"{url}/"
        say(f"ready at {page}  (Ctrl-C stops)")
        if not is_loopback(doors.host):
            say("everyone who reaches this machine" + (" and knows the token" * bool(doors.token))
                + " can see and change the folder")  # fmt: skip
        if opens_browser and sys.stderr.isatty():
            with contextlib.suppress(webbrowser.Error):
                webbrowser.open(page)

    return show
