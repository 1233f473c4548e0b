"""Findings that need no pixels: what the table of images alone can tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from regraft.checks.finding import Finding, Severity
from regraft.checks.left_out import findings_of
from regraft.data.known_classes import unknown_classes
from regraft.data.labels_in_names import hint
from regraft.data.one_picture import is_told
from regraft.data.splits import check_groups_across
from regraft.data.table import ImageTable, first_few, quoted
from regraft.data.unread import unread_classes
from regraft.data.unrepeated_labels import why_no_classes
from regraft.wording import agree, count, within

FEW_IMAGES, VERY_FEW_IMAGES = 10, 2  # of a class in train: below, a note; a warning
UNEVEN, VERY_UNEVEN = 3, 5  # largest class to smallest: above, a note; a warning
MOSTLY_LEAKED = 0.2  # share of the reported images: above, the score is mostly memory

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class TableCase:
    """A table under examination, with what several checks ask of it."""

    table: ImageTable

    @cached_property
    def counts(self) -> dict[str | None, dict[str, int]]:
        """Images per split and class."""
        return self.table.counts()

    @cached_property
    def taught(self) -> dict[str, int]:
        """Images per class that a method may learn from: of train, or of all without splits."""
        return self.counts.get("train") or self.counts.get(None) or {}

    @cached_property
    def unknown(self) -> dict[str, list[str]]:
        """Classes of val or test that train lacks, with near names that it has."""
        return unknown_classes(self.table)

    @cached_property
    def reported(self) -> str | None:
        """The split that is scored: test, else val; None without either."""
        return next((split for split in ("test", "val") if split in self.counts), None)

    @cached_property
    def _groups(self) -> dict[str, set[object]]:
        found: dict[str, set[object]] = {}
        groups = self.table.groups
        for row, label in enumerate(self.table.labels):
            known = found.setdefault(label, set())
            if len(known) < 2:  # whether it is one alone is all that is asked
                group = None if groups is None else groups[row]
                known.add(row if group is None else group)
        return found

    def groups_of(self, label: str) -> set[object]:
        """The groups of a class, two of them where they are more; an image without one is one of
        its own, by its row."""
        return self._groups.get(label, set())

    def paths(self, rows: npt.ArrayLike) -> tuple[str, ...]:
        """Paths of a mask or of row numbers, as the user knows them."""
        return tuple(self.table.shown(path) for path in self.table.paths[np.asarray(rows)])

    def names(self, rows: npt.ArrayLike) -> tuple[str, ...]:
        """Paths of a mask or of row numbers, within the data: short, for a sentence."""
        return tuple(within(path, self.table.source) for path in self.paths(rows))

    def paths_of_classes(self, labels: Iterable[str]) -> tuple[str, ...]:
        """Paths of all images of some classes."""
        some = set(labels)
        return self.paths(np.array([label in some for label in self.table.labels], np.bool_))


def rejected(case: TableCase) -> Iterator[Finding]:
    """Files that are named like images but cannot be opened."""
    entries = case.table.rejected
    if entries:
        reasons = Counter(entry.reason for entry in entries).most_common()
        yield Finding(
            "unreadable",
            "warning",
            f"{count(len(entries), 'image')} cannot be read: "
            + first_few(reason + f" ({n:,})" * (len(reasons) > 1) for reason, n in reasons),
            agree(
                len(entries),
                "[it is|they are] left out, so the result says nothing about images like [it|them]",
            ),
            first_few(dict.fromkeys(entry.mend for entry in entries), at_most=3),
            tuple(case.table.shown(entry.path) for entry in entries),
        )


def unread(case: TableCase) -> Iterator[Finding]:
    """Classes that nothing is left of."""
    if lost := unread_classes(case.table):
        files = [bad for entries in lost.values() for bad in entries]
        yield Finding(
            "class-unreadable",
            "warning",
            f"{count(len(lost), 'class', 'classes')} of which no image can be read: "
            f"{first_few(f'{label!r} ({len(entries):,})' for label, entries in lost.items())}",
            agree(
                len(lost),
                "[it is|they are] neither learnt nor scored, and a model without [it|them] never "
                "answers [it|them]",
            ),
            first_few(dict.fromkeys(bad.mend for bad in files), at_most=3),
            tuple(bad.path for bad in files),
        )


def unknown_in_reported(case: TableCase) -> Iterator[Finding]:
    """Classes that val or test has and train has not: no method can ever answer them."""
    unknown = case.unknown
    if unknown:
        near = sorted({near for names in unknown.values() for near in names})
        yield Finding(
            "class-not-in-train",
            "error",
            f"{count(len(unknown), 'class', 'classes')} to be scored "
            f"{'has' if len(unknown) == 1 else 'have'} no image in train: {quoted(unknown)}",
            agree(len(unknown), "no method can learn [it|them], so train refuses the division"),
            (f"is {quoted(near)} meant? Then rename; else " if near else "")
            + agree(
                len(unknown), "add images of [it|them] to train, or leave the [class|classes] out"
            ),
            case.paths_of_classes(unknown),
        )


def one_class(case: TableCase) -> Iterator[Finding]:
    """Fewer than two classes to learn from."""
    classes = [label for label, n in case.taught.items() if n]
    if len(classes) == 1 and not case.unknown:
        yield Finding(
            "one-class",
            "error",
            f"there is only one class to learn from, {classes[0]!r}",
            "a classifier needs something to tell apart",
            "add a folder of images of another class beside it" + hint(case.table.paths),
        )


def hardly_repeated(case: TableCase) -> Iterator[Finding]:
    """Nearly as many labels as images."""
    if why := why_no_classes(case.table):
        text = "no method can learn a class from one image"
        yield Finding("labels-hardly-repeat", "error", why.reason, text, why.cure)


def missing_from_a_split(case: TableCase) -> Iterator[Finding]:
    """Classes that are learnt but never scored, or have no say in what is chosen."""
    if "train" not in case.counts:
        return
    for split in ("test", "val"):
        there = case.counts.get(split)
        missing = sorted(k for k, n in case.taught.items() if n and there and not there.get(k))
        if missing:
            yield _missing(case, missing, split)


def _missing(case: TableCase, missing: list[str], split: str) -> Finding:
    is_reported = split == case.reported
    why = (
        "how well [it is|they are] recognised is not measured, and the average leaves [it|them] out"
        if is_reported
        else f"what is chosen by {split} is chosen without [it|them]"
    )
    mend = f"move some of [its|their] images to {split}"
    if few := [k for k in missing if len(case.groups_of(k)) == 1]:
        whole = f"{quoted(few)} {'is' if len(few) == 1 else 'are'} in one group each, which stays"
        mend = f"{whole} in one split: add images of another group to {split}"
    return Finding(
        "class-not-scored" if is_reported else "class-not-in-val",
        "warning",
        f"{count(len(missing), 'class', 'classes')} of train "
        f"{'has' if len(missing) == 1 else 'have'} no image in {split}: {quoted(missing)}",
        agree(len(missing), why),
        agree(len(missing), mend),
    )


def classes_of_one_group(case: TableCase) -> Iterator[Finding]:
    """Classes that a division by groups cannot have in train and in test."""
    if case.table.has_splits or case.table.groups is None:
        return
    single = [label for label in case.taught if len(case.groups_of(label)) == 1]
    if single:
        named = (f"{label!r} (group {next(iter(case.groups_of(label)))!r})" for label in single)
        yield Finding(
            "class-in-one-group",
            "warning",
            f"{count(len(single), 'class lies', 'classes lie')} in one group only: "
            + first_few(named),
            agree(
                len(single),
                "a group stays in one split, so that [it is|each is] learnt and not scored, or "
                "neither",
            ),
            agree(len(single), "add images of [it|each] from another group; ")
            + "if the groups are not what must stay together, train without a group column",
            case.paths_of_classes(single),
        )


def few_images(case: TableCase) -> Iterator[Finding]:
    """Classes with hardly anything to learn from."""
    few = {label: n for label, n in case.taught.items() if 0 < n < FEW_IMAGES}
    if few:
        severity: Severity = "warning" if min(few.values()) < VERY_FEW_IMAGES else "note"
        fewest = sorted(few.items(), key=lambda item: (item[1], item[0]))
        yield Finding(
            "few-images",
            severity,
            f"{count(len(few), 'class', 'classes')} with fewer than {FEW_IMAGES} images to learn "
            f"from: {first_few(f'{label!r} ({n})' for label, n in fewest)}",
            agree(len(few), "what is learnt of [it|them] rests on chance"),
            agree(len(few), "add images of [it|them], or leave [it|them] out"),
        )


def imbalance(case: TableCase) -> Iterator[Finding]:
    """One class far larger than another."""
    sizes = {label: n for label, n in case.taught.items() if n}
    if len(sizes) < 2 or max(sizes.values()) <= UNEVEN * min(sizes.values()):
        return
    large, small = max(sizes, key=sizes.__getitem__), min(sizes, key=sizes.__getitem__)
    share = sizes[large] / sum(sizes.values())
    yield Finding(
        "imbalance",
        "warning" if sizes[large] > VERY_UNEVEN * sizes[small] else "note",
        f"{large!r} has {count(sizes[large], 'image')} to learn from, {small!r} only "
        f"{sizes[small]:,}",
        f"always answering {large!r} would already be right in {share:.0%} of such images; "
        "plain accuracy hides how the small classes do",
        f"read the balanced accuracy, not the accuracy; add images of {small!r}, or train with "
        "--class-weight balanced",
    )


def groups_across(case: TableCase) -> Iterator[Finding]:
    """Groups that are in several splits."""
    table = case.table
    across = check_groups_across(table.splits, table.groups)
    if not across or table.groups is None:
        return
    names = {group.group for group in across}
    is_across = np.fromiter((group in names for group in table.groups), np.bool_, len(table))
    is_scored = is_across & (table.splits == case.reported)
    yield Finding(
        "groups-across-splits",
        leak_severity(case, is_scored),
        f"{count(len(across), 'group')} with images in several splits; "
        f"affected: {leak_in_words(case, is_scored)}: {quoted(sorted(names))}",
        "a method may recognise the group instead of the class, and scores too well",
        "move each group to one split; or give no splits, then Regraft keeps groups together",
        case.paths(is_across),
    )


def leak_severity(case: TableCase, is_leaked: Mask) -> Severity:
    """An error only if what is reported would be mostly memory."""
    n_reported = sum(case.counts.get(case.reported, {}).values())
    return "error" if is_leaked.sum() > MOSTLY_LEAKED * max(n_reported, 1) else "warning"


def leak_in_words(case: TableCase, is_leaked: Mask) -> str:
    """How much of the reported split is concerned."""
    n_leaked, n_reported = int(is_leaked.sum()), sum(case.counts.get(case.reported, {}).values())
    return f"{n_leaked:,} of the {count(n_reported, 'image')} of {case.reported} among them"


def unlabelled(case: TableCase) -> Iterator[Finding]:
    """Some images with a label and some without."""
    without = case.table.labels == None  # noqa: E711  (element by element)
    if 0 < without.sum() < len(case.table):
        yield Finding(
            "unlabelled",
            "note",
            f"{count(int(without.sum()), 'image')} of {len(case.table):,} without a label",
            agree(int(without.sum()), "[it is|they are] neither learnt from nor scored"),
            agree(int(without.sum()), "label [it|them], or leave [it|them] out"),
            case.paths(without),
        )


def readings(case: TableCase) -> Iterator[Finding]:
    """What was understood although the source does not quite say it."""
    for reading in case.table.readings:
        yield Finding(
            reading.kind,
            "warning" if reading.kind in _DOUBTFUL else "note",
            reading.words,
            _UNREAD.get(reading.kind, "classes and splits are taken from it"),
            reading.mend,
        )


OTHER_DIVISION = "a score is then of another division than others report"
_UNREAD = {
    "split-file": OTHER_DIVISION,
    "splits-unsaid": OTHER_DIVISION,
    "label-file-unread": "classes are taken from the folders, and nothing from it",
    "labels-unread": "all images are of the one class of their folder",
    "archive-part": "what is in the other parts is neither learnt from nor scored",
    "augmented": "copies are easier to recognise than new photographs, and count one picture often",
    "copies-unsaid": "a method may recognise the picture instead of the class, and scores too well",
    "channels": "a classifier of one channel sees a part of each picture, and none sees all",
    "groups-unsaid": "a method may recognise the one instead of the class, and scores too well",
}
_DOUBTFUL = (
    "nested-classes", "boxes", "zip-names", "groups-unsaid", "archive-part", "augmented",
    "copies-unsaid", "channels",
)  # fmt: skip


def in_no_split(case: TableCase) -> Iterator[Finding]:
    """Images without a split where others have one."""
    # Those without a label as well are told as such: a split would not help them.
    without = (case.table.splits == None) & (case.table.labels != None)  # noqa: E711
    if without.any() and case.table.has_splits:
        yield Finding(
            "in-no-split",
            "warning",
            f"{count(int(without.sum()), 'image')} of {len(case.table):,} in no split",
            agree(int(without.sum()), "[it is|they are] neither learnt from nor scored"),
            agree(int(without.sum()), "say [its|their] split too, or give no splits: then ")
            + "Regraft divides all images",
            case.paths(without),
        )


def ungrouped(case: TableCase) -> Iterator[Finding]:
    """Images without a group where others have one."""
    groups = case.table.groups
    if groups is None or is_told(case.table):
        return
    without = np.array([group is None for group in groups], np.bool_)
    if without.any():
        yield Finding(
            "ungrouped",
            "note",
            f"{count(int(without.sum()), 'image')} of {len(case.table):,} without a group",
            agree(
                int(without.sum()),
                "[it is a group of its own|they are groups of their own], and may be tested while "
                "[its|their] like teaches",
            ),
            "name the group of what belongs together",
            case.paths(without),
        )


def skipped(case: TableCase) -> Iterator[Finding]:
    """What lies in the folder and is not used, one finding for each kind."""
    return findings_of(case.table.as_shown(case.table.skipped), case.table.source)


TABLE_CHECKS = (
    rejected,
    unread,
    unknown_in_reported,
    one_class,
    hardly_repeated,
    groups_across,
    missing_from_a_split,
    classes_of_one_group,
    few_images,
    imbalance,
    ungrouped,
    in_no_split,
    unlabelled,
    readings,
    skipped,
)
