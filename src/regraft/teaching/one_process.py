"""A taught folder is changed by one process at a time; the right to it goes with the process."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

from regraft.errors import UsageError
from regraft.teaching.names import OWN


def only_one(folder: Path) -> Lock:
    """The right to change a folder, as long as it is open.

    Raises
    ------
    UsageError
        Another process has it, or the folder cannot be written.
    """
    try:
        (folder / OWN).mkdir(parents=True, exist_ok=True)
        return Lock(folder / OWN / "lock")
    except OSError as error:
        raise UsageError(
            f"the folder {str(folder)!r} cannot be used: {(error.strerror or str(error)).lower()}",
            cure="a folder that you may write to",
        ) from error


class Lock:
    """Held by one process at a time; gone with it, however it ends."""

    def __init__(self, path: Path) -> None:
        self._stream = open(path, "a+b")  # noqa: SIM115
        try:
            _lock(self._stream)
        except OSError as error:
            self._stream.close()
            raise UsageError(
                f"another process teaches {str(path.parent.parent)!r}",
                cure="look for its page, or stop it",
            ) from error

    def close(self) -> None:
        """Let another process have it."""
        self._stream.close()


def _lock(stream: IO[bytes]) -> None:
    """OSError if another process has it."""
    if os.name == "nt":
        import msvcrt

        stream.seek(0)
        msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    else:
        import fcntl

        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
