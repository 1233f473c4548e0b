"""The files of a page, read once into memory and served with their kind and a tag.

Nothing outside the folder can be asked for: what is served is a dictionary.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from regraft.server.refusals import Refusal

KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
}


class StaticFiles:
    """All files of some folders, flat, by name; a later folder's stand before those of others.

    Examples
    --------
    ::

        files = StaticFiles(Path("page"))
        routes = [Route("/", files.page), Route("/page/{name}", files.file)]
    """

    def __init__(self, *folders: Path, first: str = "index.html") -> None:
        self._first = first
        self._files = {
            path.name: (path.read_bytes(), KINDS[path.suffix])
            for folder in folders
            for path in sorted(folder.iterdir())
            if path.suffix in KINDS
        }
        self._tags = {
            name: f'"{hashlib.sha256(data).hexdigest()[:16]}"'
            for name, (data, _) in self._files.items()
        }

    async def page(self, request: Request) -> Response:
        """The first file."""
        return self._response(request, self._first)

    async def file(self, request: Request) -> Response:
        """The file that the address names.

        Raises
        ------
        Refusal
            404.
        """
        return self._response(request, request.path_params["name"])

    def _response(self, request: Request, name: str) -> Response:
        if name not in self._files:
            raise Refusal(404, "there is no such file", cure="open the page at /")
        data, kind = self._files[name]
        headers = {"ETag": self._tags[name], "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == self._tags[name]:
            return Response(status_code=304, headers=headers)
        return Response(data, media_type=kind, headers=headers)
