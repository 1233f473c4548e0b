"""What was done to a taught folder, one line an action, on disk before it is done.

The journal is the only memory: replayed from its first line it gives the state of now, and whoever
takes the folder takes it along. Every action is a list of moves of pictures (from nowhere: added;
into the trash: removed) and the classes that there are afterwards, so that undoing is moving back.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from regraft.errors import DataError


@dataclass(frozen=True)
class Move:
    """One picture from one place in the folder to another.

    Attributes
    ----------
    picture : int
        Its number, which it keeps whatever it is called.
    source : str
        Path within the folder, with '/'; empty if it was not in it.
    target : str
        Path within the folder.
    """

    picture: int
    source: str
    target: str

    def back(self, trash: str) -> Move:
        """The move that undoes it; what came from nowhere goes into the trash."""
        return Move(self.picture, self.target, self.source or trash)


@dataclass(frozen=True)
class Entry:
    """One action.

    Attributes
    ----------
    number : int
        From 1, without gaps.
    action : str
        'add', 'label', 'class', 'remove', 'undo', 'redo', 'found' (changed on disk meanwhile).
    words : str
        For people: 'label 3 pictures as ants'.
    moves : tuple of Move
    classes : tuple of str
        All classes afterwards.
    of : int
        The action that is undone or done again; else 0.
    at : str
        When, ISO 8601 in UTC.
    facts : dict
        Of the pictures that are new: number to what it is told by (digest, together).
    """

    number: int
    action: str
    words: str
    moves: tuple[Move, ...]
    classes: tuple[str, ...]
    of: int = 0
    at: str = ""
    facts: dict[int, dict[str, str]] = field(default_factory=dict)

    def to_line(self) -> str:
        """As JSON on one line."""
        moves = [[move.picture, move.source, move.target] for move in self.moves]
        content = {**asdict(self), "moves": moves, "facts": self.facts}
        return json.dumps(content, ensure_ascii=True) + "\n"

    @classmethod
    def of_line(cls, line: str) -> Entry:
        """Back from its line; ValueError for what is none."""
        content: Any = json.loads(line)
        try:
            moves = tuple(Move(int(n), str(a), str(b)) for n, a, b in content.pop("moves"))
            facts = {int(n): dict(found) for n, found in content.pop("facts").items()}
            classes = tuple(map(str, content.pop("classes")))
            return cls(moves=moves, facts=facts, classes=classes, **content)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"not an action: {line[:80]!r}") from error


class Journal:
    """The file, open for adding to it; one process at a time holds it.

    Parameters
    ----------
    path : Path
        Made if missing. A last line that a kill cut off is taken away.

    Raises
    ------
    DataError
        A line before the last is damaged.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.entries = list(_read(path))
        self._stream = open(path, "a", encoding="ascii", newline="\n")  # noqa: SIM115

    def append(self, entry: Entry) -> None:
        """On disk, and only then known."""
        self._stream.write(entry.to_line())
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self.entries.append(entry)

    def close(self) -> None:
        """Nothing can be added any more."""
        self._stream.close()


def _read(path: Path) -> Iterator[Entry]:
    if not path.exists():
        return
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):  # a kill came in the middle of the last line: it was not done
        with open(path, "r+b") as stream:
            stream.truncate(whole)
    for number, line in enumerate(data[:whole].decode("ascii", "replace").splitlines(), 1):
        try:
            entry = Entry.of_line(line)
        except ValueError:
            entry = None
        if entry is None or entry.number != number:
            raise DataError(
                f"line {number} of the journal is damaged",
                place=str(path),
                cure=f"move it away to begin a new one; the pictures and their folders stay: "
                f"mv {path} {path}.damaged",
            )
        yield entry
