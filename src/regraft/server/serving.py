"""The story of `regraft serve`: an address, models that are warm, routes, until a signal comes."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Sequence
from typing import TextIO

from regraft.machine import blas
from regraft.server import app, models, running
from regraft.server.app import OPEN_PATHS, Service
from regraft.server.guard import Doors, is_loopback
from regraft.server.limits import Limits
from regraft.server.logs import Log
from regraft.server.metrics import Metrics
from regraft.server.models import Models
from regraft.server.running import Drain


def serve(
    folders: Sequence[str | os.PathLike[str]],
    *,
    names: Sequence[str] = (),
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    allowed_hosts: Sequence[str] = (),
    limits: Limits | None = None,
    log_to: TextIO | None = None,
    say: Callable[[str], None] = lambda text: None,
    on_ready: Callable[[str, Models, Doors], None] = lambda url, served, doors: None,
) -> bool:
    """Answer over HTTP until SIGTERM or Ctrl-C; whether everything that was asked was answered.

    Parameters
    ----------
    folders : sequence of path
        Of models, or of their runs.
    names : sequence of str
        One for each; by default those of the runs.
    host, port
        Where; 127.0.0.1 is this machine alone.
    token : str, optional
        Asked of every request but the page itself and health. Beyond this machine one is made
        where none is given; an empty one asks nobody.
    allowed_hosts : sequence of str
        Further names that the server is called by.
    limits : Limits, optional
    log_to : text stream, optional
        A JSON object a line for each request.
    say : callable(text)
        Hears one line before anything that takes seconds.
    on_ready : callable(url, models, doors)
        Called when the first request can come.

    Raises
    ------
    UsageError, ArtefactError, BackboneError
        As `models.opened` and `running.bound`.
    """
    limits = limits or Limits()
    listener = running.bound(host, port)
    with blas.threads(1):  # small products; more threads would wait for each other
        served = models.opened(folders, names, say=say)
        doors = Doors(
            host, frozenset(n.lower() for n in allowed_hosts), _token(token, host), OPEN_PATHS
        )
        metrics, drain = Metrics(), Drain()
        log = Log(log_to, metrics.log_lines_lost.inc)
        service = Service(served, limits, log, metrics, drain)
        url = running.address_of(listener, host)
        try:
            return running.run(
                app.application(service, doors),
                listener,
                limits=limits,
                log=log,
                drain=drain,
                on_ready=lambda: on_ready(url, served, doors),
            )
        finally:
            service.queue.close()
            log.close()


def _token(given: str | None, host: str) -> str:
    """As given; made anew where more than this machine can ask."""
    if given is not None:
        return given
    return "" if is_loopback(host) else secrets.token_urlsafe(24)
