"""A folder walked once: what lies where, told apart by name, and what is no image.

Nothing is said here of classes and splits (see ``layouts``). A million files take seconds; only
those without a known extension are looked into.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from regraft.data.image_files import has_image_name, looks_like_image, why_not_a_file
from regraft.data.other_forms import may_hold_images, way_from
from regraft.data.source_forms import ARCHIVE_SUFFIXES
from regraft.data.table import Rejected, Skipped

_LEFTOVERS = frozenset(
    (
        "__macosx", ".ds_store", "thumbs.db", "desktop.ini", ".ipynb_checkpoints", "__pycache__",
        "@eadir", "$recycle.bin", "system volume information",
    )
)  # fmt: skip
_OF_A_RUN = frozenset(("run.json", "findings.json", "metrics.json"))
# What browsers call a file while it comes.
_UNFINISHED = (".crdownload", ".part", ".partial", ".download", ".opdownload")


@dataclass(eq=False)
class Folder:
    """What is directly in one folder, and the folders in it.

    Attributes
    ----------
    path : str
    folders : list of Folder
        In the order of their names.
    images : list of str
        Paths.
    others : list of str
        Paths of readable files that are no images: they may say labels.
    skipped : list of Skipped
    rejected : list of Rejected
    n_images : int
        In it and below it; those that cannot be opened count.
    """

    path: str
    folders: list[Folder] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    n_images: int = 0

    @property
    def name(self) -> str:
        """The last part of its path."""
        return os.path.basename(self.path)

    @property
    def filled(self) -> list[Folder]:
        """The folders in it that hold images, at any depth."""
        return [folder for folder in self.folders if folder.n_images]

    @property
    def is_flat(self) -> bool:
        """Whether all its images lie directly in it."""
        return not self.filled

    def is_ours(self) -> bool:
        """Whether a command of ours has written it: heat maps of ants are no class of ants."""
        names = {os.path.basename(path) for path in self.others}
        return names >= _OF_A_RUN or ("maps.json" in names and _is_of_explain(self.path))

    def leave_out(self, kind: str, reason: str) -> None:
        """Forget all that is in it, and name it alone."""
        self.folders, self.images, self.others, self.rejected = [], [], [], []
        self.skipped = [Skipped(self.path, kind, reason)]

    def all_below(self) -> Iterator[Folder]:
        """This folder and all below it; of our own stack, for they may be nested very deeply."""
        pending = [self]
        while pending:
            here = pending.pop()
            yield here
            pending += reversed(here.folders)

    def skip(self, path: str, kind: str, reason: str) -> None:
        """Leave something out, by name."""
        self.skipped.append(Skipped(path, kind, reason))

    def read(self, above: frozenset[tuple[int, int]]) -> frozenset[tuple[int, int]]:
        """List what is in it; `above` and what is given back are the folders on the way here."""
        try:
            status = os.stat(self.path)
            identity = (status.st_dev, status.st_ino)
            if identity in above:
                self.skip(self.path, "link-loop", "a link back to a folder that holds it")
                return above
            with os.scandir(self.path) as entries:
                for entry in entries:
                    self._sort_in(entry)
        except OSError as error:
            self.skip(self.path, "unreadable-folder", f"cannot be listed: {error.strerror}")
            return above
        if not (self.folders or self.images or self.rejected):
            self.skip(self.path, "empty-folder", "has no images in it")
        self.folders.sort(key=lambda folder: folder.path)
        return above | {identity}

    def _sort_in(self, entry: os.DirEntry[str]) -> None:
        name, path = entry.name, entry.path
        if missing := why_not_here(name):
            self.rejected.append(Rejected(path, *missing))
        elif left := _leftover_kind(name):
            self.skip(path, left, "left by a program" if left == "leftover" else "hidden")
        elif _is_dir(entry):
            self.folders.append(Folder(path))
        elif problem := None if _is_file(entry) else why_not_a_file(path):
            if has_image_name(name):
                self.rejected.append(Rejected(path, *problem))
            else:
                self.skip(path, "not-an-image", problem[0])
        elif has_image_name(name):
            self.images.append(path)
        else:
            self._sort_in_by_content(path)

    def _sort_in_by_content(self, path: str) -> None:
        try:
            is_image = looks_like_image(path)
        except OSError as error:
            reason = f"cannot be opened: {error.strerror}"
            self.rejected.append(Rejected(path, reason, "give read permission, or remove it"))
            return
        if is_image:
            self.images.append(path)
            return
        self.others.append(path)
        if path.lower().endswith(ARCHIVE_SUFFIXES):
            self.skip(path, "not-an-image", "an archive inside is not unpacked")
        elif may_hold_images(path):
            self.skip(path, "other-form", way_from(path))
        else:
            self.skip(path, "not-an-image", "neither its name nor its first bytes are an image's")


def walk(root: str) -> Folder:
    """A folder with all that is below it. Links are followed, loops are left out and named.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as root:
    ...     os.makedirs(os.path.join(root, "train", "ants"))
    ...     with open(os.path.join(root, "train", "ants", "1.jpg"), "wb") as file:
    ...         _ = file.write(b"...")
    ...     top = walk(root)
    >>> top.n_images, [folder.name for folder in top.all_below()][1:]
    (1, ['train', 'ants'])
    """
    top = Folder(root)
    found, pending = [], [(top, frozenset[tuple[int, int]]())]
    while pending:
        folder, above = pending.pop()
        found.append(folder)
        here = folder.read(above)
        if folder is not top and folder.is_ours():
            folder.leave_out("leftover", "made by regraft")
        pending += [(inner, here) for inner in folder.folders]
    for folder in reversed(found):
        n_below = sum(inner.n_images for inner in folder.folders)
        folder.n_images = len(folder.images) + len(folder.rejected) + n_below
    return top


def why_not_here(name: str) -> tuple[str, str] | None:
    """Why an image of such a name is not on this disk, and the cure; None of any other name.

    Examples
    --------
    >>> why_not_here(".7.jpg.icloud")[0], why_not_here("7.jpg") is None
    ('it lies in iCloud, and not on this disk', True)
    """
    stem, ending = os.path.splitext(name)
    if ending.lower() == ".icloud" and has_image_name(stem):
        cure = "download it (in Finder: Download Now)"
        return "it lies in iCloud, and not on this disk", cure
    if ending.lower() in _UNFINISHED and has_image_name(stem):
        return f"its download was not finished ({ending})", "download it again"
    return None


def _is_of_explain(folder: str) -> bool:
    try:
        with open(os.path.join(folder, "maps.json"), "rb") as file:
            head = file.read(300)
    except OSError:
        return False
    return all(word in head for word in (b'"schema"', b'"model"', b'"method"'))


def _leftover_kind(name: str) -> str:
    if name.startswith("._") or name.lower() in _LEFTOVERS:
        return "leftover"
    return "hidden" if name[0] == "." else ""


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads back to itself
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False
