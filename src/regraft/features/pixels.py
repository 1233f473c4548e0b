"""Decoded pictures at training resolution, so that training reads each file once, not each epoch.

One file for a set of images: a header, a row for each image, then raw pixels. It is named after
the images' content, their size and the decoder, is written under another name and renamed when
whole; what is open stays valid if it is replaced or removed. Its index is checked when it is
opened, each picture when it is first read, and what is damaged is decoded from its image again.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regraft.errors import DecodeError
from regraft.images import DECODER_VERSION
from regraft.images.geometry import Preprocess
from regraft.images.modes import Pixels as Picture
from regraft.images.pictures import Content, content_of, decoded_for
from regraft.machine import atomic, cache
from regraft.machine.processor import available_cores

Progress = Callable[[int, int], None]

# Part of every file's name: raised when the layout or the way of shrinking changes.
LAYOUT = "1"
_MAGIC = b"regraft pixels\0\1"
_HEADER = np.dtype([("magic", "V16"), ("n_images", "<u8"), ("n_bytes", "<u8"), ("index", "V32")])
_ROW = np.dtype([("offset", "<u8"), ("height", "<u4"), ("width", "<u4"), ("checksum", "<u4")])
_N_SAMPLED = 16  # pictures that are decoded to estimate the size of all


class Pixels:
    """N pictures as uint8 arrays of shape (H, W, 3): mapped from a file, or decoded on demand.

    Safe to read from several threads.

    Attributes
    ----------
    from_cache : bool
        The file was there; nothing had to be decoded.
    n_bytes : int
        Of the file; 0 if each picture is decoded when it is asked for.
    note : str
        Why it is not kept in the cache, as a sentence for people; else empty.
    """

    def __init__(
        self,
        sources: _Sources,
        *,
        data: NDArray[np.uint8] | None = None,
        path: Path | None = None,
        from_cache: bool = False,
        note: str = "",
    ) -> None:
        self.from_cache, self.note = from_cache, note
        self.n_bytes = 0 if data is None else len(data)
        self._sources, self._data, self._path = sources, data, path
        if data is not None:
            self._index: NDArray[Any] = _index_of(data)
            self._is_checked = np.zeros(len(self._index), bool)

    def __len__(self) -> int:
        return len(self._sources.entry_of)

    def __getitem__(self, i: int) -> Picture:
        """Picture `i`: RGB, the shorter side at most ``min_side_px``; read-only if mapped.

        Raises
        ------
        DecodeError
            If it is decoded now and its file is gone, damaged or another one.
        """
        entry = self._sources.entry_of[i]
        if self._data is None:
            return self._sources.picture(entry)
        row = self._index[entry]
        start, n_bytes = int(row["offset"]), 3 * int(row["height"]) * int(row["width"])
        part = self._data[start : start + n_bytes]
        if not self._is_checked[entry]:
            if zlib.crc32(part.data) != row["checksum"]:
                self._discard()
                return self._sources.picture(entry)
            self._is_checked[entry] = True
        return part.reshape(int(row["height"]), int(row["width"]), 3)

    def __iter__(self) -> Iterator[Picture]:
        return (self[i] for i in range(len(self)))

    def _discard(self) -> None:
        """The next run makes the file again; this one goes on with what is whole."""
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)


def decoded(
    table_paths: Sequence[str],
    digests: Sequence[bytes],
    *,
    min_side_px: int,
    budget_bytes: int,
    white: int = 0,
    n_threads: int | None = None,
    progress: Progress = lambda done, total: None,
) -> Pixels:
    """All pictures of a table, each decoded once and kept between runs.

    A picture is shrunk, never enlarged, until its shorter side has `min_side_px`. The sets that
    were not used for longest make room for a new one.

    Parameters
    ----------
    table_paths : N paths
    digests : N bytes
        SHA-256 of each file's content; images with the same content are kept once.
    min_side_px : int, at least 1
    budget_bytes : int
        What all sets in the cache may take together. A set that is larger by itself is not kept:
        its pictures are decoded whenever they are asked for, and ``note`` says so.
    white : int
        As in :func:`regraft.images.decode.decode`.
    n_threads : int, optional
        Default: one per core.
    progress : callable(done, total), optional
        Called from the caller's thread, once for each image that is decoded.

    Raises
    ------
    DecodeError
        If a file is gone, damaged, or not the one that was hashed; ``place`` is its path.

    Examples
    --------
    ::

        extraction = extract.run(table, built, store)
        pixels = decoded(
            extraction.table.paths, extraction.digests, min_side_px=256, budget_bytes=2**32
        )
        pixels[0].shape
    """
    sources = _Sources(table_paths, digests, min_side_px, white)
    path = cache.folder_of("pixels") / f"{sources.key}.pixels"
    if (data := _opened(path, len(sources))) is not None:
        return Pixels(sources, data=data, path=path, from_cache=True)

    n_threads = n_threads or available_cores()
    estimate = sources.estimate()
    if estimate > budget_bytes:
        return Pixels(sources, note=_over_budget("about ", estimate, budget_bytes))
    try:
        cache.make_room("pixels", ".pixels", budget_bytes - estimate)
        data = _kept(path, sources, budget_bytes, n_threads, progress)
        return Pixels(sources, data=data, path=path)
    except _OverBudgetError as error:
        return Pixels(sources, note=_over_budget("more than ", error.n_bytes, budget_bytes))
    except OSError as failure:
        return _for_this_run(sources, failure, budget_bytes, n_threads, progress)


def list_kept() -> list[tuple[Path, int]]:
    """Every set in the cache and its bytes, the one unused for longest first."""
    return cache.files_kept("pixels", ".pixels")


def picture_of(content: Content, min_side_px: int, white: int = 0) -> Picture:
    """A picture as views are taken from it, shrunk as `decoded` does.

    Raises
    ------
    DecodeError
        The content cannot be read whole.
    """
    # Scaled decoding leaves more than the resize needs, as for the network's input.
    plan = Preprocess((min_side_px, min_side_px), min_side_px, "bilinear", white=white)
    return shrunk(decoded_for(content, plan).pixels, min_side_px)


def shrunk(pixels: Picture, min_side_px: int) -> Picture:
    """The picture with its shorter side at `min_side_px`, or itself if that is not larger.

    Examples
    --------
    >>> shrunk(np.zeros((300, 400, 3), np.uint8), 150).shape
    (150, 200, 3)
    >>> shrunk(np.zeros((20, 400, 3), np.uint8), 150).shape
    (20, 400, 3)
    """
    height, width = pixels.shape[:2]
    short = min(height, width)
    if short <= min_side_px:
        return np.ascontiguousarray(pixels)
    size = round(width * min_side_px / short), round(height * min_side_px / short)
    # Pillow first averages whole blocks where the picture is much too large: faster, and with a
    # gap of 3 hardly different.
    image = Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.array(image)


class _Sources:
    """The images behind a set: each content once, in the order of the digests."""

    def __init__(
        self, paths: Sequence[str], digests: Sequence[bytes], min_side_px: int, white: int = 0
    ) -> None:
        if len(paths) != len(digests) or min_side_px < 1:
            raise ValueError(f"{len(paths)} paths, {len(digests)} digests, {min_side_px} px")
        self.min_side_px, self.white = min_side_px, white
        path_of = dict(zip(reversed(digests), reversed(paths), strict=True))  # the first one wins
        self.digests = sorted(path_of)
        self.paths = [path_of[digest] for digest in self.digests]
        position = {digest: i for i, digest in enumerate(self.digests)}
        self.entry_of = [position[digest] for digest in digests]

    def __len__(self) -> int:
        return len(self.digests)

    @property
    def key(self) -> str:
        """Name of the set."""
        recipe = f"{LAYOUT}|{DECODER_VERSION}|{self.min_side_px}|{self.white}|".encode()
        return hashlib.sha256(recipe + b"".join(self.digests)).hexdigest()[:32]

    def picture(self, entry: int) -> Picture:
        """Read, decoded and shrunk."""
        path = self.paths[entry]
        try:
            content = content_of(path)
            if content.digest != self.digests[entry]:
                raise DecodeError("the file changed since it was first read", cure="run again")
            return picture_of(content, self.min_side_px, self.white)
        except DecodeError as error:
            raise DecodeError(error.rule, place=str(path), cure=error.cure) from error

    def estimate(self) -> int:
        """Bytes of all, from a few spread evenly over them."""
        sample = range(0, len(self), max(1, len(self) // _N_SAMPLED))
        n_bytes = sum(self.picture(entry).nbytes for entry in sample)
        return _first_offset(len(self)) + round(n_bytes / max(1, len(sample)) * len(self))


# ---- the file -------------------------------------------------------------------------------


class _OverBudgetError(Exception):
    """The pictures turned out larger than the sample said."""

    def __init__(self, n_bytes: int) -> None:
        super().__init__(n_bytes)
        self.n_bytes = n_bytes


def _kept(
    path: Path, sources: _Sources, budget_bytes: int, n_threads: int, progress: Progress
) -> NDArray[np.uint8]:
    with atomic.file(path, shared=True) as part, open(part, "w+b") as file:
        _write(file, sources, budget_bytes, n_threads, progress)
    if (data := _opened(path, len(sources))) is None:
        raise FileNotFoundError(errno.ENOENT, "it was removed at once")
    return data


def _for_this_run(
    sources: _Sources, failure: OSError, budget_bytes: int, n_threads: int, progress: Progress
) -> Pixels:
    """A file without a name in the system's temporary folder, else nothing kept at all."""
    reason = failure.strerror or str(failure)
    why = f"the decoded images cannot be kept in {cache.folder_of('pixels')} ({reason})"
    try:
        with tempfile.TemporaryFile(prefix="regraft-") as file:  # the map keeps it until it ends
            _write(file, sources, budget_bytes, n_threads, progress)
            data = _mapped(file)
        return Pixels(sources, data=data, note=f"{why}; they are kept for this run only")
    except (OSError, _OverBudgetError):
        return Pixels(sources, note=f"{why}; each is decoded again whenever it is needed")


