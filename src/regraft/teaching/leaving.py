"""What was taught, for other programs: a table, Label Studio's tasks, a zip of the folder."""

from __future__ import annotations

import csv
import io
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from regraft.machine import atomic
from regraft.teaching.names import OWN
from regraft.teaching.project import Picture, Project

COLUMNS = ("path", "label", "split", "group")
TABLE = f"{OWN}/pictures.csv"


def rows_of(project: Project) -> Iterator[tuple[str, str, str, str]]:
    """Path, label, split and group of all labelled pictures; what is set aside is the test."""
    for one in project.shown():
        if one.label:
            yield one.path, one.label, "test" if one.is_held else "train", one.together


def table(project: Project, *, above: str = "") -> str:
    """As CSV; `above` stands before each path.

    What lies in the class folders can be read by every program; the splits, by which the score
    was found, stand here alone. As is, `regraft train` and `evaluate` take the table. Its column
    of groups is there where something belongs together, since intervals then count groups.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    rows = list(rows_of(project))
    width = len(COLUMNS) if any(group for *_, group in rows) else len(COLUMNS) - 1
    writer.writerow(COLUMNS[:width])
    for path, *rest in rows:
        writer.writerow([above + path, *rest][:width])
    return text.getvalue()


def write_table(project: Project) -> Path:
    """The table beside the journal, for `regraft train`; its paths are from there."""
    target = project.folder / TABLE
    with atomic.file(target) as part:
        part.write_text(table(project, above="../"), encoding="utf-8")
    return target


def label_studio(project: Project) -> list[dict[str, Any]]:
    """Label Studio's tasks, annotated: import them beside a local storage of the folder.

    ``image`` is the address that its local storage gives; see "Sync data from local storage" in
    its documentation.
    """
    return [_task(one) for one in project.shown()]


def _task(one: Picture) -> dict[str, Any]:
    task: dict[str, Any] = {"data": {"image": f"/data/local-files/?d={one.path}"}}
    if one.label:
        result = {
            "from_name": "label", "to_name": "image", "type": "choices",
            "value": {"choices": [one.label]},
        }  # fmt: skip
        task["annotations"] = [{"result": [result]}]
    return task


def zipped(project: Project, *, chunk_bytes: int = 2**20) -> Iterator[bytes]:
    """A zip of all labelled pictures as ``train/CLASS/`` and ``test/CLASS/``, piece by piece.

    Pictures hardly shrink, so they are stored as they are; memory holds a piece of one at a time.
    """
    with project.lock:
        pictures = [(project.path(one), _within(one)) for one in project.shown() if one.label]
        text = table(project)
    yield from _zip(pictures, chunk_bytes, {f"{OWN}/pictures.csv": text})


def zipped_folder(folder: Path, *, chunk_bytes: int = 2**20) -> Iterator[bytes]:
    """A zip of a folder with all that lies in it, as a folder of its name, piece by piece."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    names = [path.relative_to(folder.parent).as_posix() for path in paths]
    yield from _zip(list(zip(paths, names, strict=True)), chunk_bytes, {})


def _zip(
    files: Sequence[tuple[Path, str]], chunk_bytes: int, texts: Mapping[str, str]
) -> Iterator[bytes]:
    made = _Pipe()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as archive:
        for path, name in files:
            try:
                info = zipfile.ZipInfo.from_file(path, name, strict_timestamps=False)
            except OSError:  # moved meanwhile
                continue
            with open(path, "rb") as file, archive.open(info, "w") as member:
                while piece := file.read(chunk_bytes):
                    member.write(piece)
                    yield made.taken()
        for name, text in texts.items():
            archive.writestr(name, text)
    yield made.taken()


def _within(one: Picture) -> str:
    return f"{'test' if one.is_held else 'train'}/{one.path}"


class _Pipe(io.RawIOBase):
    """A stream that cannot be gone back in, and is emptied as it is filled."""

    def __init__(self) -> None:
        self._data, self._n = bytearray(), 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._data += data
        self._n += len(data)
        return len(data)

    def tell(self) -> int:
        return self._n

    def seekable(self) -> bool:
        return False

    def taken(self) -> bytes:
        """What came since the last time."""
        found, self._data = bytes(self._data), bytearray()
        return found


def folder_name(project: Project) -> str:
    """What the folder is called, for a download."""
    return os.path.basename(os.path.abspath(project.folder)) or "pictures"
