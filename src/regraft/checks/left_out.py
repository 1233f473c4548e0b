"""What lies in a folder and is not used, in words: one finding for each kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from regraft.checks.finding import Finding
from regraft.data.other_forms import ways_from
from regraft.data.split_names import renaming
from regraft.data.table import Skipped, quoted
from regraft.wording import agree, count, within

# Kind on the table: one, several, why it matters, what to do.
_SKIPPED = {
    "stray-folder": (
        "folder beside the splits",
        "folders beside the splits",
        "the images in [it|them] are not used",
        "move [it|them] away, or [its|their] images into train, val or test",
    ),
    "unreadable-folder": (
        "folder that cannot be opened",
        "folders that cannot be opened",
        "whatever is in [it|them] is not used",
        "give read permission",
    ),
    "unlabelled": (
        "image outside the class folders",
        "images outside the class folders",
        "without a class, nothing can be learnt from [it|them]",
        "move [it to the folder of its|each to the folder of the right] class",
    ),
    "empty-folder": (
        "folder without images",
        "folders without images",
        "[it is no class|they are no classes] to be learnt",
        "add images, or remove [it|them]",
    ),
    "not-an-image": (
        "file that is no image",
        "files that are no images",
        "left out",
        "remove [it|them]",
    ),
    "other-form": (
        "file that may hold images, in a form that is not read",
        "files that may hold images, in forms that are not read",
        "what [it shows|they show] is not learnt",
        "",
    ),
    "link-loop": (
        "link back to its own folder",
        "links back to their own folders",
        "following [it|them] would never end",
        "remove the [link|links]",
    ),
    "same-class": (
        "folder with the name of another but for blanks or how its accents are stored",
        "folders with the name of another but for blanks or how their accents are stored",
        "each is read as one class with that other",
        "put the images of both into one folder; or give them names that differ",
    ),
    "companion": (
        "mask or thumbnail of another image",
        "masks and thumbnails of other images",
        "[it shows|they show] no more than the image that [it goes|each goes] with, and [is|are] "
        "not learnt",
        "if [it is an image of its|they are images of their] own, give [it another name|them other "
        "names]",
    ),
    "repeated-row": (
        "repeated row",
        "repeated rows",
        "each image is used once",
        "remove [it|them]",
    ),
    "leftover": ("file left by a program", "files left by programs", "left out", "nothing to do"),
    "hidden": ("hidden entry", "hidden entries", "left out", "nothing to do"),
}
_SERIOUS = ("stray-folder", "unreadable-folder", "companion", "other-form")


def findings_of(left_out: Iterable[Skipped], folder: str = "") -> Iterator[Finding]:
    """One finding for each kind of what was left out, with paths as the user knows them; those
    below `folder` from there on."""
    of_kind: dict[str, list[str]] = {}
    for entry in left_out:
        of_kind.setdefault(entry.kind, []).append(entry.path)
    for kind, (one, several, why, mend) in _SKIPPED.items():
        if paths := tuple(of_kind.get(kind, ())):
            yield Finding(
                "outside-classes" if kind == "unlabelled" else kind,
                "warning" if kind in _SERIOUS else "note",
                f"{count(len(paths), one, several)}: "
                + quoted((within(path, folder) for path in paths), at_most=3),
                agree(len(paths), why),
                _renaming(kind, paths) + agree(len(paths), mend)
                or ways_from(within(path, folder) for path in paths),
                paths,
            )


def _renaming(kind: str, paths: Iterable[str]) -> str:
    """The line for a folder whose name all but is that of a split; '' for any other."""
    meant = [line for path in paths if (line := renaming(path))] if kind == "stray-folder" else []
    return "".join(f"if that is what is meant: {line}; else " for line in meant[:1])
