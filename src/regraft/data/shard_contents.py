"""What one tar shard holds: its pictures with the labels beside them, and what is wrong with it.

A shard is listed without being unpacked: its headers and the small files of labels are read, and
of each picture where it lies. One elsewhere is read from its beginning to its end for that.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from regraft.data import remote
from regraft.data.image_files import IMAGE_SUFFIXES, why_not_a_file
from regraft.data.members import Member
from regraft.data.shard_labels import LABEL_ENDINGS, Said, Sample, key_of
from regraft.data.table import Rejected, Skipped
from regraft.data.tar_stream import Entry, Listing, members
from regraft.errors import DecodeError
from regraft.wording import count

MAX_MEMBERS = 50_000_000
MAX_LABEL_BYTES = 2**20
_JOINED = "where cat joined several tars: give each by itself, or join them by tar --concatenate"
_COPY_AGAIN = "copy or download the shard again, and compare its size with the original's"
# Of a shard elsewhere so much is read at once; where a picture of this size was passed over, little
# more than the next header.
_WINDOW_BYTES, _LARGE, _FEW_BYTES = 4 * 2**20, 2**20, 64 * 2**10


@dataclass
class Contents:
    """Of one shard, or of several.

    Attributes
    ----------
    paths : list of N Member
    said : Said
        Of these.
    n_differ : int
        Pictures of which two files say different labels.
    rejected : list of Rejected
    skipped : list of Skipped
    """

    paths: list[Member] = field(default_factory=list)
    said: Said = field(default_factory=Said)
    n_differ: int = 0
    rejected: list[Rejected] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    def add(self, other: Contents) -> None:
        """Those of another shard, behind these."""
        self.said.add(other.said)
        self.paths += other.paths
        self.n_differ += other.n_differ
        self.rejected += other.rejected
        self.skipped += other.skipped


class StoppedError(Exception):
    """Somebody wants the listing no more."""


def contents_of(
    shard: str, stop: threading.Event | None = None, n_bytes: int | None = None
) -> Contents:
    """The pictures of one shard; whatever is wrong inside is named, and the rest is there.

    Parameters
    ----------
    shard : str
        Path or address.
    stop : threading.Event, optional
        Set by who wants the listing no more.
    n_bytes : int, optional
        Of one elsewhere, where it is known: its host is not asked for that once more.

    Raises
    ------
    DecodeError, OSError
        It cannot be read at all.
    StoppedError
    """
    place = remote.fetched(shard) if remote.is_address(shard) else shard
    found, listing, samples = Contents(), Listing([]), dict[str, Sample]()
    for entry, content in _entries(place, listing, stop or threading.Event(), n_bytes):
        _take(shard, entry, content, samples, found)
        if len(samples) > MAX_MEMBERS:
            listing.problem = f"more than {MAX_MEMBERS:,} members"
            break
    for name, rule in listing.refused:
        found.skipped.append(Skipped(f"{shard}/{name}", "not-an-image", rule))
    if listing.problem:
        n_good = count(sum(s.picture is not None for s in samples.values()), "image")
        reason = f"{listing.problem}; {n_good} before that are used"
        mend = _JOINED if listing.goes_on else _COPY_AGAIN
        found.rejected.append(Rejected(shard, reason, mend))
    _put(shard, samples, found)
    return found


def _put(shard: str, samples: dict[str, Sample], found: Contents) -> None:
    """The samples of a shard; one of several pictures is named, for none can be meant."""
    for key, sample in samples.items():
        if sample.picture is None:
            found.skipped.append(
                Skipped(f"{shard}/{key}", "not-an-image", "a label without a picture of its key")
            )
            continue
        if sample.n_pictures > 1:
            found.rejected.append(
                Rejected(
                    str(sample.picture),
                    f"the key {key!r} stands for {sample.n_pictures} pictures in the shard",
                    "give every picture a key of its own",
                    sample.label,
                )
            )
            continue
        if sample.problem:
            found.said.problems[len(found.paths)] = sample.problem
        found.n_differ += sample.differs
        found.paths.append(sample.picture)
        found.said.labels.append(sample.label)
        found.said.splits.append(sample.split)
        found.said.groups.append(sample.group)


def _take(
    shard: str,
    entry: Entry,
    content: bytes | None,
    samples: dict[str, Sample],
    found: Contents,
) -> None:
    base = entry.name.rpartition("/")[2]
    stem, _, ending = base.partition(".")
    if not stem or base.startswith("._"):
        found.skipped.append(Skipped(f"{shard}/{entry.name}", "hidden", "a hidden file"))
        return
    ending = ending.lower()
    is_picture = "." + ending.rpartition(".")[2] in IMAGE_SUFFIXES
    if not is_picture and content is None:
        reason = "no picture or label"
        if ending in LABEL_ENDINGS:
            reason = f"a label of {entry.n_bytes:,} bytes; at most {MAX_LABEL_BYTES:,} are read"
        found.skipped.append(Skipped(f"{shard}/{entry.name}", "not-an-image", reason))
        return
    sample = samples.setdefault(key_of(entry.name), Sample())
    if is_picture:
        sample.n_pictures += 1
        # One that is kept here is known by its address all the same; reading finds the copy.
        sample.picture = Member(shard, *entry)
    elif content is not None:
        sample.hear(ending, content)


def _entries(
    place: str, listing: Listing, stop: threading.Event, n_bytes: int | None
) -> Iterator[tuple[Entry, bytes | None]]:
    """Every file of a shard, with its content if it is a label's."""
    if remote.is_address(place):
        window = _Window(place, stop, n_bytes)
        for entry in members(window.read_at, window.size, listing):
            yield entry, _content(entry, window.read_at)
        return
    if problem := why_not_a_file(place):
        raise DecodeError(f"the shard {problem[0]}", cure=problem[1])
    with open(place, "rb", buffering=0) as file:
        _refuse_compressed(place, file.read(2))

        def read_at(offset: int, n_bytes: int) -> bytes:
            file.seek(offset)
            return file.read(n_bytes)

        for entry in members(read_at, os.fstat(file.fileno()).st_size, listing):
            yield entry, _content(entry, read_at)


