"""How a folder is meant: which folders in it are splits, which are classes, which wrap others.

Names decide, and where they do not say it alone, their neighbours do: 'seg_train' is a split beside
'seg_test', 'steam train' is a class beside 'car'. What is not plain from the names is told on the
table (``readings``), and what could be meant in two ways is refused with what to type.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from itertools import combinations
from typing import NamedTuple, NoReturn

from regraft.data.cells import composed, name_of
from regraft.data.split_names import EVAL, SplitName, is_container, split_name
from regraft.data.table import SPLIT_NAMES, SPLITS, NoLabels, Reading, first_few, quoted
from regraft.data.tree import Folder
from regraft.errors import TableError


class Part(NamedTuple):
    """A folder that is one class, or whose own images have none.

    Attributes
    ----------
    folder : Folder
    label, split : str or None
    """

    folder: Folder
    label: str | None
    split: str | None


@dataclass
class Layout:
    """What each folder is.

    Attributes
    ----------
    classes : list of Part
        Folders that are classes, with all that is below them.
    openings : list of Part
        Folders around those, of which only what lies directly in them counts.
    strays : list of Folder
        Beside the splits, in none of them.
    splits : dict
        The folders that are splits, with the split.
    readings : list of Reading
        What was understood although the names do not quite say it.
    """

    classes: list[Part] = field(default_factory=list)
    openings: list[Part] = field(default_factory=list)
    strays: list[Folder] = field(default_factory=list)
    splits: dict[Folder, str] = field(default_factory=dict)
    readings: list[Reading] = field(default_factory=list)


def layout_of(top: Folder) -> Layout:
    """What the folders in `top` are.

    Raises
    ------
    TableError
        It could be meant in two ways.
    """
    layout = Layout()
    top = _entered(top, layout)
    layout.openings.append(Part(top, None, None))
    layout.splits = splits_among(top.folders)
    if layout.splits:
        _read_splits(top, layout)
    elif of_classes := _splits_of_classes(top):
        _read_classes_of_splits(top, of_classes, layout)
    elif _are_containers(top):
        layout.openings += [
            Part(below, None, None) for folder in top.folders for below in folder.all_below()
        ]
    else:
        _refuse_unclear(top)
        layout.classes = [Part(folder, label_of(folder), None) for folder in top.folders]
        layout.readings += _nested_alike(top)
    return layout


def label_of(folder: Folder) -> str | None:
    """The class that a folder names.

    Examples
    --------
    >>> label_of(Folder("photos/ants"))
    'ants'
    """
    return name_of(folder.name)


# Wrappers.


def _entered(top: Folder, layout: Layout) -> Folder:
    """The folder that the user means: `top`, or what is wrapped in it."""
    while (inner := _wrapped(top)) is not None:
        layout.openings += [Part(top, None, None)]
        layout.openings += [Part(f, None, None) for g in top.folders if g is not inner
                            for f in g.all_below()]  # fmt: skip
        top = inner
    return top


def _wrapped(top: Folder) -> Folder | None:
    """The only folder in `top` that holds images, if it is a wrapper: no split and no class."""
    if len(top.filled) != 1 or top.images or splits_among(top.folders):
        return None
    (inner,) = top.filled
    if splits_among(inner.folders) or (is_container(inner.name) and not _is_split(inner)):
        return inner
    return inner if len(top.folders) == 1 and inner.filled and not inner.images else None


def _is_split(folder: Folder) -> bool:
    name = split_name(folder.name)
    return name is not None and not name.rest


def _are_containers(top: Folder) -> bool:
    """Whether folders say what kind of files they hold and nothing of a class: images, part_2."""
    return len(top.filled) > 1 and all(is_container(f.name) and f.is_flat for f in top.filled)


def why_no_labels(layout: Layout) -> NoLabels | None:
    """What to say if no folder is a class, where more is known than that."""
    if layout.splits:
        return NoLabels(
            f"{quoted(folder.name for folder in layout.splits)} are read as splits, and there is "
            "no folder of a class in them",
            "put the images of each class into a folder of its own: DATA/<split>/<class>/*.jpg; "
            "or list them in a CSV with the columns path,label,split",
        )
    holding = [part.folder.name for part in layout.openings if part.folder.images]
    if len(holding) > 1:
        return NoLabels(
            f"its folders ({quoted(holding)}) say what kind of files they hold, not which class "
            "their images are of",
            "put the images of each class into a folder of its own: DATA/<class>/*.jpg; "
            "or list them in a CSV with the columns path,label",
        )
    return None


# Splits.


def splits_among(folders: list[Folder]) -> dict[Folder, str]:
    """Folders that are splits, with the split; none if they read better as classes.

    A name that says nothing but a split is one. A name with other words too is one if another
    folder has the same words and another split, or the same folders in it. If none of them holds
    folders, and there are others that hold images, they are classes.
    """
    named = {folder: name for folder in folders if (name := split_name(folder.name))}
    plain = {folder: name for folder, name in named.items() if not name.rest}
    taken = {name.split for name in plain.values()}
    others = {f: name for f, name in named.items() if name.rest and name.split not in taken}
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
    names, others = ({_inner_name(f) for f in folder.filled} for folder in (one, other))
    shares_classes = 2 * len(names & others) > min(len(names), len(others))
    return named[one].rest == named[other].rest or shares_classes


def _inner_name(folder: Folder) -> str:
    return composed(folder.name).casefold()


def _resolved(known: dict[Folder, SplitName]) -> dict[Folder, str]:
    """'eval' is the test where there is no other, else val, else nothing."""
    splits = {name.split for name in known.values()}
    free = next((split for split in ("test", "val") if split not in splits), None)
    meant = {folder: free if n.split == EVAL else n.split for folder, n in known.items()}
    return {folder: split for folder, split in meant.items() if split is not None}


def _read_splits(top: Folder, layout: Layout) -> None:
    """DATA/<split>/<class>."""
    opened = {folder: _opened(folder, layout, split) for folder, split in layout.splits.items()}
    wrapper = _common_wrapper(list(opened.values()))
    for folder, split in layout.splits.items():
        inside = opened[folder]
        if wrapper:
            layout.openings.append(Part(inside, None, split))
            (inside,) = inside.filled
        layout.openings.append(Part(inside, None, split))
        layout.classes += [Part(f, label_of(f), split) for f in inside.folders]
    layout.strays = [folder for folder in top.folders if folder not in layout.splits]
    if wrapper:
        words = f"every split holds one folder {wrapper!r}; the folders in it are read as classes"
        layout.readings.append(Reading("wrapper", words, "move them up if you like"))
    read_as = [
        f"{folder.name!r} is read as {split}"
        for folder, split in sorted(layout.splits.items(), key=lambda item: SPLITS.index(item[1]))
        if SPLIT_NAMES.get(folder.name.lower()) != split
    ]
    if read_as:
        layout.readings.append(_of_splits(first_few(read_as, at_most=6)))


def _of_splits(words: str) -> Reading:
    return Reading("split-names", words, "rename the folder if that is not what it is")


def _opened(folder: Folder, layout: Layout, split: str) -> Folder:
    """What a split holds: itself, or the folder of its own name, or 'images', that wraps it."""
    while (inner := _wrapped_split(folder)) is not None:
        layout.openings += [
            Part(f, None, split) for g in folder.folders if g is not inner for f in g.all_below()
        ]
        layout.openings.append(Part(folder, None, split))
        folder = inner
    return folder


def _wrapped_split(folder: Folder) -> Folder | None:
    """The only folder in a split that holds images, if its name says that it is no class."""
    if len(folder.filled) != 1 or folder.images:
        return None
    (inner,) = folder.filled
    is_wrapper = inner.name == folder.name or is_container(inner.name) or _is_split(inner)
    return inner if is_wrapper else None


def _common_wrapper(folders: list[Folder]) -> str:
    """The one folder that every split holds, if that only wraps the classes; '' if not."""
    names = {folder.filled[0].name for folder in folders if len(folder.filled) == 1}
    wraps = len(folders) > 1 and all(
        len(folder.filled) == 1 and not folder.images and _only_wraps(folder.filled[0])
        for folder in folders
    )
    return names.pop() if wraps and len(names) == 1 else ""


def _only_wraps(folder: Folder) -> bool:
    return len(folder.filled) > 1 and not folder.images


# Classes that hold splits.


def _splits_of_classes(top: Folder) -> dict[Folder, dict[Folder, str]]:
    """The splits in every class, if that is how the folder is divided: DATA/<class>/<split>."""
    found = {folder: splits_among(folder.folders) for folder in top.filled}
    is_so = len(found) > 1 and all(
        splits
        and not folder.images
        and not is_container(folder.name)
        and all(inner in splits and inner.is_flat for inner in folder.filled)
        for folder, splits in found.items()
    )
    present = {split for splits in found.values() for split in splits.values()}
    return found if is_so and len(present) > 1 else {}


def _read_classes_of_splits(
    top: Folder, found: dict[Folder, dict[Folder, str]], layout: Layout
) -> None:
    for folder, splits in found.items():
        layout.openings.append(Part(folder, None, None))
        layout.splits |= splits
        layout.classes += [Part(inner, label_of(folder), split) for inner, split in splits.items()]
        layout.openings += [Part(f, None, None) for f in folder.folders if f not in splits]
    layout.openings += [Part(f, None, None) for f in top.folders if f not in found]
    one, splits = next(iter(found.items()))
    read_as = [f"{one.name}/{inner.name} as {split}" for inner, split in splits.items()]
    layout.readings.append(
        _of_splits(f"each class folder holds splits: {first_few(read_as)}, and so on")
    )


# What could be meant in two ways.


def _refuse_unclear(top: Folder) -> None:
    """Refuse folders that would become classes and are named like something else."""
    for check in (
        _refuse_data_sets, _refuse_flat_splits, _refuse_wordy_split, _refuse_copy, _refuse_tasks,
    ):  # fmt: skip
        check(top)


def _refuse_data_sets(top: Folder) -> None:
    """A folder that holds splits, beside others: a data set of its own."""
    inner = [
        below
        for folder in top.filled
        for below in folder.all_below()
        if len(set(splits_among(below.folders).values())) > 1
    ]
    if inner:
        splits = [folder.name for folder in splits_among(inner[0].folders)]
        several = len(inner) > 1
        _refuse(
            top,
            f"{quoted(os.path.relpath(f.path, top.path) for f in inner)} "
            f"{'hold' if several else 'holds'} splits of {'their' if several else 'its'} own "
            f"({quoted(splits)}); as classes, they would all be taken together",
            f"give {'one of them' if several else 'that folder'}: {inner[0].path}"
            + ("; or put all images into one DATA/<split>/<class>" if several else ""),
        )


def _refuse_flat_splits(top: Folder) -> None:
    """'train' and 'test' without classes in them, beside others that hold images."""
    names = {folder: name for folder in top.filled if (name := split_name(folder.name))}
    splits = [folder.name for folder, name in names.items() if not name.rest]
    if len({name.split for name in names.values() if not name.rest}) > 1:
        others = [folder.name for folder in top.filled if folder.name not in splits]
        _refuse(
            top,
            f"{quoted(splits)} read like splits, but no folder of a class is in them, and "
            f"{quoted(others)} beside them {'holds' if len(others) == 1 else 'hold'} images too",
            "for splits, put the images of each class into a folder of its own "
            f"({splits[0]}/<class>/...) and move the others away; "
            "for classes, give the folders other names",
        )


def _refuse_wordy_split(top: Folder) -> None:
    """'seg_train', which holds folders only, beside folders that are no splits."""
    for folder in top.filled:
        name = split_name(folder.name)
        if name and name.rest and not folder.images and len(top.filled) > 1:
            inside = quoted((f.name for f in folder.filled), at_most=3)
            _refuse(
                top,
                f"{folder.name!r} may be a split or a class: its name says {name.split}, and it "
                f"holds folders ({inside}), but nothing beside it is a split like it",
                f"if it is a split, give it alone: {folder.path}, or rename it {name.split}; "
                "if it is a class, give it another name",
            )


def _refuse_copy(top: Folder) -> None:
    """A folder beside the classes that holds them once more."""
    names = {_inner_name(folder) for folder in top.filled}
    for folder in top.filled:
        for below in folder.all_below():
            shared = [f.name for f in below.filled if _inner_name(f) in names]
            if len(shared) > 1:
                _refuse(
                    top,
                    f"{folder.name!r} beside the classes holds folders of their names "
                    f"({quoted(shared, at_most=3)}); as a class, it would be all of them once more",
                    f"give that folder alone: {below.path}; or move it away",
                )


def _refuse_tasks(top: Folder) -> None:
    """'images' beside 'annotations', with folders in them."""
    if len(top.filled) > 1 and all(is_container(folder.name) for folder in top.filled):
        first = max(top.filled, key=lambda folder: folder.n_images)
        _refuse(
            top,
            f"its folders ({quoted(f.name for f in top.filled)}) say what kind of files they "
            "hold, not which class their images are of",
            f"give the folder of the images alone: {first.path}",
        )


def _refuse(top: Folder, rule: str, cure: str) -> NoReturn:
    raise TableError(rule, place=top.path, cure=cure)


def _nested_alike(top: Folder) -> list[Reading]:
    """Two 'classes' that hold the same folders: are those the classes?"""
    holders = [folder for folder in top.filled if len(folder.filled) > 1 and not folder.images]
    for one, other in combinations(holders[:20], 2):
        shared = {f.name for f in one.filled} & {f.name for f in other.filled}
        named = sorted(name for name in shared if any(letter.isalpha() for letter in name))
        if len(named) > 1 and 2 * len(shared) > max(len(one.filled), len(other.filled)):
            words = (
                f"{one.name!r} and {other.name!r} are read as classes, and the folders of the "
                f"same names in both ({quoted(named, at_most=3)}) as parts of them"
            )
            cure = (
                f"if those are the classes, give one folder ({one.path}), or put the images "
                f"together as DATA/{named[0]}, DATA/{named[1]}"
            )
            return [Reading("nested-classes", words, cure)]
    return []
