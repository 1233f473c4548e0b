"""What may be shown and kept of an address: without a password, and without a signature."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from regraft.errors import TableError

ANY_ADDRESS = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.-]+://")


def shown(address: str) -> str:
    """An address without what may be secret in it; other text as it is.

    Examples
    --------
    >>> shown("FTP://me:secret@host/1.jpg?signature=x"), shown("a b@c?.jpg")
    ('FTP://host/1.jpg', 'a b@c?.jpg')
    """
    if not ANY_ADDRESS.match(address):
        return address
    scheme, _, rest = address.strip().partition("://")
    host, slash, path = re.split(r"[?#]", rest)[0].partition("/")
    if "@" in path and ":" in host:  # a password with a slash in it
        host, slash, path = path.rpartition("@")[2].partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def require_plain(addresses: Iterable[str], place: str) -> None:
    """Refuse addresses that carry a password or a signature; the value is not repeated.

    Examples
    --------
    >>> require_plain(["https://me:secret@host/1.jpg"], "list.csv")
    Traceback (most recent call last):
    regraft.errors.TableError: an address carries a password or a query, which would be written ...
      where: list.csv, https://host/1.jpg
      cure:  give s3://, gs:// or az:// addresses; credentials come from the environment, as each...
    """
    for address in addresses:
        if not any(letter in address for letter in "@?#") or not ANY_ADDRESS.match(address):
            continue
        if _is_secret(address.strip()):
            raise TableError(
                "an address carries a password or a query, which would be written into tables "
                "and reports",
                place=f"{place}, {shown(address)}",
                cure="give s3://, gs:// or az:// addresses; credentials come from the "
                "environment, as each cloud has them",
            )


def _is_secret(address: str) -> bool:
    """Whether it has a password or a query; names of objects may have a question mark in them."""
    try:
        parts = urlsplit(address)
        parts.port  # noqa: B018 - no number where a password with a slash in it begins
    except ValueError:
        return True
    has_query = bool(parts.query) and parts.scheme not in ("s3", "gs")
    return parts.username is not None or has_query
