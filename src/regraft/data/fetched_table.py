"""A table elsewhere, as a file here while it is read; what is said of it names its address."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from regraft.data import remote
from regraft.errors import DecodeError, TableError


@contextmanager
def as_file(address: str) -> Iterator[str]:
    """A file of the same name with the content of an object, gone after the block.

    Errors that name the file name the address instead: nobody knows the file, and it is gone.

    Raises
    ------
    DecodeError
        It cannot be read; see :func:`regraft.data.remote.read`.
    """
    with tempfile.TemporaryDirectory(prefix="regraft-") as folder:
        file = os.path.join(folder, address.rpartition("/")[2])
        with open(file, "wb") as stream:
            stream.write(remote.read(address))
        try:
            yield file
        except TableError as error:
            rule, place, cure = (
                text.replace(file, address) for text in (error.rule, error.place, error.cure)
            )
            raise TableError(rule, place=place, cure=cure, **error.facts) from None


def require_read(error: DecodeError, address: str) -> None:
    """Raise what kept a table from being read, unless it is only not there.

    Stores answer 403 for what is not there to those who may not list.
    """
    if not remote.is_missing(error) and "permission denied" not in error.rule:
        raise TableError(
            f"the table cannot be read: {error.rule}", place=address, cure=error.cure
        ) from error
