"""Folders that could be meant in two ways: refused with the folder to give, or told as doubtful."""

from __future__ import annotations

import os
from itertools import combinations
from typing import NoReturn

from regraft.data.labels_in_names import hint
from regraft.data.split_folders import plain_name, splits_among
from regraft.data.split_names import is_beside, is_container, split_name
from regraft.data.table import Reading, quoted
from regraft.data.tree import Folder
from regraft.errors import TableError


def refuse_unclear(top: Folder, *, is_said: bool = False) -> None:
    """Refuse folders that would become classes and are named like something else.

    `is_said`: the user said which folders are the classes (``--label-from top`` or ``parent``).
    """
    for check in (
        _refuse_data_sets,
        _refuse_flat_splits,
        _refuse_wordy_split,
        _refuse_tasks,
    ):
        check(top)
    if not is_said:
        _refuse_hashes(top)
        _refuse_letters(top)
        _refuse_copy(top)
        _refuse_nested_alike(top)


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
            _cure_of_data_sets(inner),
        )


def _cure_of_data_sets(holders: list[Folder]) -> str:
    """What to give; a folder whose splits hold no class folders is rather a class itself."""
    if all(_has_no_classes(folder) for folder in splits_among(holders[0].folders)):
        return (
            "if these are classes, give all of them the same splits with the images straight in "
            "them, DATA/<class>/<split>/*.jpg; or put all images into DATA/<split>/<class>/"
        )
    first = holders[0].path
    if len(holders) == 1:
        return f"give that folder: {first}"
    return f"give one of them: {first}; or put all images into one DATA/<split>/<class>"


def _has_no_classes(split: Folder) -> bool:
    return all(is_container(inner.name) for inner in split.filled)


def _refuse_flat_splits(top: Folder) -> None:
    """'train' and 'test', or 'faces_train' and 'faces_test', without classes in them, beside others
    that hold images."""
    names = {folder: name for folder in top.filled if (name := split_name(folder.name))}
    by_rest: dict[tuple[str, ...], list[Folder]] = {}
    for folder, name in names.items():
        if name.is_sure and folder.is_flat:
            by_rest.setdefault(name.rest, []).append(folder)
    for folders in by_rest.values():
        if len({names[folder].split for folder in folders}) > 1:
            splits = [folder.name for folder in folders]
            others = [folder.name for folder in top.filled if folder.name not in splits]
            _refuse(
                top,
                f"{quoted(splits)} read like splits, but no folder of a class is in them, and "
                f"{quoted(others)} beside them {'holds' if len(others) == 1 else 'hold'} images "
                "too",
                "for splits, put the images of each class into a folder of its own "
                f"({splits[0]}/<class>/...) and move the others away; "
                "for classes, give the folders other names",
            )


def _refuse_hashes(top: Folder) -> None:
    """'a/b/c/abc123.jpg': folders that spread files by the first letters of their names."""
    below = [(folder, folder.name) for folder in top.filled]
    if len(below) < 2 or any(folder.is_flat for folder in top.filled):
        return
    n_images = 0
    while below:
        folder, start = below.pop()
        names = [os.path.basename(path) for path in folder.images]
        if not all(name.startswith(start) for name in names):
            return
        n_images += len(names)
        below += [(inner, start + inner.name) for inner in folder.filled]
    if n_images:
        _refuse(
            top,
            f"its folders ({quoted((f.name for f in top.filled), at_most=3)}) spread the images by "
            "the first letters of their names, and say no class",
            "list the images in a CSV with the columns path,label; or put those of each class into "
            "a folder of its own",
        )


def _refuse_wordy_split(top: Folder) -> None:
    """'seg_train', which holds folders only, beside folders that are no splits."""
    for folder in top.filled:
        name = split_name(folder.name)
        if name and name.is_sure and name.rest and not folder.images and len(top.filled) > 1:
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
    names = {plain_name(folder) for folder in top.filled}
    for folder in top.filled:
        for below in folder.all_below():
            shared = [f.name for f in below.filled if plain_name(f) in names]
            if len(shared) > 1:
                _refuse(
                    top,
                    f"{folder.name!r} beside the classes holds folders of their names "
                    f"({quoted(shared, at_most=3)}); as a class, it would be all of them once more",
                    f"give that folder alone: {below.path}; or move it away",
                )