def _content(entry: Entry, read_at: Any) -> bytes | None:
    ending = entry.name.rpartition("/")[2].partition(".")[2].lower()
    is_label = ending in LABEL_ENDINGS and entry.n_bytes <= MAX_LABEL_BYTES
    return read_at(entry.offset, entry.n_bytes) if is_label else None


def _refuse_compressed(place: str, start: bytes) -> None:
    if start in (b"\x1f\x8b", b"BZ", b"\xfd7", b"PK", b"\x28\xb5"):
        raise DecodeError(
            "the shard is compressed, and cannot be read in place",
            cure=f"unpack it first (pictures hardly shrink): {os.path.basename(place)}",
        )


class _Window:
    """An object elsewhere, read from its beginning to its end some megabytes at a time."""

    def __init__(self, address: str, stop: threading.Event, n_bytes: int | None) -> None:
        self.size = remote.size_of(address) if n_bytes is None else n_bytes
        self._address, self._start, self._data, self._stop = address, 0, b"", stop
        self._last = 0

    def read_at(self, offset: int, n_bytes: int) -> bytes:
        """Bytes from there on; what lies before is forgotten."""
        stop = min(self.size, offset + n_bytes)
        if offset < self._start or stop > self._start + len(self._data):
            if self._stop.is_set():
                raise StoppedError
            is_near = offset - self._last < _LARGE
            most = max(n_bytes, _WINDOW_BYTES if is_near else _FEW_BYTES)
            self._start = offset
            wanted = min(most, max(0, self.size - offset))
            self._data = remote.read(self._address, offset, wanted) if wanted else b""
            if offset == 0:
                _refuse_compressed(self._address, self._data[:2])
        self._last = offset
        return self._data[offset - self._start : stop - self._start]


def has_keys(source: str) -> bool:
    """Whether a tar begins as shards do: a picture and a label of one key among the first."""
    endings: dict[str, set[str]] = {}
    listing = Listing([])
    try:
        with open(source, "rb") as file:

            def read_at(offset: int, n_bytes: int) -> bytes:
                file.seek(offset)
                return file.read(n_bytes)

            size = os.fstat(file.fileno()).st_size
            for n, entry in enumerate(members(read_at, size, listing)):
                folder, _, base = entry.name.rpartition("/")
                stem, _, ending = base.partition(".")
                endings.setdefault(f"{folder}/{stem}", set()).add(ending.lower())
                if n == 20:
                    break
    except OSError:
        return False
    return any(
        names & {"cls", "json"} and any("." + name in IMAGE_SUFFIXES for name in names)
        for names in endings.values()
    )
