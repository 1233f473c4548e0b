"""What the recall of single classes says of a score: too uncertain, or mostly missed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from regraft.choosing.trust_check import Check, Facts
from regraft.wording import percent

# Below, a recall is uncertain: scored images of the class, and the width of the interval.
FEW_OF_CLASS, WIDE_RECALL = 20, 0.30
# A recall that is surely below this: more often missed than found.
MISSED = 0.5
MOST_NAMED = 4


def thin(metrics: Facts) -> Iterator[Check]:
    """Classes whose own recall is uncertain, however well the whole is known."""
    rows = metrics["evaluation"]["per_class"]
    thin = [row for row in rows if row["n"] < FEW_OF_CLASS or _width(row["recall"]) > WIDE_RECALL]
    thin.sort(key=lambda row: (-_width(row["recall"]), row["n"]))
    if not thin:
        return
    listed = (f"{row['label']} ({_recall(row)})" for row in thin)
    yield Check(
        "care",
        f"Recall is uncertain for {_of_classes(len(thin), len(rows)).rpartition(' ')[0].lower()}",
        f"Fewer than {FEW_OF_CLASS} scored images, or an interval of recall wider than "
        f"{100 * WIDE_RECALL:.0f} points: {_first(listed, len(thin))}.",
    )


def missed(metrics: Facts) -> Iterator[Check]:
    """Classes that are surely more often called something else than recognised."""
    rows = metrics["evaluation"]["per_class"]
    missed = [row for row in rows if row["n"] and row["recall"]["high"] < MISSED]
    if not missed:
        return
    missed.sort(key=lambda row: float(row["recall"]["value"]))
    listed = (f"{row['label']} ({_recall(row)})" for row in missed)
    yield Check(
        "care",
        f"{_of_classes(len(missed), len(rows))} mostly missed",
        f"Fewer than half of {'its' if len(missed) == 1 else 'their'} images are recognised: "
        f"{_first(listed, len(missed))}.",
    )


def _recall(row: Facts) -> str:
    """Of a class, with its interval."""
    recall = row["recall"]
    if not row["n"]:
        return "not scored"
    return (
        f"{percent(recall['value'])} of {row['n']}, {100 * recall['low']:.0f} to "
        f"{100 * recall['high']:.0f} %"
    )


def _width(recall: Facts) -> float:
    return 1.0 if recall["low"] is None else float(recall["high"] - recall["low"])


def _of_classes(n: int, of: int) -> str:
    """How many of them, with their verb.

    Examples
    --------
    >>> _of_classes(1, 5), _of_classes(2, 5), _of_classes(5, 5), _of_classes(2, 2)
    ('1 of 5 classes is', '2 of 5 classes are', 'All 5 classes are', 'Both classes are')
    """
    everyone = "Both" if of == 2 else f"All {of}"
    number = everyone if n == of else f"{n} of {of}"
    return f"{number} classes {'is' if n == 1 else 'are'}"


def _first(words: Iterable[str], n: int) -> str:
    """The first few of n, and how many more."""
    some = [word for word, _ in zip(words, range(MOST_NAMED), strict=False)]
    return ", ".join(some) + (f" and {n - len(some)} more" if n > len(some) else "")
