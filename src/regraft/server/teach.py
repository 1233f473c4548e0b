"""The story of `regraft teach`: a folder that is looked at, an address, a page, until a signal."""

from __future__ import annotations

import os
import shlex
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from regraft.backbones import catalog
from regraft.data.image_files import has_image_name
from regraft.data.table import quoted
from regraft.errors import UsageError
from regraft.features import side_by_side
from regraft.model.config_file import CONFIG
from regraft.record import run_folder
from regraft.server import address
from regraft.server.guard import Doors
from regraft.server.logs import Log
from regraft.server.trying import prepare_maps
from regraft.teaching.classroom import Classroom
from regraft.wording import near_names


def teach(
    folder: str | os.PathLike[str],
    *,
    backbone: str = "default",
    offline: bool = False,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    allowed_hosts: Sequence[str] = (),
    say: Callable[[str], None] = lambda text: None,
    note_bug: Callable[[str], None] = lambda text: None,
    on_ready: Callable[[str, Classroom, Doors], None] = lambda url, room, doors: None,
) -> bool:
    """Teach a folder in the browser until SIGTERM or Ctrl-C; whether all that was asked was done.

    Parameters
    ----------
    folder : path
        Of class folders, of unsorted pictures, or empty; made if missing.
    backbone : str
        The network that looks at the pictures.
    offline : bool
        Download nothing.
    host, port, token, allowed_hosts
        As of `serving.serve`.
    say : callable(text)
        Hears one line before anything that takes seconds.
    note_bug : callable(text)
        Hears the traceback of what should not happen.
    on_ready : callable(url, room, doors)
        Called when the first request can come.

    Raises
    ------
    UsageError, DataError, BackboneError
        As `Classroom`, `address.bound` and `side_by_side.locate`.
    """
    _require_no_run(Path(folder))
    _require_no_file(Path(folder))
    listener = address.bound(host, port)
    with listener:
        built = side_by_side.locate(catalog.resolve(backbone), offline=offline, say=say)
        if not os.path.lexists(folder):
            say(f"{os.fspath(folder)} is made: there was no such folder{_meant(Path(folder))}")
        say(f"looking at what lies in {os.fspath(folder)}")
        from regraft.server import metrics, running, teach_app

        with Classroom(folder, built, note_bug=note_bug) as room:
            doors = Doors.of(host, allowed_hosts, token, teach_app.OPEN_PATHS)
            drain, log = running.Drain(), Log(None)
            site = teach_app.Teaching(room, doors, log, metrics.Metrics(), drain)
            room.start()
            threading.Thread(target=prepare_maps, args=(built,), daemon=True).start()
            url = address.address_of(listener, host)
            try:
                return running.run(
                    site.application(), listener, limits=teach_app.LIMITS, log=log, drain=drain,
                    on_ready=lambda: on_ready(url, room, doors),
                )  # fmt: skip
            finally:
                site.close()


def _require_no_run(folder: Path) -> None:
    """Runs and models hold pictures of reports, which are nobody's to label."""
    is_model = (folder / CONFIG).is_file()
    if is_model or run_folder.record_in(folder) is not None:
        kind = "model" if is_model else "run"
        raise UsageError(
            f"{str(folder)!r} is a {kind} of Regraft, no folder of photographs",
            cure="regraft teach FOLDER: the folder of the pictures, or a new one",
        )


def _require_no_file(folder: Path) -> None:
    """A picture, or another file, that was typed where a folder belongs; or a slip in its name."""
    if os.path.isdir(folder):
        return
    is_file = os.path.lexists(folder)
    if is_file or has_image_name(folder.name):
        what = "is a file" if is_file else "does not exist, and has the name of a picture"
        above = os.path.dirname(folder) or os.curdir
        raise UsageError(
            f"{str(folder)!r} {what}; what is taught is a folder",
            cure=shlex.join(["regraft", "teach", above]),
        )


def _meant(folder: Path) -> str:
    """Folders beside one that is made, whose names are near; '' if there are none."""
    try:
        beside = [entry.name for entry in os.scandir(folder.parent) if entry.is_dir()]
    except (OSError, ValueError):
        return ""
    near = [str(folder.parent / name) for name in near_names(folder.name, beside, cutoff=0.8)]
    return f"; if another was meant, stop with Ctrl-C: {quoted(near)}" if near else ""
