"""The routes of `regraft teach`: what the page shows and does, and the news that it hears."""

from __future__ import annotations

import json
import os
import tempfile
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from regraft.errors import DecodeError, RegraftError, UsageError
from regraft.images.reading import read_file
from regraft.machine.processor import available_cores
from regraft.server import bodies, teach_out, teach_views
from regraft.server.app import PAGE, enclosed
from regraft.server.guard import COOKIE, Doors
from regraft.server.limits import MIB, Held, Limits
from regraft.server.logs import Log
from regraft.server.metrics import Metrics
from regraft.server.refusals import Refusal
from regraft.server.running import Drain
from regraft.server.static import StaticFiles
from regraft.server.teach_given import numbers, text, text_or_none, whole_number
from regraft.server.teach_jobs import Job, Jobs
from regraft.server.teach_news import News
from regraft.server.teach_pictures import LARGE_PX, Thumbnails, shrunk
from regraft.server.trying import Trying
from regraft.server.upload import Upload
from regraft.server.waiting import Queue
from regraft.teaching import incoming, lists
from regraft.teaching.classroom import Classroom
from regraft.teaching.incoming import Arrived, Refused
from regraft.teaching.names import OWN
from regraft.teaching.order import AT_ONCE
from regraft.teaching.project import New, Picture
from regraft.wording import count

T = TypeVar("T")
TEACH_PAGE = Path(__file__).parent / "teach_page"
OPEN_PATHS = ("/", "/page/", "/health")
LIMITS = Limits(
    picture_bytes=64 * MIB, request_bytes=256 * MIB, held_bytes=512 * MIB, items=1000,
    places=2000, body_s=600.0, answer_s=5.0,
)  # fmt: skip
# Of a zip, which goes to the disk piece by piece.
MOST_ZIP_BYTES = 8 * 2**30
_ABSENT = "there is no such picture any more"


