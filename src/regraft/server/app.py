"""The routes: what is asked goes to a model through the queue, and comes back as JSON."""

from __future__ import annotations

import traceback
from asyncio import shield, wrap_future
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

import regraft
from regraft.machine.processor import available_cores
from regraft.server import answers, bodies, openapi, options, protocol_v2
from regraft.server.answers import Wanted
from regraft.server.guard import Doors, Guard
from regraft.server.journal import Journal
from regraft.server.limits import Held, Limits
from regraft.server.logs import Log
from regraft.server.metrics import CONTENT_TYPE, Metrics
from regraft.server.models import VERSION, Models, Served
from regraft.server.protocol_v2 import Asked
from regraft.server.refusals import CLIENT_LEFT, ClientLeft, Refusal
from regraft.server.running import Drain
from regraft.server.static import StaticFiles
from regraft.server.upload import Upload
from regraft.server.waiting import SPARE_THREADS, Queue, unless_left

T = TypeVar("T")
_BUG = "a bug of ours, please report it; the traceback is in the log"
PAGE = Path(__file__).parent / "page"
# What needs no token: the page asks for it itself, and a probe need not know it.
OPEN_PATHS = ("/", "/page/", "/health", "/v2/health/live", "/v2/health/ready")


class Service:
    """Models at work behind routes.

    Parameters
    ----------
    models : Models
    limits : Limits
    log : Log
    metrics : Metrics
    drain : Drain
    """

    def __init__(
        self, models: Models, limits: Limits, log: Log, metrics: Metrics, drain: Drain
    ) -> None:
        self.models, self.limits, self.log = models, limits, log
        self.metrics, self.drain = metrics, drain
        self.queue = Queue(available_cores() + SPARE_THREADS, limits.places)
        self.held = Held(limits.held_bytes)
        self.page = StaticFiles(PAGE)
        self._openapi = JSONResponse(openapi.document(limits)).body
        metrics.watch(
            "regraft_queue_pictures", "Pictures waiting or in work", lambda: self.queue.taken
        )
        metrics.watch("regraft_held_bytes", "Bytes of bodies in hand", lambda: self.held.n_bytes)

    def routes(self) -> list[Route]:
        """All of them."""
        model = "/v2/models/{model}"
        return [
            Route("/", self.page.page),
            Route("/page/{name}", self.page.file),
            Route("/predict", self.predict, methods=["POST"]),
            Route("/models", self.list_models),
            Route("/health", self.health),
            Route("/metrics", self.show_metrics),
            Route("/openapi.json", self.show_openapi),
            Route("/v2", self.v2_server),
            Route("/v2/", self.v2_server),
            Route("/v2/health/live", self.v2_live),
            Route("/v2/health/ready", self.v2_ready),
            *self._model_routes(model),
            *self._model_routes(model + "/versions/{version}"),
        ]

    def _model_routes(self, at: str) -> list[Route]:
        return [
            Route(at, self.v2_model),
            Route(at + "/ready", self.v2_model_ready),
            Route(at + "/infer", self.v2_infer, methods=["POST"]),
        ]

    # -- Answers --

    async def predict(self, request: Request) -> Response:
        """Pictures in, a row for each out; 422 only if none of them can be read."""
        name, wanted = options.wanted(request.query_params)
        served = self.models.named(name)
        options.require(served.classifier, wanted.levels)
        self._require_place()
        with self.held.for_request() as take:
            uploads = await bodies.uploads(request, self.limits, take)
            if wanted.heatmap:
                await self._in_time(request, shield(wrap_future(served.heat.prepared())))
            rows = await self._rows(request, served, uploads, wanted)
        content = {"model": served.name, "predictions": rows, **answers.cautions(served, wanted)}
        if any("error" not in row for row in rows):
            return JSONResponse(content)
        first = {"error": rows[0]["error"], "cure": rows[0]["mend"]}
        request_id = {"request_id": request.scope["request_id"]}
        return JSONResponse({**first, **content, **request_id}, 422)

    async def _rows(
        self, request: Request, served: Served, uploads: Sequence[Upload], wanted: Wanted
    ) -> list[dict[str, Any]]:
        def row(upload: Upload) -> dict[str, Any]:
            return answers.answer(served, upload, wanted)

        found = await self._each(request, uploads, row)
        rows = [
            answers.refused(served, upload.name, _BUG, "report it") if row is None else row
            for upload, row in zip(uploads, found, strict=True)
        ]
        self._note(request, served, uploads, [row.get("error", "") for row in rows])
        return rows

    async def _each(
        self, request: Request, uploads: Sequence[Upload], answer: Callable[[Upload], T]
    ) -> list[T | None]:
        """The answer for each picture, by the threads of the queue; None where ours is a bug."""

        def work(upload: Upload) -> T | None:
            try:
                return answer(upload)
            except Exception as error:
                self._note_bug(request, error)
                return None

        working = self.queue.run([partial(work, upload) for upload in uploads])
        found = await self._in_time(request, working)
        if all(one is None for one in found):
            raise _our_bug()
        return found

    async def _in_time(self, request: Request, work: Awaitable[T]) -> T:
        return await unless_left(request.receive, work, timeout_s=self.limits.answer_s)

    def _require_place(self) -> None:
        """Before a body is read."""
        if self.queue.taken >= self.queue.places:
            raise Refusal(
                503,
                f"all {self.queue.places} places are taken",
                cure="send it again later",
                retry_after_s=self.queue.seconds_until_free(),
            )

    def _note(
        self, request: Request, served: Served, uploads: Sequence[Upload], errors: Sequence[str]
    ) -> None:
        rejected = sum(map(bool, errors))
        answered = len(errors) - rejected
        for outcome, n in (("answered", answered), ("rejected", rejected)):
            if n:
                self.metrics.pictures.labels(served.name, outcome).inc(n)
        request.scope["noted"] = {
            "model": served.name,
            "pictures": len(uploads),
            "rejected": rejected,
            "bytes": sum(len(upload.data) for upload in uploads),
        }

    def _note_bug(self, request: Request, error: Exception) -> None:
        frames = traceback.format_tb(error.__traceback__)
        self.log.say(
            "bug", request=request.scope["request_id"], error=type(error).__name__, traceback=frames
        )

    # -- What is known of the server --

    async def list_models(self, request: Request) -> Response:
        """The models, what they tell apart, and how good they are."""
        listed = [served.describe() for served in self.models.by_name.values()]
        return JSONResponse(
            {
                "models": listed,
                "limits": {
                    "picture_bytes": self.limits.picture_bytes,
                    "request_bytes": self.limits.request_bytes,
                    "items": self.limits.items,
                },
                "version": regraft.__version__,
            }
        )

    async def health(self, request: Request) -> Response:
        """200 where new requests are welcome; 503 once the server is about to stop."""
        self._require_ready()
        return JSONResponse({"status": "ready"})

    async def show_metrics(self, request: Request) -> Response:
        """For Prometheus."""
        return Response(self.metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    async def show_openapi(self, request: Request) -> Response:
        """This server's description."""
        return Response(self._openapi, media_type="application/json")

    # -- Open Inference Protocol --

    async def v2_server(self, request: Request) -> Response:
        """Name, version, extensions."""
        return JSONResponse(
            {
                "name": "regraft",
                "version": regraft.__version__,
                "extensions": protocol_v2.EXTENSIONS,
            }
        )

    async def v2_live(self, request: Request) -> Response:
        """200 as long as there is an answer at all."""
        return JSONResponse({"live": True})

    async def v2_ready(self, request: Request) -> Response:
        """As `health`."""
        self._require_ready()
        return JSONResponse({"live": True, "ready": True})

    async def v2_model(self, request: Request) -> Response:
        """What goes into a model and comes out."""
        return JSONResponse(protocol_v2.metadata(self._v2_served(request)))

    async def v2_model_ready(self, request: Request) -> Response:
        """200 where the model answers."""
        served = self._v2_served(request)
        self._require_ready()
        return JSONResponse({"name": served.name, "ready": True})

    async def v2_infer(self, request: Request) -> Response:
        """Labels and probabilities of a tensor of files; 400 only if none can be read."""
        served = self._v2_served(request)
        self._require_place()
        with self.held.for_request() as take:
            body = await bodies.whole(request, self.limits, take)
            header_length = request.headers.get(protocol_v2.HEADER_LENGTH)
            asked = Asked(body, header_length, self.limits)
            del body
            found = await self._inferred(request, served, asked.uploads)
        errors = [error for _, _, error in found]
        self._note(request, served, asked.uploads, errors)
        if all(errors):
            raise Refusal(400, errors[0], cure="send files that can be read")
        proba = np.stack([row for _, row, _ in found])
        return protocol_v2.response(served, asked, [label for label, _, _ in found], proba, errors)

    async def _inferred(
        self, request: Request, served: Served, uploads: Sequence[Upload]
    ) -> list[tuple[str, Any, str]]:
        """Label, probabilities and error of each."""
        found = await self._each(request, uploads, partial(answers.inferred, served))
        return [answers.no_inference(served, _BUG) if one is None else one for one in found]

    def _v2_served(self, request: Request) -> Served:
        served = self.models.named(request.path_params["model"])
        version = request.path_params.get("version", VERSION)
        if version != VERSION:
            raise Refusal(
                404,
                f"{served.name} has no version {version[:40]!r}",
                cure=f"there is {VERSION}; or name none",
            )
        return served

    def _require_ready(self) -> None:
        if self.drain.is_on:
            raise Refusal(
                503, "the server is stopping", cure="ask the one that takes its place",
                retry_after_s=1,
            )  # fmt: skip


def application(service: Service, doors: Doors) -> ASGIApp:
    """The whole of it: routes, what is refused, who may ask, what is noted."""
    return enclosed(
        service.routes(), doors, log=service.log, metrics=service.metrics, drain=service.drain
    )


def enclosed(
    routes: Sequence[Route],
    doors: Doors,
    *,
    log: Log,
    metrics: Metrics,
    drain: Drain,
    refusing: Mapping[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {},
) -> ASGIApp:
    """Routes of any site behind the guard and the journal; `refusing` answers its own errors."""
    site = Starlette(
        routes=routes,
        exception_handlers={
            Refusal: _refused,
            ClientLeft: _left,
            HTTPException: _not_found,
            Exception: _failed,
            **refusing,
        },
    )
    return Journal(Guard(site, doors), log, metrics, lambda: drain.is_on)


def _our_bug() -> Refusal:
    return Refusal(500, _BUG)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return error.response(request.scope["request_id"])


async def _left(request: Request, error: Exception) -> Response:
    return Response(status_code=CLIENT_LEFT)


async def _not_found(request: Request, error: Exception) -> Response:
    """What the router refuses: no such route, or not by this method."""
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        allowed = dict(error.headers or {}).get("Allow", "")
        rule, cure = f"this address does not take {request.method[:20]}", f"it takes {allowed}"
    else:
        rule, cure = "there is nothing at this address", "/openapi.json says what there is"
    headers = dict(error.headers or {})
    refusal = Refusal(error.status_code, rule, cure=cure, headers=headers)
    return refusal.response(request.scope["request_id"])


async def _failed(request: Request, error: Exception) -> Response:
    return _our_bug().response(request.scope["request_id"])
