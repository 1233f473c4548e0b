"""Where the files are that a table lists, if not where it says: other slashes, no extension, a
folder further down, paths of another computer.

A file is only taken for a listed one if its path ends with all of what is listed, and only if no
other file fits as well. What was found otherwise than written is told.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from regraft.data.addresses import ANY_ADDRESS, shown
from regraft.data.cells import composed
from regraft.data.image_files import has_image_name
from regraft.data.split_names import split_name
from regraft.data.table import Reading, quoted
from regraft.data.tree import walk
from regraft.errors import TableError
from regraft.wording import agree, count

_SAMPLE = 50


class Finder:
    """Finds images below a folder by the end of their paths.

    Parameters
    ----------
    images : iterable of str
        Paths.
    root : str
        The folder, as the paths begin.
    near : str
        Where several fit, the one in a folder of this name, or of the same split, is taken:
        ``train.csv`` lists what is in ``train/``.

    Examples
    --------
    >>> finder = Finder(["d/train/1.jpg", "d/test/1.jpg", "d/test/2.JPG"], "d")
    >>> finder.find("2"), finder.find("test\\\\1.jpg"), len(finder.find("1.jpg"))
    (['d/test/2.JPG'], ['d/test/1.jpg'], 2)
    """

    def __init__(self, images: Iterable[str], root: str, *, near: str = "") -> None:
        start = len(root.rstrip(os.sep)) + 1 if root else 0
        self._parts = [(path, _folded(path[start:]).split(os.sep)) for path in images]
        self._start, self._near = start, near
        self._indexes: dict[tuple[int, bool], dict[str, list[str]]] = {}

    @classmethod
    def below(cls, folder: str, *, near: str = "") -> Finder:
        """Of all images below a folder, which is walked."""
        root = folder or "."
        paths = (path for inner in walk(root).all_below() for path in inner.images)
        if not folder:
            paths = (os.path.normpath(path) for path in paths)
        return cls(paths, folder, near=near)

    def find(self, listed: str) -> list[str]:
        """The images that a listed path can mean: none, one, or several."""
        key = _folded(_with_slashes(listed.strip()))
        n_parts = key.count("/") + 1
        fits = self._index(n_parts, has_suffix=True).get(key, [])
        if not fits and not has_image_name(key):
            fits = self._index(n_parts, has_suffix=False).get(key, [])
        return self._best(fits, listed) if len(fits) > 1 else fits

    def find_of_another_computer(self, listed: str, n_shared: int) -> list[str]:
        """As `find`, of a path whose first `n_shared` folders are those of another computer."""
        parts = _with_slashes(listed.strip()).split("/")
        fits = self.find("/".join(parts[n_shared:]))
        while len(fits) > 1 and n_shared > 0:  # the more of the path fits, the better
            n_shared -= 1
            closer = self.find("/".join(parts[n_shared:]))
            if not closer:
                break
            fits = closer
        return fits

    def _index(self, n_parts: int, *, has_suffix: bool) -> dict[str, list[str]]:
        """The images by the last parts of their paths; made once for each number of parts."""
        index = self._indexes.get((n_parts, has_suffix))
        if index is None:
            index = self._indexes[n_parts, has_suffix] = {}
            for path, parts in self._parts:
                if len(parts) >= n_parts:
                    key = "/".join(parts[-n_parts:])
                    index.setdefault(key if has_suffix else os.path.splitext(key)[0], []).append(
                        path
                    )
        return index

    def _best(self, fits: list[str], listed: str) -> list[str]:
        """Those of exactly these letters, in the folder that the table is of; else all."""
        end = _with_slashes(listed.strip())
        exact = [p for p in fits if p.endswith(end) or os.path.splitext(p)[0].endswith(end)]
        fits = exact or fits
        return [p for p in fits if self._is_near(p)] or fits if self._near else fits

    def _is_near(self, path: str) -> bool:
        meant = split_name(self._near)
        folders = path[self._start :].split(os.sep)[:-1]
        names = [split_name(folder) for folder in folders]
        return self._near in folders or (
            meant is not None and any(n is not None and n.split == meant.split for n in names)
        )


def located(
    source: str, listed: Sequence[str], written: Sequence[str]
) -> tuple[Sequence[str], list[Reading]]:
    """The paths of listed files, where they really are.

    Parameters
    ----------
    source : str
        The manifest.
    listed : sequence of N str
        What its cells say.
    written : list of N str
        The paths that this is, taken as it is written.

    Returns
    -------
    paths : list of N str
        Those of files that are nowhere stay as written.
    readings : list of Reading

    Raises
    ------
    TableError
        Each of them could be several files.
    """
    _refuse_addresses(source, listed)
    paths, readings = _slashes_turned(source, listed, written)
    if not _are_mostly_missing(paths):
        return paths, readings
    folder, name = os.path.split(source)
    finder = Finder.below(folder, near=os.path.splitext(name)[0])
    n_shared = shared_folders(listed)
    found, unclear = dict[int, str](), dict[int, list[str]]()
    for row, path in enumerate(paths):
        if os.path.lexists(path):
            continue
        fits = finder.find_of_another_computer(listed[row], n_shared)
        if len(fits) == 1:
            found[row] = fits[0]
        elif fits:
            unclear[row] = fits
            if len(unclear) > _SAMPLE and not found:
                break  # it will be refused, and each of them takes its time
    if unclear and not found:
        _refuse_unclear(source, listed, unclear)
    if found:
        row, path = next(iter(found.items()))
        words = (
            f"{source}: {count(len(found), 'file')} of the {len(paths):,} listed were found where "
            f"it does not say: {listed[row]!r} is read as {path!r}"
        )
        readings.append(Reading("paths", words, "correct the paths if other files are meant"))
    if unclear:
        readings.append(_in_several(source, listed, unclear))
    return [found.get(row, path) for row, path in enumerate(paths)], readings


def _in_several(source: str, listed: Sequence[str], unclear: dict[int, list[str]]) -> Reading:
    """Files that could each be several, where others were found."""
    row, fits = next(iter(unclear.items()))
    n = len(unclear)
    words = (
        f"{source}: {count(n, 'listed file')} {agree(n, '[lies|lie]')} in several folders, and "
        f"none of them is taken: {listed[row]!r} may be {fits[0]!r} or {fits[1]!r}"
    )
    return Reading("paths", words, "write the folder into the paths")


def beside_their_table(
    source: str, addresses: Sequence[str]
) -> tuple[Sequence[str], list[Reading]]:
    """Images that a table lists by their addresses, and that lie beside it too.

    Nothing is fetched for those; that they were found is told.

    Examples
    --------
    >>> beside_their_table("no such folder/list.csv", ["gs://bucket/ants/1.jpg"])
    (['gs://bucket/ants/1.jpg'], [])
    """
    folder, name = os.path.split(source)
    if not os.path.isdir(folder or "."):
        return addresses, []
    finder = Finder.below(folder, near=os.path.splitext(name)[0])
    found = {
        row: fits[0]
        for row, address in enumerate(addresses)
        if (parts := _folders_of(address))
        and len(fits := finder.find_of_another_computer("/".join(parts), len(parts) - 1)) == 1
    }
    if 2 * len(found) <= len(addresses):
        return addresses, []
    row, path = next(iter(found.items()))
    words = (
        f"{source}: {count(len(found), 'image')} of the {len(addresses):,} listed by address "
        f"{agree(len(found), '[lies|lie]')} beside it and "
        f"{agree(len(found), '[is|are]')} not fetched: {addresses[row]!r} is read as {path!r}"
    )
    cure = "to fetch them, move the table away from the images"
    return [found.get(i, one) for i, one in enumerate(addresses)], [Reading("paths", words, cure)]


def _folders_of(address: str) -> list[str]:
    """The parts of an address behind its host or bucket."""
    return ANY_ADDRESS.sub("", address).split("/")[1:]


def _refuse_addresses(source: str, listed: Sequence[str]) -> None:
    """Addresses that `remote` does not know are no files either."""
    found = [path for path in listed if ANY_ADDRESS.match(path)]
    if found:
        raise TableError(
            f"{len(found):,} of {count(len(listed), 'path')} are addresses of a kind that is not "
            f"read, such as {shown(found[0])!r}",
            place=source,
            cure="addresses are s3://, gs://, az:// and https://; or download the images, and "
            "list the files",
        )


def _slashes_turned(
    source: str, listed: Sequence[str], written: Sequence[str]
) -> tuple[Sequence[str], list[Reading]]:
    """Paths of Windows, row by row: only where there is no such file, and there is one with /."""
    folder = os.path.dirname(source)
    turned = {
        row: path
        for row, cell in enumerate(listed)
        if "\\" in cell
        and not os.path.lexists(written[row])
        and os.path.lexists(path := os.path.join(folder, _with_slashes(cell.strip())))
    }
    if not turned:
        return written, []
    words = f"{source}: \\ is read as / in the paths of {count(len(turned), 'row')}"
    paths = [turned.get(row, path) for row, path in enumerate(written)]
    return paths, [Reading("paths", words, "correct the paths if other files are meant")]


def _are_mostly_missing(paths: Sequence[str]) -> bool:
    some = paths[:: max(1, len(paths) // _SAMPLE)]
    return 2 * sum(not os.path.lexists(path) for path in some) > len(some)


def shared_folders(listed: Sequence[str]) -> int:
    """How many first folders all paths share, if they are those of another computer."""
    first: list[str] = []
    last: list[str] = []
    for path in listed:
        parts = _with_slashes(path.strip()).split("/")[:-1]
        if not parts or not (parts[0] in ("", "..") or parts[0].endswith(":")):
            return 0
        first, last = min(first or parts, parts), max(last, parts)
    shared = [one == other for one, other in zip(first, last, strict=False)]
    return shared.index(False) if False in shared else len(shared)


def _with_slashes(path: str) -> str:
    path = path.replace("\\", "/")
    return path.removeprefix("./")


def _folded(text: str) -> str:
    return composed(text).casefold()


def _refuse_unclear(source: str, listed: Sequence[str], unclear: dict[int, list[str]]) -> None:
    row, fits = next(iter(unclear.items()))
    raise TableError(
        f"its files are not where it says, and more than one fits: {listed[row]!r} could be "
        f"{quoted(fits, at_most=3)}",
        place=source,
        cure="list them with their folders, as train/1.jpg; "
        "or put the table into the folder of its images",
    )
