"""What leaves a taught folder over HTTP: tables, tasks, a zip, and the pages of runs."""

from __future__ import annotations

import json
from pathlib import Path

from starlette.responses import Response, StreamingResponse

from regraft.server.refusals import Refusal
from regraft.teaching import leaving
from regraft.teaching.project import Project

# A run's page has its scripts and styles within it; it may do nothing on this site.
_REPORT_POLICY = (
    "sandbox allow-scripts allow-popups; default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data:"
)


def report(folder: Path) -> Response:
    """The page of a run.

    Raises
    ------
    Refusal
        404: none was drawn.
    """
    try:
        data = (folder / "report.html").read_bytes()
    except OSError as error:
        cure = f"regraft report {folder}"
        raise Refusal(404, f"{folder.name} has no report", cure=cure) from error
    return Response(
        data, media_type="text/html", headers={"Content-Security-Policy": _REPORT_POLICY}
    )


def download(project: Project, name: str) -> Response:
    """A file by its name.

    Raises
    ------
    Refusal
        404: there is none of this name.
    """
    stem = leaving.folder_name(project)
    if name == "pictures.csv":
        return _attached(leaving.table(project).encode(), "text/csv", f"{stem}.csv")
    if name == "label-studio.json":
        tasks = json.dumps(leaving.label_studio(project)).encode()
        return _attached(tasks, "application/json", f"{stem}.json")
    if name == "folder.zip":
        headers = _headers(f"{stem}.zip")
        return StreamingResponse(
            leaving.zipped(project), media_type="application/zip", headers=headers
        )
    raise Refusal(404, "there is no such file", cure="pictures.csv, label-studio.json, folder.zip")


def download_folder(folder: Path) -> Response:
    """A run's model, or an export of it, as a zip."""
    headers = _headers(f"{folder.parent.name}-{folder.name}.zip")
    return StreamingResponse(
        leaving.zipped_folder(folder), media_type="application/zip", headers=headers
    )


def _attached(data: bytes, kind: str, name: str) -> Response:
    return Response(data, media_type=kind, headers=_headers(name))


def _headers(name: str) -> dict[str, str]:
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in name)
    return {"Content-Disposition": f'attachment; filename="{plain}"'}