def _write(
    file: IO[bytes], sources: _Sources, budget_bytes: int, n_threads: int, progress: Progress
) -> None:
    """Pictures as they come; the index and the header, which make the file valid, last."""
    index = np.zeros(len(sources), _ROW)
    lock = Lock()
    file.seek(_first_offset(len(sources)))

    def write(entry: int) -> None:
        pixels = sources.picture(entry)
        checksum = zlib.crc32(pixels.data)
        with lock:
            offset = file.tell()
            if offset + pixels.nbytes > budget_bytes:
                raise _OverBudgetError(offset + pixels.nbytes)
            file.write(pixels.data)
        index[entry] = offset, pixels.shape[0], pixels.shape[1], checksum

    pool = ThreadPoolExecutor(max(1, n_threads))
    try:
        for done, _ in enumerate(pool.map(write, range(len(sources))), 1):
            progress(done, len(sources))
    finally:
        pool.shutdown(cancel_futures=True)
    n_bytes = file.tell()
    digest = hashlib.sha256(index.tobytes()).digest()
    file.seek(0)
    file.write(np.array((_MAGIC, len(index), n_bytes, digest), _HEADER).tobytes())
    file.write(index.tobytes())
    file.flush()


def _opened(path: Path, n_images: int) -> NDArray[np.uint8] | None:
    """The mapped file, if its length and its index are right."""
    try:
        with path.open("rb") as file:
            data = _mapped(file)
        os.utime(path)  # the one unused for longest is the first to go
    except (OSError, ValueError):
        return None
    return data if _is_whole(data, n_images) else None


