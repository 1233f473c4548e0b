"""A picture's bytes, whole: of a regular file, of a shard's member, of an object elsewhere."""

from __future__ import annotations

import os
import stat

from regraft.data.stored import is_stored, read_stored
from regraft.errors import DecodeError

MAX_BYTES = 2**30  # of a file: it is held whole in memory


def read_file(path: str | os.PathLike[str]) -> bytes:
    """Content of a regular file, a shard's member or an address; waits on no pipe or device.

    Raises
    ------
    DecodeError
        If the path is not a readable regular file of at most 1 GiB (``MAX_BYTES``), or what lies
        elsewhere cannot be read.

    Examples
    --------
    >>> read_file("/dev/zero")
    Traceback (most recent call last):
        ...
    regraft.errors.DecodeError: not a regular file: a device
      cure:  leave it out
    """
    if is_stored(path):
        return read_stored(os.fspath(path))
    try:
        _refuse_special(os.stat(path))
        with open(path, "rb", opener=_open_without_waiting) as file:
            info = os.fstat(file.fileno())
            _refuse_special(info)  # it may have been exchanged meanwhile
            return file.read(info.st_size + 1)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # Windows has no such flag


_SPECIAL = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def _refuse_special(info: os.stat_result) -> None:
    if not stat.S_ISREG(info.st_mode):
        kind = _SPECIAL.get(stat.S_IFMT(info.st_mode), "something else")
        raise DecodeError(f"not a regular file: {kind}", cure="leave it out")
    if info.st_size > MAX_BYTES:
        rule = f"the file has {info.st_size:,} bytes; at most {MAX_BYTES:,} are read"
        raise DecodeError(rule, cure="make the picture smaller")


def _unreadable(path: str | os.PathLike[str], error: OSError | ValueError) -> DecodeError:
    if isinstance(error, FileNotFoundError):
        if os.path.islink(path):
            return DecodeError("a link to a file that does not exist", cure="restore its target")
        return DecodeError("the file does not exist", cure="was it moved while Regraft ran?")
    if isinstance(error, PermissionError):
        return DecodeError("no permission to read the file", cure="chmod u+r FILE")
    if isinstance(error, IsADirectoryError):
        return DecodeError("not a regular file: a directory", cure="leave it out")
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return DecodeError(f"the file cannot be read ({reason})", cure="check the disk and the path")
