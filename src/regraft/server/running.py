"""A server from its first connection to its last: patience with each, and an orderly end.

On SIGTERM or Ctrl-C no connection is lost that was accepted: those that wait in the kernel's
queue are taken in, every answer from then on closes its connection, and what was asked is answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from regraft.errors import UsageError
from regraft.server.limits import Limits
from regraft.server.logs import Log

BACKLOG = 512
# How long idle connections stay open once the end has begun, for requests under way on them.
LAME_S = 0.3
# An idle connection is closed after this.
KEEP_ALIVE_S = 20
MOST_HEAD_BYTES = 64 * 1024
# Bytes that are no body (names, lengths of chunks, what follows the last one), for each that is.
MOST_BESIDE = 8


@dataclass
class Drain:
    """The end of a server: asked for by a signal or by :meth:`ask`, and on from then.

    Attributes
    ----------
    is_asked : bool
    is_on : bool
        Connections end with their answers, and nobody new is welcome.
    """

    is_asked: bool = False
    is_on: bool = False

    def ask(self) -> None:
        """Stop, once what was asked is answered; from any thread."""
        self.is_asked = True


def run(
    app: ASGIApp,
    listener: socket.socket,
    *,
    limits: Limits,
    log: Log,
    drain: Drain,
    on_ready: Callable[[], None] = lambda: None,
) -> bool:
    """Serve until a signal; whether everything that was asked was answered.

    Parameters
    ----------
    app : ASGI app
    listener : socket
        From `address.bound`; closed at the end.
    on_ready : callable()
        Called once connections are taken.

    Raises
    ------
    UsageError
        Another program has begun to listen there meanwhile.
    """
    server = _Server(app, limits, drain, on_ready)
    with _heard(log), _own_port(), listener:
        server.run([listener])
    return server.is_whole


@contextlib.contextmanager
def _own_port() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise UsageError(
            "another program has begun to listen at this port meanwhile", cure="--port 0"
        ) from error


class _Server(uvicorn.Server):
    def __init__(
        self, app: ASGIApp, limits: Limits, drain: Drain, on_ready: Callable[[], None]
    ) -> None:
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http=_protocol(limits),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            backlog=BACKLOG,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=int(limits.answer_s + limits.body_s) + 1,
        )
        super().__init__(config)
        self.drain, self.on_ready, self.is_whole = drain, on_ready, True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.on_ready()

    async def on_tick(self, counter: int) -> bool:
        return self.drain.is_asked or await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.drain.is_on = True
        await self._take_in(sockets or [])
        if self.server_state.connections:
            await asyncio.sleep(LAME_S)
        await super().shutdown(sockets)
        self.is_whole = not (self.server_state.tasks or self.force_exit)

    async def _take_in(self, listeners: list[socket.socket]) -> None:
        """Those that connected and were not accepted yet; then nobody can connect any more."""
        loop, accepted = asyncio.get_running_loop(), []
        for listener in listeners:
            loop.remove_reader(listener.fileno())
            with contextlib.suppress(BlockingIOError, OSError):
                while True:
                    accepted.append(listener.accept()[0])
        for server in self.servers:
            server.close()
        for connection in accepted:
            connection.setblocking(False)
            with contextlib.suppress(OSError):
                await loop.connect_accepted_socket(self._made, connection)

    def _made(self) -> Any:
        make: Any = self.config.http_protocol_class
        return make(
            config=self.config,
            server_state=self.server_state,
            app_state={},
            _loop=asyncio.get_running_loop(),
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, but the signal is not raised again after an orderly end."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        heard = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in heard}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _protocol(limits: Limits) -> type[HttpToolsProtocol]:
    """HTTP on one connection, with an end to patience that uvicorn's own does not have."""

    class Patient(HttpToolsProtocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._waiting: asyncio.TimerHandle | None = None
            self._n_fed = self._n_body = 0
            if len(self.connections) > limits.connections:
                self._refuse(_BUSY)
            else:
                self._wait()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self._is_between():
                self._wait()
            self._n_fed += len(data)
            super().data_received(data)
            if self._n_fed > MOST_HEAD_BYTES + MOST_BESIDE * self._n_body:
                self._refuse(_LONG_HEAD)

        def on_message_begin(self) -> None:
            self._n_fed = self._n_body = 0
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            self._stop_waiting()
            super().on_headers_complete()

        def on_body(self, body: bytes) -> None:
            self._n_body += len(body)
            super().on_body(body)

        def on_response_complete(self) -> None:
            super().on_response_complete()
            cycle = self.cycle
            if cycle is not None and cycle.response_complete and cycle.more_body:
                # Refused before its body ended: what still comes is passed over, for a while.
                self._waiting = self.loop.call_later(limits.pause_s, self._close)

        def _is_between(self) -> bool:
            """Whether a head is expected, or under way."""
            cycle = self.cycle
            return cycle is None or (cycle.response_complete and not cycle.more_body)

        def _wait(self) -> None:
            if self._waiting is None:
                self._waiting = self.loop.call_later(limits.head_s, self._refuse, _SLOW_HEAD)

        def _stop_waiting(self) -> None:
            if self._waiting is not None:
                self._waiting.cancel()
                self._waiting = None

        def _refuse(self, answer: bytes) -> None:
            if not self.transport.is_closing():
                self.transport.write(answer)
                self._close()

        def _close(self) -> None:
            if not self.transport.is_closing():
                self.transport.close()

    return Patient


def _plain_answer(status: str, text: str, more: str = "") -> bytes:
    body = f'{{"error": "{text}"}}'
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{more}"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
    ).encode("ascii")


_BUSY = _plain_answer("503 Service Unavailable", "too many connections", "Retry-After: 1\r\n")
_SLOW_HEAD = _plain_answer("408 Request Timeout", "the head of the request came too slowly")
_LONG_HEAD = _plain_answer("431 Request Header Fields Too Large", "the head is too long")


@contextlib.contextmanager
def _heard(log: Log) -> Iterator[None]:
    """What uvicorn has to say goes into the log."""

    class _Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            failed = record.exc_info[0] if record.exc_info else None
            log.say(
                "server",
                level=record.levelname.lower(),
                message=record.getMessage()[:300],
                **({"error": failed.__name__} if failed else {}),
            )

    logger, handler = logging.getLogger("uvicorn"), _Handler(logging.WARNING)
    was_spread, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = was_spread