def _refuse_letters(top: Folder) -> None:
    """'a' holds 'abbey' and 'airport', 'b' holds 'bakery': sorted by their first letters."""
    names = [(folder.name, [inner.name for inner in folder.filled]) for folder in top.filled]
    letters = [name for name, _ in names if len(name) == 1 and name.isalpha()]
    inside = [(name, inner) for name, inners in names for inner in inners]
    if len(letters) < 2 or len(letters) < len(names) or len(inside) <= len(names):
        return
    if all(inner.casefold().startswith(name.casefold()) for name, inner in inside):
        _refuse(
            top,
            f"{quoted(letters, at_most=3)} seem to sort other folders by their first letters "
            f"({quoted((inner for _, inner in inside), at_most=3)}); as classes, each letter would "
            "be one",
            "--label-from parent if the folders that hold the images are the classes; "
            "--label-from top if the letters are",
        )


def _refuse_tasks(top: Folder) -> None:
    """'images' beside 'annotations', with folders in them."""
    if len(top.filled) > 1 and all(is_container(folder.name) for folder in top.filled):
        first = max(top.filled, key=lambda folder: (not is_beside(folder.name), folder.n_images))
        _refuse(
            top,
            f"its folders ({quoted(f.name for f in top.filled)}) say what kind of files they "
            "hold, not which class their images are of",
            f"give the folder of the images alone: {first.path}" + hint(first.images),
        )


def _refuse(top: Folder, rule: str, cure: str) -> NoReturn:
    raise TableError(rule, place=top.path, cure=cure)


def _refuse_nested_alike(top: Folder) -> None:
    """Folders that hold the same folders: subjects, folds, cameras, or parts of each class?"""
    holders = _holders(top)
    for one, other in combinations(list(holders)[:20], 2):
        shared = sorted(holders[one] & holders[other])
        are_most = 2 * len(shared) > min(len(holders[one]), len(holders[other]))
        if len(shared) < 2 or not are_most:
            continue
        inner, outer = quoted(shared, at_most=3), f"{one.name!r}, {other.name!r}"
        _refuse(
            top,
            f"{outer} hold folders of the same names ({inner}), and nothing says which of them are "
            "the classes",
            f"--label-from parent if {inner} are the classes (of subjects, sites or days, list the "
            "images in a CSV with the columns path,label,group: so each stays on one side);\n"
            f"--label-from top if {outer} are the classes;\n"
            "for splits, rename the folders train, val and test",
        )


def of_unlike_parts(top: Folder) -> list[Reading]:
    """Classes that hold folders of other names each: perhaps those are the classes."""
    holders = _holders(top)
    parts = [name for names in holders.values() for name in names if not name.isdigit()]
    if len(holders) < 2 or len(holders) < len(top.filled) or len(parts) != len(set(parts)):
        return []
    one, names = next(iter(holders.items()))
    words = (
        f"{one.name!r} is read as one class, with all of its folders "
        f"({quoted(sorted(names), at_most=3)}), and so are the others"
    )
    cure = (
        "if the folders in it are the classes: --label-from parent; if they are subjects, sites or "
        "days: list the images in a CSV with the columns path,label,group, which keeps each on one "
        "side"
    )
    return [Reading("nested-classes", words, cure)] if len(parts) > len(holders) else []


def _holders(top: Folder) -> dict[Folder, set[str]]:
    """The folders that hold several others and nothing else, with the names of those."""
    found = {folder: _names_inside(folder) for folder in top.filled}
    return {folder: names for folder, names in found.items() if len(names) > 1}


def _names_inside(folder: Folder) -> set[str]:
    """Names of the folders in one that holds nothing else, whatever wraps them; not those that say
    a kind of file, as images and masks."""
    while len(folder.filled) == 1 and not folder.images and is_container(folder.filled[0].name):
        (folder,) = folder.filled
    names = {inner.name for inner in folder.filled}
    return set() if folder.images else {name for name in names if not is_container(name)}
