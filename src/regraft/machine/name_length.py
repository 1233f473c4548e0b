"""Names that are too long for the disk, refused before any work and not after it."""

from __future__ import annotations

import contextlib
import os

from regraft.errors import UsageError
from regraft.wording import shortened

# Of nearly every file system; counted in bytes by most.
USUAL_LIMIT = 255


def require_short_names(path: str | os.PathLike[str], option: str) -> None:
    """Refuse a path of which a part is longer than the disk allows.

    Parameters
    ----------
    path : path
        It need not exist.
    option : str
        What it was given by: '--out'.

    Raises
    ------
    UsageError

    Examples
    --------
    >>> require_short_names("runs/" + 256 * "a", "--run")
    Traceback (most recent call last):
    regraft.errors.UsageError: the name 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…' of --run is ...
    """
    limit = _limit_at(os.fspath(path))
    for name in os.fspath(path).split(os.sep):
        n_bytes = len(os.fsencode(name))
        if n_bytes > limit:
            raise UsageError(
                f"the name {shortened(name, 40)!r} of {option} is {n_bytes} bytes long; this disk "
                f"allows {limit}",
                cure=f"give a shorter name with {option}",
            )


def _limit_at(path: str) -> int:
    """Bytes that a name may have where the path goes."""
    there = os.path.abspath(path)
    while not os.path.lexists(there):  # what is too long does not exist either
        there = os.path.dirname(there)
    with contextlib.suppress(OSError, ValueError, AttributeError):  # Windows cannot be asked
        return os.pathconf(there, "PC_NAME_MAX")
    return USUAL_LIMIT