class Teaching:
    """A classroom behind routes.

    Parameters
    ----------
    room : Classroom
    doors : Doors
    log, metrics, drain
        As of `app.Service`.
    """

    def __init__(
        self, room: Classroom, doors: Doors, log: Log, metrics: Metrics, drain: Drain
    ) -> None:
        self.room, self.doors, self.log, self.metrics, self.drain = room, doors, log, metrics, drain
        self.queue, self.held = Queue(available_cores(), LIMITS.places), Held(LIMITS.held_bytes)
        self.page = StaticFiles(PAGE, TEACH_PAGE)
        self.thumbnails, self.trying = Thumbnails(), Trying(room)
        self.news = News(room.bulletin, lambda: room.project.version, drain)
        self.jobs = Jobs(room.project, self._tell_job)

    def application(self) -> ASGIApp:
        """The whole of it."""
        return enclosed(
            self.routes(), self.doors, log=self.log, metrics=self.metrics, drain=self.drain,
            refusing={
                RegraftError: _refused_by_rule, OSError: _refused_by_disk,
                HTTPException: _absent, Exception: self._failed,
            },
        )  # fmt: skip

    def close(self) -> None:
        """End what still runs."""
        self.jobs.stop()
        self.queue.close()

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            Route("/", self.page.page),
            Route("/page/{name}", self.page.file),
            Route("/health", self.health),
            Route("/api/session", self.open_session, methods=["POST"]),
            Route("/api/events", self.events),
            Route("/api/pictures", self.list_pictures),
            Route("/api/pictures", self.add, methods=["POST"]),
            Route("/api/archive", self.add_archive, methods=["POST"]),
            Route("/api/lesson", self._telling(lambda: teach_views.lesson(self.room))),
            Route("/api/next", self.next),
            Route("/api/copies", self._telling(self.copies)),
            Route("/api/odd", self._telling(self.odd)),
            Route("/api/near/{number:int}", self.near),
            Route("/api/heat/{number:int}", self.heat),
            Route("/small/{number:int}", self.small),
            Route("/large/{number:int}", self.large),
            *self._deeds(),
            Route("/api/try", self.try_one, methods=["POST"]),
            Route("/api/use", self._telling(self.jobs.to_dict)),
            Route("/report/{run}", self.report),
            Route("/out/{name}", self.out),
            Route("/out/{run}/{part}.zip", self.out_of_run),
        ]

    def _deeds(self) -> list[Route]:
        """What is done by a command as JSON; each answers with the state's version."""
        project = self.room.project
        deeds: dict[str, Callable[[dict[str, Any]], object]] = {
            "label": lambda given: project.label(numbers(given), text_or_none(given, "label")),
            "remove": lambda given: project.remove(numbers(given)),
            "accept": self._accept,
            "class/add": lambda given: project.add_class(text(given, "name")),
            "class/rename": lambda given: project.rename_class(
                text(given, "name"), text(given, "to")
            ),
            "class/remove": lambda given: project.remove_class(text(given, "name")),
            "undo": lambda given: project.undo(),
            "redo": lambda given: project.redo(),
        }
        found = [
            Route(f"/api/{name}", partial(self._do, deed), methods=["POST"])
            for name, deed in deeds.items()
        ]
        jobs: dict[str, Callable[[dict[str, Any]], object]] = {
            "train": lambda given: self.jobs.train(text(given, "way"), given.get("budget", "2m")),
            "export": lambda given: self.jobs.export(text(given, "run"), text(given, "to")),
            "keep": lambda given: self.trying.keep(),
            "stop": lambda given: self.jobs.stop(),
        }
        found += [
            Route(f"/api/{name}", partial(self._begin, job), methods=["POST"])
            for name, job in jobs.items()
        ]
        return found

    # -- What there is ------------------------------------------------------------------------

    async def health(self, request: Request) -> Response:
        """200 as long as there is an answer."""
        return JSONResponse({"status": "ready"})

    async def open_session(self, request: Request) -> Response:
        """A cookie for what a browser asks without headers: pictures and events."""
        response = JSONResponse({"has_token": bool(self.doors.token)})
        if self.doors.token:
            response.set_cookie(COOKIE, self.doors.session, httponly=True, samesite="strict")
        return response

    async def list_pictures(self, request: Request) -> Response:
        """What has changed since a version."""
        since = whole_number(request, "since", 0)
        return JSONResponse(await run_in_threadpool(teach_views.pictures, self.room, since))

    async def next(self, request: Request) -> Response:
        """What to label next."""
        n = min(whole_number(request, "n", AT_ONCE), 100)
        return JSONResponse(await run_in_threadpool(teach_views.following, self.room, n))

    def copies(self) -> dict[str, Any]:
        """Copies that do not have one label."""
        groups = lists.copies_across_classes(self.room.project, self.room.sight)
        return {"groups": lists.numbers_of(groups[: teach_views.MOST_LISTED])}

    def odd(self) -> dict[str, Any]:
        """Pictures like nothing that was learnt."""
        found = self.trying.odd()
        return {**found, "pictures": found["pictures"][: teach_views.MOST_LISTED]}

    async def near(self, request: Request) -> Response:
        """The labelled pictures that are most like one."""
        one = self._picture(request)
        return JSONResponse({"near": await run_in_threadpool(self.trying.near, one)})

    async def heat(self, request: Request) -> Response:
        """Where the model looks for a class, laid over the picture."""
        one, label = self._picture(request), request.query_params.get("label")
        data, method = await self._in_queue(lambda: self.trying.heat(one, label))
        return Response(data, media_type="image/png", headers={"X-Method": method})

    async def small(self, request: Request) -> Response:
        """For the grid."""
        one = self._picture(request)
        return await self._shown(
            lambda: self.thumbnails.of(self.room.project.path(one), one.digest)
        )

    async def large(self, request: Request) -> Response:
        """To look at."""
        one = self._picture(request)
        return await self._shown(lambda: shrunk(read_file(self.room.project.path(one)), LARGE_PX))

    async def _shown(self, make: Callable[[], bytes]) -> Response:
        try:
            data = await self._in_queue(make)
        except DecodeError as error:
            raise Refusal(422, error.rule, cure=error.cure) from error
        # The address holds the digest: another content has another address.
        return Response(
            data, media_type="image/jpeg",
            headers={"Cache-Control": "private, max-age=31536000, immutable"},
        )  # fmt: skip

    def _picture(self, request: Request) -> Picture:
        one = self.room.project.pictures.get(request.path_params["number"])
        if one is None or one.is_removed:
            raise Refusal(404, _ABSENT, cure="load the page again")
        return one

    # -- What comes in ------------------------------------------------------------------------

    async def add(self, request: Request) -> Response:
        """Pictures as a form; those that cannot be read are named, the others are kept."""
        label = request.query_params.get("label") or None
        together = request.query_params.get("together", "")[:64]
        with self.held.for_request() as take:
            uploads = await bodies.uploads(request, LIMITS, take)
            by_folder = {} if label else incoming.of_folders([one.name for one in uploads])

            def glance(one: Upload) -> New | Refused:
                return _glanced(one, by_folder.get(one.name), together)

            found = await self.queue.run([partial(glance, one) for one in uploads])
            arrived = await run_in_threadpool(incoming.take, self.room.project, found, label)
        return self._arrived(arrived)

    async def add_archive(self, request: Request) -> Response:
        """A zip or tar as the body; it goes to the disk piece by piece and is unpacked safely."""
        label = request.query_params.get("label") or None
        own = self.room.project.folder / OWN
        file, name = tempfile.mkstemp(dir=own, prefix="coming-", suffix=".zip")
        archive = Path(name)
        try:
            with os.fdopen(file, "wb") as stream:
                await _to_disk(request, stream)
            arrived = await run_in_threadpool(
                incoming.from_archive, self.room.project, archive, label, progress=self._unpacking
            )
        finally:
            archive.unlink(missing_ok=True)
        return self._arrived(arrived)

    def _unpacking(self, done: int, total: int) -> None:
        self.room.bulletin.tell("progress", done=done, total=total)

    def _arrived(self, arrived: Arrived) -> Response:
        self.room.changed()
        return JSONResponse(
            {
                "version": self.room.project.version,
                "added": [one.number for one in arrived.added],
                "refused": [vars(one) for one in arrived.refused[: teach_views.MOST_LISTED]],
                "n_refused": len(arrived.refused),
            }
        )

    # -- What is done -------------------------------------------------------------------------

    async def _do(self, deed: Callable[[dict[str, Any]], object], request: Request) -> Response:
        given = await self._given(request)
        entry = await run_in_threadpool(deed, given)
        if entry is not None:
            self.room.changed()
        words = getattr(entry, "words", "nothing to do")
        return JSONResponse({"version": self.room.project.version, "words": words})

    def _accept(self, given: dict[str, Any]) -> object:
        above = given.get("above")
        if not isinstance(above, (int, float)) or not 0.5 <= above <= 1:
            raise UsageError(f"a certainty from 0.5 to 1 was expected, got {above!r}")
        labels = teach_views.certain(self.room, float(above))
        return self.room.project.label_each(labels) if labels else None

    async def _begin(self, job: Callable[[dict[str, Any]], object], request: Request) -> Response:
        begun = await run_in_threadpool(job, await self._given(request))
        return JSONResponse(begun.to_dict() if isinstance(begun, Job) else begun or {})

    async def _given(self, request: Request) -> dict[str, Any]:
        with self.held.for_request() as take:
            body = await bodies.whole(request, LIMITS, take)
        try:
            given = json.loads(body or b"{}")
        except ValueError as error:
            raise Refusal(400, f"the body is no JSON: {error}") from error
        if not isinstance(given, dict):
            raise Refusal(400, "the body must be a JSON object", cure='{"pictures": [1, 2]}')
        return given

    async def try_one(self, request: Request) -> Response:
        """What the model of now says of a picture that is not kept."""
        with self.held.for_request() as take:
            (upload,) = await bodies.uploads(request, LIMITS, take)
            return JSONResponse(await self._in_queue(lambda: self.trying.answer(upload.data)))

    # -- What leaves --------------------------------------------------------------------------

    async def report(self, request: Request) -> Response:
        """A run's page, which may do nothing on this site."""
        folder = await run_in_threadpool(self.jobs.run_folder, request.path_params["run"])
        return await run_in_threadpool(teach_out.report, folder)

    async def out(self, request: Request) -> Response:
        """What was taught, for other programs."""
        name = request.path_params["name"]
        return await run_in_threadpool(teach_out.download, self.room.project, name)

    async def out_of_run(self, request: Request) -> Response:
        """A model or an export, for whoever does not sit at the machine where it lies."""
        folder = await run_in_threadpool(self.jobs.part_folder, **request.path_params)
        return teach_out.download_folder(folder)

    # -- News ---------------------------------------------------------------------------------

    async def events(self, request: Request) -> Response:
        """Server-sent events: the newest of each kind, as long as the tab is open."""
        return StreamingResponse(self.news.stream(), media_type="text/event-stream")

    async def _failed(self, request: Request, error: Exception) -> Response:
        """A bug of ours: the terminal has its traceback, the page says so."""
        self.room.note_bug("".join(traceback.format_exception(error)))
        refusal = Refusal(500, "a bug of ours, please report it; the terminal has the traceback")
        return refusal.response(request.scope.get("request_id", ""))

    def _tell_job(self, job: Job) -> None:
        self.room.bulletin.tell("job", **job.to_dict())

    # -- How ----------------------------------------------------------------------------------

    def _telling(self, tell: Callable[[], dict[str, Any]]) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            return JSONResponse(await run_in_threadpool(tell))

        return answer

    async def _in_queue(self, make: Callable[[], T]) -> T:
        (found,) = await self.queue.run([make])
        return found


