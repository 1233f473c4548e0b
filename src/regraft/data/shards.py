"""Tar shards by WebDataset's convention: files of one key are one picture and its label.

``000012.jpg`` beside ``000012.cls`` or ``000012.json``; or a table of labels beside the shards; or
the folders inside. Nothing is unpacked: the table knows where each picture lies in its shard, which
is read in place, from this disk or from elsewhere.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable
from itertools import product

from regraft.data import remote
from regraft.data.addresses import require_plain
from regraft.data.listings import Listings
from regraft.data.members import Member
from regraft.data.shard_contents import Contents, has_keys
from regraft.data.shard_labels import Said, said_otherwise
from regraft.data.split_names import split_name
from regraft.data.table import ImageTable, NoLabels, Reading, Rejected, column
from regraft.data.tidying import check_text, in_order
from regraft.errors import TableError
from regraft.wording import agree, count

MAX_SHARDS = 100_000
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}|\{([^{}]*,[^{}]*)\}")


def is_shards(source: str) -> bool:
    """Whether a source is one of tar shards: a pattern in braces, or a tar of keys and labels.

    Examples
    --------
    >>> is_shards("shards/{0000..0063}.tar"), is_shards("photos.zip")
    (True, False)
    """
    if source.lower().endswith(".tar") and (_RANGE.search(source) or remote.is_address(source)):
        return True
    return source.lower().endswith(".tar") and os.path.isfile(source) and has_keys(source)


def shards_in(source: str) -> list[str]:
    """The shards that a source names; none if it is something else."""
    return expanded(source) if is_shards(source) else []


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


def read_shards(
    source: str,
    *,
    wants_labels: bool = True,
    listings: Listings | None = None,
    only: slice = slice(None),
) -> ImageTable:
    """The pictures of tar shards, in the order of their names.

    Parameters
    ----------
    source : str
        One tar, or a pattern such as ``shards/{0000..0063}.tar``; paths or addresses.
    wants_labels : bool
        Otherwise only pictures are looked for.
    listings : Listings, optional
        Where the listings of shards elsewhere are kept; by default in the cache folder.
    only : slice
        Of the shards that are named, those that are read.

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
    shards = expanded(source)[only]
    require_plain(shards, source)
    found = (listings or Listings()).of(shards)
    if not found.paths:
        first = found.rejected[0] if found.rejected else None
        raise TableError(
            f"no image in {count(len(shards), 'shard')} of {source!r}"
            + (f": {first.path!r} {first.reason}" if first else ""),
            cure=first.mend if first else "000012.jpg beside 000012.cls, in each tar",
        )
    return _table_of(source, shards, found, wants_labels)


def _table_of(source: str, shards: list[str], found: Contents, wants_labels: bool) -> ImageTable:
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


def _without_problems(
    paths: list[Member], said: Said, found: Contents
) -> tuple[list[Member], Said]:
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


def _two_labels(found: Contents) -> list[Reading]:
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
