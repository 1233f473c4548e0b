"""Where a server listens, and what is typed to reach it."""

from __future__ import annotations

import socket

from regraft.errors import UsageError


def bound(host: str, port: int) -> socket.socket:
    """A socket at this address that does not listen yet; port 0: any that is free.

    Raises
    ------
    UsageError
        There is no such address here, or the port is taken.
    """
    name = "127.0.0.1" if host == "localhost" else host
    family = socket.AF_INET6 if ":" in name else socket.AF_INET
    # asyncio sends without delay only where the socket says that it is of TCP; else the second
    # answer on a connection waits 40 ms for who asked to acknowledge the head of the first.
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((name, port))
    except (OSError, OverflowError) as error:
        found.close()
        reason = getattr(error, "strerror", None) or str(error)
        cure = f"--port {port + 1}, or --port 0 for any that is free"
        if isinstance(error, socket.gaierror) or "assign" in reason.lower():
            cure = "--host 127.0.0.1 for this machine alone, 0.0.0.0 for its network"
        elif 0 < port < 1024 and isinstance(error, PermissionError):
            cure = "--port 8000; ports below 1024 are for the system"
        raise UsageError(f"cannot serve at {host}:{port}: {reason}", cure=cure) from error
    return found


def address_of(listener: socket.socket, host: str) -> str:
    """What is typed into a browser.

    >>> with socket.socket() as found:
    ...     found.bind(("127.0.0.1", 0))
    ...     address_of(found, "localhost").startswith("http://localhost:")
    True
    """
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{listener.getsockname()[1]}"