def _is_whole(data: NDArray[np.uint8], n_images: int) -> bool:
    if len(data) < _first_offset(n_images):
        return False
    header = data[: _HEADER.itemsize].view(_HEADER)[0]
    if header["magic"].tobytes() != _MAGIC or header["n_images"] != n_images:
        return False
    index = _index_of(data)
    is_right = header["index"].tobytes() == hashlib.sha256(index.tobytes()).digest()
    return is_right and int(header["n_bytes"]) == len(data)


def _index_of(data: NDArray[np.uint8]) -> NDArray[Any]:
    n_images = int(data[: _HEADER.itemsize].view(_HEADER)[0]["n_images"])
    return np.array(data[_HEADER.itemsize : _first_offset(n_images)].view(_ROW))


def _first_offset(n_images: int) -> int:
    return _HEADER.itemsize + n_images * _ROW.itemsize


def _mapped(file: IO[bytes]) -> NDArray[np.uint8]:
    return np.asarray(np.memmap(file, np.uint8, "r"))  # a plain array is sliced faster


def _over_budget(about: str, n_bytes: int, budget_bytes: int) -> str:
    return (
        f"the decoded images would take {about}{cache.in_words(n_bytes)}, over the budget of "
        f"{cache.in_words(budget_bytes)}; each is decoded again whenever it is needed"
    )
