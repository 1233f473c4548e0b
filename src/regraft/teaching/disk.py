"""What lies in a taught folder now, against what the journal knows: changes behind its back."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from regraft.data.image_files import has_image_name
from regraft.data.table import SPLIT_NAMES
from regraft.errors import UsageError
from regraft.teaching.journal import Entry
from regraft.teaching.project import Picture, Project
from regraft.wording import count, printable

Stamp = tuple[int, int]


@dataclass(frozen=True)
class Lying:
    """What was found.

    Attributes
    ----------
    files : dict of path to (mtime in ns, bytes)
        Pictures by their names, with '/'.
    folders : tuple of str
        Class folders.
    left_out : dict of path to str
        What is left alone, and why.
    """

    files: dict[str, Stamp] = field(default_factory=dict)
    folders: tuple[str, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)


class Disk:
    """Looks at a project's folder, and has the project take over what has changed."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.left_out: dict[str, str] = {}
        self._stamps: dict[int, Stamp] = {}

    def take_over(self) -> Entry | None:
        """What was added, moved, removed or overwritten by other programs; None if nothing was.

        A file that appears with the content of one that is gone is that one, moved.

        Raises
        ------
        UsageError
            The folder is divided into splits: a class cannot be called so.
        """
        lying, project = lying_in(self.project), self.project
        self.left_out = lying.left_out
        with project.lock:
            known = {one.path: one for one in project.shown()}
        strange = [path for path in lying.files if path not in known]
        changed = [
            one
            for path, one in known.items()
            if self._stamps.get(one.number, lying.files.get(path)) != lying.files.get(path)
            and path in lying.files
        ]
        digests = {path: _digest(project, path) for path in strange}
        overwritten = {one.number: _digest(project, one.path) for one in changed}
        with project.lock:  # what was done to them here meanwhile is no change behind our back
            entry = self._tell(digests, overwritten, known, lying)
            for one in project.shown():
                if one.path in lying.files:
                    self._stamps[one.number] = lying.files[one.path]
        return entry

    def _tell(
        self,
        digests: dict[str, str],
        overwritten: dict[int, str],
        known: dict[str, Picture],
        lying: Lying,
    ) -> Entry | None:
        project = self.project
        now = {one.path: one for one in project.shown()}
        new = {path: digest for path, digest in digests.items() if digest and path not in now}
        gone = [
            one
            for path, one in known.items()
            if path not in lying.files and path in now and not project.path(one).exists()
        ]
        moved = dict.fromkeys((one.number for one in gone), "")
        by_digest = {one.digest: one.number for one in gone if one.digest}
        for path, digest in list(new.items()):
            if digest in by_digest:
                moved[by_digest.pop(digest)] = path
                del new[path]
        changed = {
            number: digest
            for number, digest in overwritten.items()
            if digest and digest != project.pictures[number].digest
        }
        folders = [name for name in lying.folders if (project.folder / name).is_dir()]
        return project.found(new, moved, changed, folders)


def lying_in(project: Project) -> Lying:
    """Pictures in the folder and in its class folders; deeper ones are left alone.

    Raises
    ------
    UsageError
        A folder has the name of a split.
    """
    files: dict[str, Stamp] = {}
    left_out: dict[str, str] = {}
    folders: list[str] = []
    for entry in _entries(project, "", left_out):
        if not entry.is_dir():
            _take(entry, entry.name, files)
            continue
        if entry.name.casefold() in SPLIT_NAMES and entry.name not in project.classes:
            raise UsageError(
                f"the folder {entry.name!r} is called as a split is, and a class is taught here",
                place=printable(str(project.folder)),
                cure=f"regraft teach {printable(str(project.folder / entry.name))}, or give the "
                "folder another name",
            )
        folders.append(entry.name)
        for inner in _entries(project, entry.name, left_out):
            if inner.is_dir():
                left_out[f"{entry.name}/{inner.name}"] = "a folder within a class's folder"
            else:
                _take(inner, f"{entry.name}/{inner.name}", files)
    return Lying(files, tuple(folders), left_out)


def _take(entry: os.DirEntry[str], path: str, files: dict[str, Stamp]) -> None:
    if has_image_name(entry.name) and entry.is_file():
        stat = entry.stat()
        files[path] = (stat.st_mtime_ns, stat.st_size)


def _entries(project: Project, name: str, left_out: dict[str, str]) -> Iterator[os.DirEntry[str]]:
    """What lies in a folder and is not hidden, in the order of names."""
    try:
        found: Sequence[os.DirEntry[str]] = sorted(
            os.scandir(project.folder / name), key=lambda entry: entry.name
        )
    except OSError as error:
        left_out[name] = f"cannot be looked into: {(error.strerror or str(error)).lower()}"
        return
    for entry in found:
        if entry.name.startswith("."):
            continue
        try:
            entry.name.encode()
        except UnicodeEncodeError:
            left_out[f"{name}/{printable(entry.name)}"] = "its name is not UTF-8"
            continue
        yield entry


def _digest(project: Project, path: str) -> str:
    """SHA-256 of a file, hex; '' if it cannot be read."""
    try:
        with open(project.folder / path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def in_words(left_out: dict[str, str]) -> str:
    """What is left alone, for people; empty if nothing.

    Examples
    --------
    >>> in_words({"ants/old": "a folder within a class's folder"})
    "left alone: 1 path, first ants/old (a folder within a class's folder)"
    """
    if not left_out:
        return ""
    path, why = next(iter(left_out.items()))
    return f"left alone: {count(len(left_out), 'path')}, first {printable(path)} ({why})"
