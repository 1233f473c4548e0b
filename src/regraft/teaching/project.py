"""A taught folder: its pictures, classes and what may be undone; every change goes through here.

What lies in it is plain: a folder a class, and pictures without one beside them. In ``.regraft/``
are the journal and the trash; no picture is ever deleted.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from regraft.errors import UsageError
from regraft.machine import atomic
from regraft.teaching.journal import Entry, Journal, Move
from regraft.teaching.names import OWN, TRASH, class_name, file_name, free
from regraft.teaching.one_process import only_one
from regraft.teaching.picture import HELD_SHARE as HELD_SHARE
from regraft.teaching.picture import New as New
from regraft.teaching.picture import Picture as Picture
from regraft.teaching.picture import is_held as is_held
from regraft.wording import count, near_names


class Project:
    """A folder and its journal; changes come one after another, from any thread.

    Parameters
    ----------
    folder : path
        Made if missing. What lies there is found, whether a journal knows it or not.

    Raises
    ------
    UsageError
        Another process teaches it, or it cannot be written.
    DataError
        The journal is damaged.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.lock = threading.RLock()
        self.pictures: dict[int, Picture] = {}
        self.classes: tuple[str, ...] = ()
        self._undo: list[Entry] = []
        self._redo: list[Entry] = []
        self._held = only_one(self.folder)
        try:
            self.journal = Journal(self.folder / OWN / "journal.jsonl")
        except BaseException:
            self._held.close()
            raise
        for entry in self.journal.entries:
            self._apply(entry)
        if self.journal.entries:
            self._move_files(self.journal.entries[-1].moves)

    def close(self) -> None:
        """Let another process have it."""
        self.journal.close()
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # -- what there is ------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """Number of the last action."""
        return len(self.journal.entries)

    def shown(self) -> list[Picture]:
        """All pictures that are not removed, in the order of their coming."""
        # A copy at one stroke, since another thread may add meanwhile.
        return [one for one in list(self.pictures.values()) if not one.is_removed]

    def path(self, picture: Picture) -> Path:
        """Where it lies."""
        return self.folder / picture.path

    @property
    def undoable(self) -> Entry | None:
        """What `undo` would undo."""
        return self._undo[-1] if self._undo else None

    @property
    def redoable(self) -> Entry | None:
        """What `redo` would do again."""
        return self._redo[-1] if self._redo else None

    # -- what is done -------------------------------------------------------------------------

    def add(self, pictures: Sequence[New], label: str | None = None) -> list[Picture]:
        """Write pictures into the folder, into a class, into none, or each into its own."""
        with self.lock:
            own = dict.fromkeys(one.label or label for one in pictures)
            name_of = {text: self._known_or_new(text) if text else None for text in own}
            taken = {name: self._taken(name) for name in name_of.values()}
            moves, facts, start = [], {}, max(self.pictures, default=0) + 1
            for number, new in enumerate(pictures, start):
                name = name_of[new.label or label]
                file = free(file_name(new.name, new.ending), taken[name])
                taken[name].add(file.casefold())
                target = f"{name}/{file}" if name else file
                with atomic.file(self.folder / target, sync=True) as part:
                    part.write_bytes(new.data)
                moves.append(Move(number, "", target))
                facts[number] = _facts(hashlib.sha256(new.data).hexdigest(), new.together)
            words = f"add {count(len(moves), 'picture')}" + _to(list(name_of.values()))
            self._do("add", words, moves, self._with_classes(name_of.values()), facts=facts)
            return [self.pictures[move.picture] for move in moves]

    def label(self, numbers: Iterable[int], label: str | None) -> Entry | None:
        """Give pictures a class, or take it from them (None); those that have it stay."""
        return self.label_each(dict.fromkeys(numbers, label))

    def label_each(self, labels: Mapping[int, str | None]) -> Entry | None:
        """Give each picture a class of its own, as one action."""
        with self.lock:
            wanted = {text: self._known_or_new(text) if text else None for text in labels.values()}
            chosen = [(one, wanted[labels[one.number]]) for one in self._chosen(labels)]
            chosen = [(one, name) for one, name in chosen if one.label != name]
            names = list(dict.fromkeys(name for _, name in chosen))
            moves = [
                move
                for name in names
                for move in self._into([one for one, its in chosen if its == name], name)
            ]
            what = f"{names[0] or 'nothing'}" if len(names) == 1 else f"{len(names)} classes"
            words = f"label {count(len(moves), 'picture')} as {what}"
            return self._do("label", words, moves, self._with_classes(names)) if moves else None

    def remove(self, numbers: Iterable[int]) -> Entry | None:
        """Into the trash, from where undo fetches them."""
        with self.lock:
            moves = [Move(one.number, one.path, self._trash(one)) for one in self._chosen(numbers)]
            words = f"remove {count(len(moves), 'picture')}"
            return self._do("remove", words, moves, self.classes) if moves else None

    def add_class(self, text: str) -> Entry:
        """A class without pictures yet."""
        with self.lock:
            name = class_name(text)
            self._require_new(name)
            return self._do("class", f"add the class {name}", [], self._with_class(name))

    def rename_class(self, old: str, text: str) -> Entry:
        """Another name for a class; the name of another class merges the two."""
        with self.lock:
            self._require_class(old)
            name = class_name(text)
            if name == old:
                raise UsageError(f"the class is called {old!r} already")
            merges = name in self.classes
            if not merges:
                self._require_new(name, but=old)
            own = [one for one in self.shown() if one.label == old]
            classes = list(dict.fromkeys(name if one == old else one for one in self.classes))
            words = f"merge {old} into {name}" if merges else f"rename {old} to {name}"
            return self._do("class", words, self._into(own, name), classes)

    def remove_class(self, name: str) -> Entry:
        """The class goes, its pictures stay without one."""
        with self.lock:
            self._require_class(name)
            own = [one for one in self.shown() if one.label == name]
            classes = [one for one in self.classes if one != name]
            return self._do("class", f"remove the class {name}", self._into(own, None), classes)

    def undo(self) -> Entry:
        """Take back the last action that is not taken back."""
        with self.lock:
            if not self._undo:
                raise UsageError("there is nothing to undo")
            return self._back(self._undo[-1], "undo")

    def redo(self) -> Entry:
        """Do again what was undone last."""
        with self.lock:
            if not self._redo:
                raise UsageError("there is nothing to do again")
            return self._back(self._redo[-1], "redo")

    def found(
        self,
        new: Mapping[str, str],
        moved: Mapping[int, str],
        changed: Mapping[int, str],
        folders: Iterable[str] = (),
    ) -> Entry | None:
        """Take over what was changed on disk meanwhile.

        Parameters
        ----------
        new : path to digest
            Files that nobody added.
        moved : number to path
            Where a picture lies now; '' if it is gone.
        changed : number to digest
            Files with other content than before.
        folders : names
            Class folders that lie there, with or without pictures.
        """
        with self.lock:
            start = max(self.pictures, default=0) + 1
            moves = [Move(n, self.pictures[n].path, path) for n, path in moved.items()]
            facts = {n: _facts(digest, self.pictures[n].together) for n, digest in changed.items()}
            for number, (path, digest) in enumerate(new.items(), start):
                moves.append(Move(number, "", path))
                facts[number] = _facts(digest, "")
            classes = self._with_classes(folders)
            if not moves and not facts and len(classes) == len(self.classes):
                return None
            for name in (move.target.rpartition("/")[0] for move in moves):
                if name and not name.startswith(OWN) and name not in classes:
                    classes.append(name)
            n = len(moves) + len(changed)
            words = f"{count(n, 'picture')} found changed on disk" if n else "found new folders"
            return self._do("found", words, moves, classes, facts=facts)

    def keep_together(self, keys: Mapping[int, str]) -> Entry | None:
        """Number to what it must stay together with: near copies, seen once they are looked at."""
        with self.lock:
            facts = {n: _facts(self.pictures[n].digest, key) for n, key in keys.items()}
            if not facts:
                return None
            words = f"{count(len(facts), 'near copy', 'near copies')} kept together"
            return self._do("found", words, [], self.classes, facts=facts)

    # -- how ----------------------------------------------------------------------------------

    def _do(
        self,
        action: str,
        words: str,
        moves: Sequence[Move],
        classes: Sequence[str],
        *,
        of: int = 0,
        facts: dict[int, dict[str, str]] | None = None,
    ) -> Entry:
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        entry = Entry(
            self.version + 1, action, words, tuple(moves), tuple(classes), of, at, facts or {}
        )
        self.journal.append(entry)
        self._apply(entry)
        self._move_files(entry.moves)
        return entry

    def _back(self, entry: Entry, action: str) -> Entry:
        """The opposite of an action: what it moved moves back, as far as it still lies there."""
        before = self.journal.entries[entry.number - 2].classes if entry.number > 1 else ()
        moves, taken = [], dict[str, set[str]]()
        for move in reversed(entry.moves):
            one = self.pictures[move.picture]
            if one.path == move.target:  # nothing on disk came in between
                back = move.back(self._trash(one))
                moves.append(replace(back, target=self._free_path(back.target, taken)))
        path_of = {move.picture: move.target for move in moves}
        after = [replace(one, path=path_of.get(n, one.path)) for n, one in self.pictures.items()]
        used = {str(one.label) for one in after if one.label and not one.is_removed}
        classes = [*before, *(name for name in self.classes if name in used - set(before))]
        words = entry.words.removeprefix("undo: ").removeprefix("redo: ")
        return self._do(action, f"{action}: {words}", moves, classes, of=entry.number)

    def _apply(self, entry: Entry) -> None:
        """What an action means for the state; nothing on disk is touched."""
        for move in entry.moves:
            if move.picture in self.pictures:
                one = replace(self.pictures[move.picture], path=move.target)
            else:
                one = Picture(move.picture, move.target, "", "")
            self.pictures[move.picture] = one
        for number, facts in entry.facts.items():
            self.pictures[number] = replace(
                self.pictures[number], digest=facts["digest"], together=facts["together"]
            )
        self.classes = entry.classes
        if entry.action == "undo":
            self._undo.pop()
            self._redo.append(entry)
        elif entry.action == "redo":
            self._redo.pop()
            self._undo.append(entry)
        elif entry.action != "found":
            self._undo.append(entry)
            self._redo.clear()

    def _move_files(self, moves: Iterable[Move]) -> None:
        """Those that lie at their source still; done twice it is as if done once."""
        emptied = set()
        for move in moves:
            source, target = self.folder / move.source, self.folder / move.target
            if move.source and move.target and source.exists() and not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                os.rename(source, target)
                emptied.add(source.parent)
        for folder in emptied - {self.folder}:
            if folder.name not in self.classes and not any(folder.iterdir()):
                folder.rmdir()
        for name in self.classes:
            (self.folder / name).mkdir(exist_ok=True)

    def _into(self, pictures: Iterable[Picture], name: str | None) -> list[Move]:
        taken, moves = self._taken(name), []
        for one in pictures:
            file = free(one.path.rpartition("/")[2], taken)
            taken.add(file.casefold())
            moves.append(Move(one.number, one.path, f"{name}/{file}" if name else file))
        return moves

    def _taken(self, name: str | None) -> set[str]:
        """File names of a folder, casefolded: many systems tell no capitals."""
        folder = self.folder / (name or ".")
        return {file.casefold() for file in os.listdir(folder)} if folder.is_dir() else set()

    def _free_path(self, path: str, taken: dict[str, set[str]]) -> str:
        """The path, or one beside it that nothing has; `taken` hears of it, for the next ones."""
        parent, _, file = path.rpartition("/")
        names = taken.setdefault(parent, self._taken(parent))
        file = free(file, names)
        names.add(file.casefold())
        return f"{parent}/{file}" if parent else file

    def _trash(self, one: Picture) -> str:
        return f"{TRASH}/{one.number}-{one.path.rpartition('/')[2]}"

    def _chosen(self, numbers: Iterable[int]) -> list[Picture]:
        found = [self.pictures.get(number) for number in dict.fromkeys(numbers)]
        missing = [one for one in found if one is None or one.is_removed]
        if missing:
            raise UsageError(f"{count(len(missing), 'picture')} of these are not there any more")
        return [one for one in found if one is not None]

    def _with_class(self, name: str | None) -> list[str]:
        return self._with_classes([name])

    def _with_classes(self, names: Iterable[str | None]) -> list[str]:
        return list(dict.fromkeys([*self.classes, *(name for name in names if name)]))

    def _known_or_new(self, text: str) -> str:
        if text in self.classes:
            return text
        name = class_name(text)
        if name not in self.classes:
            self._require_new(name)
        return name

    def _require_new(self, name: str, *, but: str = "") -> None:
        for other in self.classes:
            if other.casefold() == name.casefold() and other != but:
                raise UsageError(f"there is a class {other!r} already", cure="another name")

    def _require_class(self, name: str) -> None:
        if name not in self.classes:
            near = near_names(name, self.classes, n=1)
            raise UsageError(
                f"there is no class {name!r}", cure=f"did you mean {near[0]!r}?" if near else ""
            )


def _to(names: Sequence[str | None]) -> str:
    """Where pictures go, in words; nothing where they go into no class."""
    if names == [None]:
        return ""
    return f" to {names[0]}" if len(names) == 1 else f" to {count(len(names), 'class', 'classes')}"


def _facts(digest: str, together: str) -> dict[str, str]:
    return {"digest": digest, "together": together}
