"""Pictures that come in: read once before they are kept, refused by name, classes by folders."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from regraft.data.archives import unpack
from regraft.data.image_files import has_image_name
from regraft.errors import DecodeError, UsageError
from regraft.images.decode import decode
from regraft.images.signatures import image_format
from regraft.teaching.names import OWN, class_name
from regraft.teaching.project import New, Picture, Project

# As Pillow calls formats, the ending that says them.
ENDINGS = {
    "JPEG": ".jpg", "PNG": ".png", "GIF": ".gif", "BMP": ".bmp", "TIFF": ".tif", "PPM": ".ppm",
    "WEBP": ".webp",
}  # fmt: skip
# Enough for a look at whether a file is whole.
GLANCE_PX = 160
# Pictures of an archive that are in memory at once.
FEW_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Refused:
    """A file that is not taken: `name` as it came, why, and what to do."""

    name: str
    reason: str
    mend: str = ""


@dataclass
class Arrived:
    """What became of some files."""

    added: list[Picture] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)


def glanced(name: str, data: bytes, *, label: str | None = None, together: str = "") -> New:
    """The picture, once it was decoded whole.

    Raises
    ------
    DecodeError
    """
    decode(data, min_side_px=GLANCE_PX)
    return New(name, data, ENDINGS[image_format(data)], together, label)


def take(project: Project, found: Iterable[New | Refused], label: str | None) -> Arrived:
    """Into the project as one action, but for what is there already, byte for byte."""
    arrived, new = Arrived(), list[New]()
    with project.lock:
        known = {one.digest: one.path for one in project.shown()}
        for one in found:
            if isinstance(one, Refused):
                arrived.refused.append(one)
                continue
            digest = hashlib.sha256(one.data).hexdigest()
            if digest in known:
                arrived.refused.append(Refused(one.name, f"is there already: {known[digest]}"))
            else:
                known[digest] = one.name
                new.append(one)
        if new:
            arrived.added = project.add(new, label)
    return arrived


def of_folders(paths: Sequence[str]) -> dict[str, str | None]:
    """The class of each path, by the folder that it lies in, where there are several such folders.

    Pictures that all lie in one folder have no class: its name says what they are together.

    Examples
    --------
    >>> of_folders(["x/ants/1.jpg", "x/bees/2.jpg", "x/3.jpg"])
    {'x/ants/1.jpg': 'ants', 'x/bees/2.jpg': 'bees', 'x/3.jpg': None}
    >>> of_folders(["my photos/1.jpg", "my photos/2.jpg"])
    {'my photos/1.jpg': None, 'my photos/2.jpg': None}
    """
    folder_of = {path: os.path.dirname(path.replace("\\", "/")) for path in paths}
    folders = set(folder_of.values())
    leaves = {
        one for one in folders if one and not any(other.startswith(f"{one}/") for other in folders)
    }
    if len(leaves) < 2:
        return dict.fromkeys(paths)
    return {path: _class_of(at) if at in leaves else None for path, at in folder_of.items()}


def _class_of(folder: str) -> str | None:
    try:
        return class_name(os.path.basename(folder))
    except UsageError:
        return None


def from_archive(
    project: Project,
    archive: Path,
    label: str | None,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Arrived:
    """The pictures of a zip or tar archive, unpacked safely and gone again.

    Raises
    ------
    ArchiveError
        As `archives.unpack`.
    """
    arrived = Arrived()
    with tempfile.TemporaryDirectory(dir=project.folder / OWN) as room:
        root = unpack(archive, room)
        files = sorted(path for path in root.rglob("*") if path.is_file() and _is_shown(path, root))
        named = {path.relative_to(root).as_posix(): path for path in files}
        labels = of_folders(list(named)) if label is None else {}
        for n, some in enumerate(_few(list(named.items()))):
            found = [_read(name, path, labels.get(name)) for name, path in some]
            came = take(project, found, label)
            arrived.added += came.added
            arrived.refused += came.refused
            progress(min((n + 1) * len(some), len(named)), len(named))
    return arrived


def _is_shown(path: Path, root: Path) -> bool:
    parts = path.relative_to(root).parts
    is_hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    return has_image_name(path.name) and not is_hidden


def _few(items: list[tuple[str, Path]]) -> Iterator[list[tuple[str, Path]]]:
    """As many as memory takes at once."""
    some, n_bytes = list[tuple[str, Path]](), 0
    for name, path in items:
        size = path.stat().st_size
        if some and n_bytes + size > FEW_BYTES:
            yield some
            some, n_bytes = [], 0
        some.append((name, path))
        n_bytes += size
    if some:
        yield some


def _read(name: str, path: Path, label: str | None) -> New | Refused:
    try:
        return glanced(name, path.read_bytes(), label=label)
    except DecodeError as error:
        return Refused(name, error.rule, error.cure)
