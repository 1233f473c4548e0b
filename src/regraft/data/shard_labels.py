"""What is said of the pictures of tar shards: beside each, in a table, by the folders inside.

A label that cannot be told for sure (two files of one key that say different things, text that is
none, one row of a table for keys of several shards) costs its own picture, with the reason.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from regraft.data import remote
from regraft.data.cells import composed, name_of
from regraft.data.columns import COLUMN_NAMES
from regraft.data.fetched_table import as_file, require_read
from regraft.data.image_files import why_not_a_file
from regraft.data.members import Member
from regraft.data.table import SPLIT_NAMES, Reading, first_few
from regraft.errors import DecodeError
from regraft.wording import agree, count

LABEL_ENDINGS = ("cls", "json", "class", "label")
_JSON_LABELS = ("label", "class", "cls", "category", "class_name", "target")
_TABLES = ("labels.csv", "labels.tsv", "labels.jsonl", "labels.parquet")


@dataclass(slots=True)
class Sample:
    """What is known of one key so far.

    Attributes
    ----------
    picture : Member or None
    n_pictures : int
        That bear this key; none is meant if there are several.
    label, split, group : str or None
    problem : str
        Why its label cannot be told.
    heard : str
        The ending of the file that said the label.
    differs : bool
        Its ``.json`` says another label than its ``.cls``.
    """

    picture: Member | None = None
    n_pictures: int = 0
    label: str | None = None
    split: str | None = None
    group: str | None = None
    problem: str = ""
    heard: str = ""
    differs: bool = False

    def hear(self, ending: str, content: bytes) -> None:
        """Take in a file of labels of this key; where two say a label, ``.json`` stands back,
        in whatever order they come.

        Examples
        --------
        >>> one = Sample()
        >>> one.hear("json", b'{"label": 3, "group": "plant 1"}')
        >>> one.hear("cls", b"bee")
        >>> one.label, one.group, one.differs
        ('bee', 'plant 1', True)
        """
        text = content.decode("utf-8-sig", "surrogateescape").strip()
        label = self._from_json(text) if ending == "json" else name_of(text)
        if label is None:
            return
        if not _is_text(label):
            self.problem = f"its .{ending} is not UTF-8 text"
            return
        is_json, was_json = ending == "json", self.heard == "json"
        if not self.heard or (was_json and not is_json):
            self.differs = bool(self.heard) and label != self.label
            self.label, self.heard = label, ending
        elif label == self.label:
            return
        elif is_json and not was_json:
            self.differs = True
        else:
            self.problem = f"its labels contradict each other: {self.label!r} and {label!r}"

    def _from_json(self, text: str) -> str | None:
        try:
            said = json.loads(text)
        except (ValueError, RecursionError):  # deeper than Python goes
            return None
        if not isinstance(said, dict):
            return name_of(said) if isinstance(said, (str, int)) else None
        self.split = SPLIT_NAMES.get(str(said.get("split")).lower(), self.split)
        for key in COLUMN_NAMES["group"]:
            group = _plain(said.get(key))
            if group is not None and _is_text(group):
                self.group = group
        label = next((said[key] for key in _JSON_LABELS if key in said), None)
        return _plain(label)


@dataclass
class Said:
    """Labels, splits and groups of N pictures, in the order of their paths; and what is wrong.

    Attributes
    ----------
    labels, splits, groups : list of N
    problems : dict
        From a picture's place to why its label cannot be told.
    readings : list of Reading
    """

    labels: list[str | None] = field(default_factory=list)
    splits: list[str | None] = field(default_factory=list)
    groups: list[str | None] = field(default_factory=list)
    problems: dict[int, str] = field(default_factory=dict)
    readings: list[Reading] = field(default_factory=list)

    def add(self, other: Said) -> None:
        """What is said of more pictures, behind these."""
        start = len(self.labels)
        self.problems |= {start + place: problem for place, problem in other.problems.items()}
        self.labels += other.labels
        self.splits += other.splits
        self.groups += other.groups
        self.readings += other.readings

    def select(self, kept: Sequence[int]) -> Said:
        """Of some of the pictures, of which nothing is wrong."""
        columns = (self.labels, self.splits, self.groups)
        labels, splits, groups = ([one[place] for place in kept] for one in columns)
        return Said(labels, splits, groups, readings=self.readings)


def said_otherwise(shards: Sequence[str], paths: Sequence[Member], said: Said) -> Said:
    """Where nothing stands beside the pictures: a table beside the shards, or folders inside."""
    folder = os.path.dirname(shards[0])
    for name in _TABLES:
        place = os.path.join(folder, name)
        with _here(place) as file:
            if file:
                return _from_table(file, place, paths)
    inside = [os.path.dirname(_name_inside(path)) for path in paths]
    if all(inside) and len({os.path.basename(one) for one in inside}) > 1:
        words = "the folders inside the shards are read as classes"
        mend = "a .cls beside each picture says another"
        said.labels = [os.path.basename(one) for one in inside]
        said.readings.append(Reading("label-names", words, mend))
    return said


def key_of(name: str) -> str:
    """The key of a file in a shard: its name up to the first dot.

    Examples
    --------
    >>> key_of("a.b/000012.seg.png"), key_of("000012")
    ('a.b/000012', '000012')
    """
    folder, _, base = name.rpartition("/")
    stem = base.partition(".")[0]
    return f"{folder}/{stem}" if folder else stem


@contextmanager
def _here(table: str) -> Iterator[str]:
    """A table as a file, fetched if it lies elsewhere; '' if there is none."""
    if not remote.is_address(table):
        yield "" if why_not_a_file(table) else table
        return
    with ExitStack() as stack:
        try:
            file = stack.enter_context(as_file(table))
        except DecodeError as error:
            require_read(error, table)
            file = ""
        yield file


def _from_table(file: str, table: str, paths: Sequence[Member]) -> Said:
    """What a table says of each key; of keys that several shards have, by SHARD/KEY."""
    from regraft.data.manifests import known_splits, read_rows

    rows = read_rows(file, {"path": None, "label": None, "split": None, "group": None})
    every = zip(rows["label"], known_splits(table, rows), rows["group"], strict=True)
    row_of, contradicted = dict[str, Any](), set[str]()
    for path, row in zip(rows["path"], every, strict=True):
        key = key_of(composed(path or ""))
        if row_of.setdefault(key, row) != row:
            contradicted.add(key)
    said, lacking = Said(), list[str]()
    n_of = Counter(map(_key_of_member, paths))
    for place, path in enumerate(paths):
        key = _key_of_member(path)
        full = f"{os.path.basename(path.shard)}/{key}"
        told_by = full if full in row_of else key
        label, split, group = row_of.get(told_by, (None, None, None))
        if told_by not in row_of:
            lacking.append(key)
        elif told_by in contradicted:
            said.problems[place] = f"{table} says different things of {told_by!r}"
        elif told_by == key and n_of[key] > 1:
            said.problems[place] = (
                f"{n_of[key]} shards have a picture of the key {key!r}, and {table} does not say "
                f"which of them it means: write {full} there"
            )
        said.labels.append(label)
        said.splits.append(split)
        said.groups.append(group)
    said.readings.append(_reading(table, lacking))
    return said


def _reading(table: str, lacking: list[str]) -> Reading:
    words = f"labels are those of {table}"
    if lacking:
        words += f"; {count(len(lacking), 'picture')} {agree(len(lacking), '[is|are]')} not in it: "
        words += first_few(lacking, at_most=3)
    return Reading("label-file", words, "remove it if it is of other data", table)


def _key_of_member(path: Member) -> str:
    return key_of(composed(_name_inside(path)))


def _name_inside(path: Member) -> str:
    return str(path)[len(path.shard) + 1 :]


def _plain(value: Any) -> str | None:
    return None if value is None or isinstance(value, (dict, list)) else name_of(value)


def _is_text(name: str) -> bool:
    return name.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in name)