def _glanced(upload: Upload, label: str | None, together: str) -> New | Refused:
    if upload.problem:
        return Refused(upload.name, upload.problem, "make it smaller")
    try:
        return incoming.glanced(upload.name, upload.data, label=label, together=together)
    except DecodeError as error:
        return Refused(upload.name, error.rule, error.cure)


async def _to_disk(request: Request, stream: Any) -> None:
    n_bytes = 0
    async for chunk in request.stream():
        n_bytes += len(chunk)
        if n_bytes > MOST_ZIP_BYTES:
            raise Refusal(413, f"the archive has more than {count(8, 'GiB', 'GiB')}")
        await run_in_threadpool(stream.write, chunk)


async def _absent(request: Request, error: Exception) -> Response:
    """What the router refuses."""
    assert isinstance(error, HTTPException)
    rule = "there is nothing at this address" if error.status_code == 404 else error.detail
    refusal = Refusal(error.status_code, rule.lower(), cure="open the page at /")
    return refusal.response(request.scope["request_id"])


async def _refused_by_disk(request: Request, error: Exception) -> Response:
    """What the system refuses: a full disk, a folder that may not be written."""
    assert isinstance(error, OSError)
    reason = (error.strerror or str(error)).lower()
    refusal = Refusal(507, f"the folder cannot be used: {reason}", cure="make room, or mend it")
    return refusal.response(request.scope["request_id"])


async def _refused_by_rule(request: Request, error: Exception) -> Response:
    """What a room below refuses, in its words."""
    assert isinstance(error, RegraftError)
    return Refusal(409, error.rule, cure=error.cure).response(request.scope["request_id"])
