"""What every request has, whatever it asks: an id, a line in the log, its numbers, safe headers."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from regraft.server.logs import Log
from regraft.server.metrics import Metrics

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# Nothing but what lies here is loaded or run, nobody frames the page, nothing is kept on the way.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Journal:
    """ASGI middleware, the outermost.

    Parameters
    ----------
    app : ASGI app
    log : Log
    metrics : Metrics
    is_draining : callable() -> bool
        Whether connections end with their answers.
    """

    def __init__(
        self, app: ASGIApp, log: Log, metrics: Metrics, is_draining: Callable[[], bool]
    ) -> None:
        self.app, self.log, self.metrics, self.is_draining = app, log, metrics, is_draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The request, noted when its answer has begun and when it is over."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status = time.perf_counter(), 0
        scope["request_id"] = _id_of(scope)

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._add_headers(message, scope["request_id"])
            await send(message)

        try:
            await self.app(scope, receive, send_noted)
        finally:
            self._note(scope, status or 500, time.perf_counter() - start)

    def _add_headers(self, message: Message, request_id: str) -> None:
        headers = MutableHeaders(raw=message["headers"])
        headers["X-Request-ID"] = request_id
        for name, value in _HEADERS.items():
            headers.setdefault(name, value)
        headers.setdefault("Cache-Control", "no-store")
        if self.is_draining():
            headers["Connection"] = "close"

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "other")
        self.metrics.requests.labels(route, str(status)).inc()
        self.metrics.seconds.labels(route).observe(seconds)
        self.log.say(
            "request", request=scope["request_id"], method=_word(scope["method"]), route=route,
            status=status, ms=round(1000 * seconds, 1), **scope.get("noted", {}),
        )  # fmt: skip


def _id_of(scope: Scope) -> str:
    """As whoever asks calls it, if that is a plain word; else a new one."""
    given = Headers(scope=scope).get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _word(method: str) -> str:
    return method if method.isalpha() and len(method) < 10 else "other"
