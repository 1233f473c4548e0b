"""Who may ask: the names by which the server is called, the sites whose pages may ask it, a token.

A page of any site can send requests to a server on this machine, and a name that an attacker owns
can be made to mean 127.0.0.1 (DNS rebinding). So the Host header must be a name of ours, a page
must come from here, and beyond loopback a token is asked for.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from regraft.server.refusals import Refusal

# What a browser shows instead of the token where it cannot send a header: for pictures and events.
COOKIE = "regraft_session"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_SAFE = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True)
class Doors:
    """What is let in.

    Attributes
    ----------
    host : str
        Where the server is bound.
    names : frozenset of str
        Further names that it is called by, as behind a proxy.
    token : str
        Asked of every request but those to `open_paths`; empty: of none.
    open_paths : tuple of str
        Paths, or beginnings of paths that end in '/', that need no token: what tells nothing.

    Examples
    --------
    >>> doors = Doors("127.0.0.1")
    >>> doors.knows("localhost:8000"), doors.knows("[::1]:8000"), doors.knows("evil.example")
    (True, True, False)
    >>> Doors("0.0.0.0").knows("192.168.0.7"), Doors("0.0.0.0").knows("evil.example")
    (True, False)
    """

    host: str = "127.0.0.1"
    names: frozenset[str] = frozenset()
    token: str = field(default="", repr=False)
    open_paths: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, host: str, names: Iterable[str], token: str | None, open_paths: tuple[str, ...]
    ) -> Doors:
        """Doors of a server by what was typed: where no token was, one is made if others can ask.

        Examples
        --------
        >>> Doors.of("127.0.0.1", ["Photos.example"], None, ()).names
        frozenset({'photos.example'})
        >>> [bool(Doors.of(host, [], None, ()).token) for host in ("127.0.0.1", "0.0.0.0")]
        [False, True]
        """
        if token is None:
            token = "" if is_loopback(host) else secrets.token_urlsafe(24)
        return cls(host, frozenset(name.lower() for name in names), token, open_paths)

    def knows(self, host_header: str) -> bool:
        """Whether a Host header names this server."""
        name = _name_in(host_header)
        if not name:
            return False
        if name in LOOPBACK or name in self.names or name == self.host.lower():
            return True
        return not is_loopback(self.host) and (bool(self.token) or _is_of_this_machine(name))

    def needs_token(self, path: str) -> bool:
        """Whether a request to this path must show the token."""
        folders = tuple(at for at in self.open_paths if at.endswith("/") and at != "/")
        is_open = path in self.open_paths or path.startswith(folders)
        return bool(self.token) and not is_open

    def accepts(self, authorization: str) -> bool:
        """Whether an Authorization header shows the token; in constant time."""
        scheme, _, given = authorization.partition(" ")
        return scheme.lower() == "bearer" and secrets.compare_digest(
            given.strip().encode("utf-8", "replace"), self.token.encode()
        )

    @property
    def session(self) -> str:
        """The cookie's value: it tells nothing of the token."""
        return hmac.new(self.token.encode(), b"session", hashlib.sha256).hexdigest()

    def accepts_cookie(self, cookies: str) -> bool:
        """Whether a Cookie header shows the session's value; in constant time.

        Examples
        --------
        >>> doors = Doors(token="s3cret")
        >>> doors.accepts_cookie(f"a=b; {COOKIE}={doors.session}"), doors.accepts_cookie("a=b")
        (True, False)
        """
        given = dict(one.strip().partition("=")[::2] for one in cookies.split(";"))
        return secrets.compare_digest(
            given.get(COOKIE, "").encode("utf-8", "replace"), self.session.encode()
        )


class Guard:
    """ASGI middleware that lets in what `Doors` says, and answers the rest itself."""

    def __init__(self, app: ASGIApp, doors: Doors) -> None:
        self.app, self.doors = app, doors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The request, or its refusal."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            _require(self.doors, scope["method"], scope["path"], Headers(scope=scope))
        except Refusal as refusal:
            response = refusal.response(scope.get("request_id", ""))
            await response(scope, receive, send)
            return
        await self.app(scope, receive, send)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what is bound there.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host.lower() in LOOPBACK:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _require(doors: Doors, method: str, path: str, headers: Mapping[str, str]) -> None:
    host = headers.get("host", "")
    if not doors.knows(host):
        raise Refusal(
            421,
            f"the Host header {host[:100]!r} is no name of this server",
            cure="ask it by its address, or start it with --allow-host NAME",
        )
    _require_own_page(method, host, headers)
    is_known = doors.accepts(headers.get("authorization", "")) or doors.accepts_cookie(
        headers.get("cookie", "")
    )
    if doors.needs_token(path) and not is_known:
        was = "a wrong token" if headers.get("authorization") else "no token"
        raise Refusal(
            401,
            f"this server asks for its token; {was} came",
            cure="send the header Authorization: Bearer TOKEN, with what --token was",
            headers={"WWW-Authenticate": 'Bearer realm="regraft"'},
        )


def _require_own_page(method: str, host: str, headers: Mapping[str, str]) -> None:
    """A browser says from where a page asks; what is no browser says nothing."""
    origin = headers.get("origin")
    is_foreign = origin is not None and urlsplit(origin).netloc.lower() != host.lower()
    site = headers.get("sec-fetch-site", "none")
    if is_foreign or (method not in _SAFE and site not in ("none", "same-origin")):
        raise Refusal(
            403,
            f"a page of {(origin or 'another site')[:100]!r} may not ask this server",
            cure="open the server's own page, or ask from a program",
        )


def _name_in(host_header: str) -> str:
    """The name in a Host header, without its port and brackets; '' if it is none."""
    try:
        parts = urlsplit(f"//{host_header}")
        is_plain = not (parts.path or parts.query or parts.fragment or parts.username)
        return (parts.hostname or "").rstrip(".") if is_plain else ""
    except ValueError:
        return ""


def _is_of_this_machine(name: str) -> bool:
    """Addresses cannot be rebound, and the machine's own name is nobody else's."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name == socket.gethostname().lower()
    return True
