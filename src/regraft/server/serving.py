"""The story of `regraft serve`: an address, models that are warm, routes, until a signal comes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TextIO

from regraft.machine import blas
from regraft.server import address, models
from regraft.server.guard import Doors
from regraft.server.limits import Limits
from regraft.server.logs import Log
from regraft.server.models import Models


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
        As `models.opened` and `address.bound`.
    """
    limits = limits or Limits()
    listener = address.bound(host, port)
    with blas.threads(1), listener:  # small products; more threads would wait for each other
        served, app, running = _loaded(folders, names, say)
        doors = Doors.of(host, allowed_hosts, token, app.OPEN_PATHS)
        metrics = app.Metrics()
        log, drain = Log(log_to, metrics.log_lines_lost.inc), running.Drain()
        service = app.Service(served, limits, log, metrics, drain)
        url = address.address_of(listener, host)
        try:
            return bool(
                running.run(
                    app.application(service, doors),
                    listener,
                    limits=limits,
                    log=log,
                    drain=drain,
                    on_ready=lambda: on_ready(url, served, doors),
                )
            )
        finally:
            service.queue.close()
            log.close()


def _loaded(
    folders: Sequence[str | os.PathLike[str]], names: Sequence[str], say: Callable[[str], None]
) -> tuple[Models, Any, Any]:
    """The models, and the code around them, which is imported while their engines start."""
    with ThreadPoolExecutor(1) as aside:
        loading = aside.submit(models.opened, folders, names, say=say)
        from regraft.server import app, running

        return loading.result(), app, running
