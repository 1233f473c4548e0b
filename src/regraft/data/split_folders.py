"""Which of the folders in one folder are its splits: by their names, and by their neighbours."""

from __future__ import annotations

from regraft.data.cells import composed
from regraft.data.split_names import EVAL, SplitName, split_name
from regraft.data.tree import Folder


def splits_among(folders: list[Folder]) -> dict[Folder, str]:
    """Folders that are splits, with the split; none if they read better as classes.

    A name that says nothing but a split is one. A name with other words too, or in another
    language, is one if another folder has the same words and another split, or the same folders in
    it. If none of them holds folders, and there are others that hold images, they are classes.
    """
    named = {folder: name for folder in folders if (name := split_name(folder.name))}
    plain = {folder: name for folder, name in named.items() if name.is_plain}
    taken = {name.split for name in plain.values()}
    others = {f: name for f, name in named.items() if not name.is_plain and name.split not in taken}
    known = plain | {
        folder: name
        for folder, name in others.items()
        if any(_are_alike(folder, other, named) for other in (plain | others))
    }
    filled = [folder for folder in folders if folder.n_images]
    if not any(folder.folders for folder in known) and not all(f in known for f in filled):
        return {}
    return _resolved(known)


def _are_alike(one: Folder, other: Folder, named: dict[Folder, SplitName]) -> bool:
    """Whether two names say different splits of one thing."""
    if named[one].split == named[other].split:
        return False
    names, others = ({plain_name(f) for f in folder.filled} for folder in (one, other))
    shares_classes = 2 * len(names & others) > min(len(names), len(others))
    return named[one].rest == named[other].rest or shares_classes


def plain_name(folder: Folder) -> str:
    """A folder's name as names are compared here."""
    return composed(folder.name).casefold()


def _resolved(known: dict[Folder, SplitName]) -> dict[Folder, str]:
    """'eval' is the test where there is no other, else val, else nothing."""
    splits = {name.split for name in known.values()}
    free = next((split for split in ("test", "val") if split not in splits), None)
    meant = {folder: free if n.split == EVAL else n.split for folder, n in known.items()}
    return {folder: split for folder, split in meant.items() if split is not None}
