"""The body of a request: read under limits, in memory, never on disk.

Pictures come as the body itself or as the parts of a form (multipart/form-data). Limits hold while
bytes come in: nothing that is refused was kept first.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

from starlette.requests import ClientDisconnect, Request

from regraft.server.forms import Form
from regraft.server.limits import Limits, in_mib
from regraft.server.refusals import ClientLeft, Refusal
from regraft.server.upload import HOW_TO_SEND, SMALLER, Upload, too_large

# A kind of body that is sent by mistake. All others are looked at, whatever they are called: curl
# calls every file a form.
_NO_PICTURES = "application/json"


async def chunks(
    request: Request, limits: Limits, take: Callable[[int], None]
) -> AsyncIterator[bytes]:
    """The body in pieces.

    Raises
    ------
    Refusal
        413: too long; 408: too slow; 503: too much is in hand.
    ClientLeft
    """
    declared = request.headers.get("content-length")
    if declared is not None and declared.isdecimal() and int(declared) > limits.request_bytes:
        raise _too_long(int(declared), limits)
    n_bytes, end = 0, time.monotonic() + limits.body_s
    coming = request.stream()
    while True:
        try:
            left_s = end - time.monotonic()
            async with asyncio.timeout(max(0.0, min(limits.pause_s, left_s))):
                chunk = await anext(coming, None)
        except TimeoutError:
            raise _too_slow(n_bytes, limits) from None
        except ClientDisconnect:
            raise ClientLeft from None
        if chunk is None:
            return
        n_bytes += len(chunk)
        if n_bytes > limits.request_bytes:
            raise _too_long(n_bytes, limits)
        take(len(chunk))
        if chunk:
            yield chunk


async def whole(request: Request, limits: Limits, take: Callable[[int], None]) -> bytes:
    """The body at once; raises as `chunks`."""
    return b"".join([chunk async for chunk in chunks(request, limits, take)])


async def uploads(request: Request, limits: Limits, take: Callable[[int], None]) -> list[Upload]:
    """The pictures of a request; at least one.

    Raises
    ------
    Refusal
        As `chunks`; 400: no picture came, or a form is damaged; 413: too many; 415: a kind of
        body that holds no pictures.
    ClientLeft
    """
    kind = request.headers.get("content-type", "").strip().lower()
    if kind.startswith("multipart/"):
        form = Form(request.headers["content-type"], limits)
        async for chunk in chunks(request, limits, take):
            form.write(chunk)
        return form.close()
    if kind.startswith(_NO_PICTURES):
        raise Refusal(415, f"a body of the kind {kind[:80]!r} is no picture", cure=HOW_TO_SEND)
    data = await whole(request, limits, take)
    if not data:
        raise Refusal(400, "the request has no body", cure=HOW_TO_SEND)
    if len(data) > limits.picture_bytes:
        raise Refusal(413, too_large(limits), cure=SMALLER)
    return [Upload("image 1 (bytes)", data)]


def _too_long(n_bytes: int, limits: Limits) -> Refusal:
    most = in_mib(limits.request_bytes)
    return Refusal(
        413,
        f"the request has {in_mib(n_bytes)} or more; at most {most} are taken",
        cure="send fewer or smaller pictures at once",
    )


def _too_slow(n_bytes: int, limits: Limits) -> Refusal:
    return Refusal(
        408,
        f"the body came too slowly: {in_mib(n_bytes)} so far; a pause may last "
        f"{limits.pause_s:g} s, all of it {limits.body_s:g} s",
        cure="send it again, or fewer pictures at once",
        headers={"Connection": "close"},
    )
