"""How a folder is meant: which folders in it are splits, which are classes, which wrap others.

Names decide, and where they do not say it alone, their neighbours do: 'seg_train' is a split beside
'seg_test', 'steam train' is a class beside 'car'. What is not plain from the names is told on the
table (``readings``), and what could be meant in two ways is refused with what to type.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from regraft.data.cells import name_of
from regraft.data.split_folders import splits_among
from regraft.data.split_names import are_parts, is_container, split_name
from regraft.data.table import SPLIT_NAMES, SPLITS, NoLabels, Reading, first_few, quoted
from regraft.data.tree import Folder
from regraft.data.unclear_layouts import of_unlike_parts, refuse_unclear


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


def layout_of(top: Folder, label_from: str = "folder") -> Layout:
    """What the folders in `top` are.

    Parameters
    ----------
    top : Folder
    label_from : str
        'top' or 'parent' if the user says which folders are the classes (see ``label_sources``).

    Raises
    ------
    TableError
        It could be meant in two ways.
    """
    layout = Layout()
    is_said = label_from in ("top", "parent")
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
        refuse_unclear(top, is_said=is_said)
        layout.classes = [Part(folder, label_of(folder), None) for folder in top.folders]
        layout.readings += [] if is_said else of_unlike_parts(top)
    if label_from == "parent":
        _label_by_parents(layout)
    return layout


def _label_by_parents(layout: Layout) -> None:
    """Each image by the folder that holds it; 'images' and the like hold the images of another."""
    for part in layout.classes:
        pending = [(part.folder, part.label)]
        while pending:
            folder, label = pending.pop()
            layout.openings.append(Part(folder, label, part.split))
            for inner in folder.folders:
                pending.append((inner, label if is_container(inner.name) else label_of(inner)))
    layout.classes = []


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
    return name is not None and name.is_plain


def _are_containers(top: Folder) -> bool:
    """Whether folders say what kind of files they hold and nothing of a class: images, part_2."""
    names = [folder.name for folder in top.filled]
    if len(names) < 2:
        return False
    if are_parts(names):  # each may wrap its images once more: images_001/images
        return all(_holds_containers(folder) for folder in top.filled)
    return all(map(is_container, names)) and all(folder.is_flat for folder in top.filled)


def _holds_containers(folder: Folder) -> bool:
    return all(is_container(inner.name) for inner in folder.all_below() if inner is not folder)


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
            "put the images of each class into a folder of its own: DATA/<class>/*.jpg; or list "
            "them in a CSV with the columns path,label; if these are the classes, rename them",
        )
    return None


# Splits.


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
    n_folders = Counter(layout.splits.values())  # two of one split are told, whatever their names
    read_as = [
        f"{folder.name!r} is read as {split}"
        for folder, split in sorted(layout.splits.items(), key=lambda item: SPLITS.index(item[1]))
        if SPLIT_NAMES.get(folder.name.lower()) != split or n_folders[split] > 1
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
        and all(
            inner in splits and all(is_container(below.name) for below in inner.filled)
            for inner in folder.filled
        )
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
