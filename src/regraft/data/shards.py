"""Tar shards by WebDataset's convention: files of one key are one picture and its label.

``000012.jpg`` beside ``000012.cls`` or ``000012.json``; or a table of labels beside the shards; or
the folders inside. Nothing is unpacked: the table knows where each picture lies in its shard, which
is read in place, from this disk or from elsewhere.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from regraft.data import remote
from regraft.data.addresses import require_plain
from regraft.data.image_files import IMAGE_SUFFIXES, why_not_a_file
from regraft.data.members import Member
from regraft.data.shard_labels import LABEL_ENDINGS, Said, Sample, key_of, said_otherwise
from regraft.data.split_names import split_name
from regraft.data.table import (
    ImageTable,
    NoLabels,
    Reading,
    Rejected,
    Skipped,
    column,
)
from regraft.data.tar_stream import Entry, Listing, members
from regraft.data.tidying import check_text, in_order
from regraft.errors import DecodeError, TableError
from regraft.wording import agree, count

MAX_SHARDS = 100_000
MAX_MEMBERS = 50_000_000
MAX_LABEL_BYTES = 2**20
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}|\{([^{}]*,[^{}]*)\}")
_JOINED = "where cat joined several tars: give each by itself, or join them by tar --concatenate"
_COPY_AGAIN = "copy or download the shard again, and compare its size with the original's"


def is_shards(source: str) -> bool:
    """Whether a source is one of tar shards: a pattern in braces, or a tar of keys and labels.

    Examples
    --------
    >>> is_shards("shards/{0000..0063}.tar"), is_shards("photos.zip")
    (True, False)
    """
    if source.lower().endswith(".tar") and (_RANGE.search(source) or remote.is_address(source)):
        return True
    return source.lower().endswith(".tar") and os.path.isfile(source) and _has_keys(source)


def expanded(pattern: str) -> list[str]:
    """Every shard that a pattern names.

    Examples
    --------
    >>> expanded("{train,val}-{08..10}.tar")[:4]
    ['train-08.tar', 'train-09.tar', 'train-10.tar', 'val-08.tar']
    """
    choices, texts, at = list[list[str]](), list[str](), 0
    for match in _RANGE.finditer(pattern):
        texts.append(pattern[at : match.start()])
        at = match.end()
        if match[3] is not None:
            choices.append(match[3].split(","))
            continue
        first, last = int(match[1]), int(match[2])
        if not first <= last < first + MAX_SHARDS:
            raise TableError(
                f"{match[0]} names {last - first + 1:,} shards; it may be 1 to {MAX_SHARDS:,}",
                place=pattern,
                cure="{0000..0063}, the first and the last",
            )
        width = len(match[1]) if match[1].startswith("0") or len(match[1]) == len(match[2]) else 0
        choices.append([f"{n:0{width}}" for n in range(first, last + 1)])
    if (n_named := math.prod(map(len, choices))) > MAX_SHARDS:
        raise TableError(
            f"{pattern!r} names {n_named:,} shards; it may be 1 to {MAX_SHARDS:,}",
            place=pattern,
            cure="give fewer at a time, or larger shards",
        )
    found = [
        "".join(text + choice for text, choice in zip(texts, chosen, strict=True)) + pattern[at:]
        for chosen in product(*choices)
    ]
    return list(dict.fromkeys(found))


@dataclass
class _Found:
    """What the shards hold."""

    paths: list[Member] = field(default_factory=list)
    said: Said = field(default_factory=Said)
    n_differ: int = 0
    rejected: list[Rejected] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


def read_shards(source: str, *, wants_labels: bool = True) -> ImageTable:
    """The pictures of tar shards, in the order of their names.

    Parameters
    ----------
    source : str
        One tar, or a pattern such as ``shards/{0000..0063}.tar``; paths or addresses.
    wants_labels : bool
        Otherwise only pictures are looked for.

    Raises
    ------
    TableError
        No shard can be read, or none holds a picture.

    Examples
    --------
    >>> import io, tarfile, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with tarfile.open(f"{folder}/00.tar", "w") as tar:
    ...         for name, content in (("1.jpg", b"..."), ("1.cls", b"ant")):
    ...             member = tarfile.TarInfo(name)
    ...             member.size = len(content)
    ...             tar.addfile(member, io.BytesIO(content))
    ...     table = read_shards(f"{folder}/{{00..00}}.tar")
    >>> table.labels, table.paths[0].endswith("00.tar/1.jpg")
    (array(['ant'], dtype=object), True)
    """
    shards = expanded(source)
    require_plain(shards, source)
    found = _Found()
    for shard in shards:
        _read_shard(shard, found)
    if not found.paths:
        first = found.rejected[0] if found.rejected else None
        raise TableError(
            f"no image in {count(len(shards), 'shard')} of {source!r}"
            + (f": {first.path!r} {first.reason}" if first else ""),
            cure=first.mend if first else "000012.jpg beside 000012.cls, in each tar",
        )
    return _table_of(source, shards, found, wants_labels)


def _table_of(source: str, shards: list[str], found: _Found, wants_labels: bool) -> ImageTable:
    said, paths = found.said, found.paths
    if not wants_labels:
        nothing: list[str | None] = [None] * len(paths)
        said = Said(nothing, nothing, nothing)
    elif not any(said.labels) and not said.problems:
        said = said_otherwise(shards, paths, said)
    if said.problems:
        paths, said = _without_problems(paths, said, found)
    for names, role in ((said.labels, "label"), (said.groups, "group")):
        check_text({name for name in names if name is not None}, role, source)
    splits = said.splits
    if wants_labels and not any(splits) and len(named := _splits_of_shards(shards)) > 1:
        splits = [named.get(path.shard) for path in paths]
    table = ImageTable(
        column(paths),
        column(said.labels),
        column(splits),
        groups=column(said.groups) if any(said.groups) else None,
        source=source,
        skipped=tuple(found.skipped),
        rejected=tuple(found.rejected),
        readings=(*said.readings, *_two_labels(found)),
        no_labels=None if any(said.labels) else _NO_LABELS,
    )
    return in_order(table)


def _without_problems(paths: list[Member], said: Said, found: _Found) -> tuple[list[Member], Said]:
    """Without the pictures whose label cannot be told; each is named."""
    for place, problem in said.problems.items():
        found.rejected.append(Rejected(str(paths[place]), problem, "correct its label, in UTF-8"))
    kept = [place for place in range(len(paths)) if place not in said.problems]
    if not kept:
        first = found.rejected[-1]
        raise TableError(
            f"the label of no picture can be told: {first.reason}",
            place=first.path,
            cure=first.mend,
        )
    return [paths[place] for place in kept], said.select(kept)


def _two_labels(found: _Found) -> list[Reading]:
    if not found.n_differ:
        return []
    words = (
        f"{count(found.n_differ, 'picture')} {agree(found.n_differ, '[has|have]')} another label "
        "in .json than in .cls; that of .cls is taken"
    )
    return [Reading("label-names", words, "leave out of the shards what is not meant")]


_NO_LABELS = NoLabels(
    "no .cls or .json stands beside its pictures, no folder inside says a class",
    "write 000012.cls (or 000012.json with the key label) beside 000012.jpg; or labels.csv with "
    "the columns path,label beside the shards, path being the key",
)


def _read_shard(shard: str, found: _Found) -> None:
    """One shard; whatever is wrong with it is named, and the others are read all the same."""
    try:
        place = remote.fetched(shard) if remote.is_address(shard) else shard
        listing, samples = Listing([]), dict[str, Sample]()
        for entry, content in _entries(place, listing):
            _take(shard, entry, content, samples, found)
            if len(samples) + len(found.paths) > MAX_MEMBERS:
                listing.problem = f"more than {MAX_MEMBERS:,} members"
                break
    except (DecodeError, OSError) as error:
        rule = error.rule if isinstance(error, DecodeError) else f"cannot be opened: {error}"
        cure = error.cure if isinstance(error, DecodeError) else "correct the path"
        found.rejected.append(Rejected(shard, rule, cure))
        return
    for name, rule in listing.refused:
        found.skipped.append(Skipped(f"{shard}/{name}", "not-an-image", rule))
    if listing.problem:
        n_good = count(sum(s.picture is not None for s in samples.values()), "image")
        reason = f"{listing.problem}; {n_good} before that are used"
        mend = _JOINED if listing.goes_on else _COPY_AGAIN
        found.rejected.append(Rejected(shard, reason, mend))
    _put(shard, samples, found)


def _put(shard: str, samples: dict[str, Sample], found: _Found) -> None:
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
    found: _Found,
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


def _splits_of_shards(shards: Iterable[str]) -> dict[str, str]:
    """train-00.tar and val-00.tar say the split; empty unless all do, and differently."""
    found = {}
    for shard in shards:
        name = re.split(r"[-_.]?\d", os.path.basename(shard))[0].removesuffix(".tar")
        split = split_name(name)
        if split is None:
            return {}
        found[shard] = split.split
    return found if len(set(found.values())) > 1 else {}


def _entries(place: str, listing: Listing) -> Iterator[tuple[Entry, bytes | None]]:
    """Every file of a shard, with its content if it is a label's."""
    if remote.is_address(place):
        window = _Window(place)
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

    def __init__(self, address: str) -> None:
        self.size = remote.size_of(address)
        self._address, self._start, self._data = address, 0, b""

    def read_at(self, offset: int, n_bytes: int) -> bytes:
        """Bytes from there on; what lies before is forgotten."""
        stop = min(self.size, offset + n_bytes)
        if offset < self._start or stop > self._start + len(self._data):
            most = max(n_bytes, 4 * 2**20)
            self._start = offset
            wanted = min(most, max(0, self.size - offset))
            self._data = remote.read(self._address, offset, wanted) if wanted else b""
            if offset == 0:
                _refuse_compressed(self._address, self._data[:2])
        return self._data[offset - self._start : stop - self._start]


def _has_keys(source: str) -> bool:
    """Whether a tar begins as shards do: a picture and a label of the same key among the first."""
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
