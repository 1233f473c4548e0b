"""One class alone is refused, before any picture is read and again of those that can be.

A file of its own, because both the preparation and the lesson ask.
"""

from __future__ import annotations

from collections.abc import Collection

from regraft.data.table import ImageTable
from regraft.data.unread import why_no_more_classes
from regraft.errors import TableError


def require_two_classes(table: ImageTable, classes: Collection[str]) -> None:
    """Refuse one class alone, and say what became of others; none at all is said elsewhere.

    It is asked before any picture is read, and again of those that can be.

    Raises
    ------
    TableError
        With ``error.rejected`` and ``error.skipped``, as the table has them.
    """
    if len(classes) != 1:
        return
    cure = "one folder per class: DATA/<class>/... or DATA/train/<class>/..."
    if table.rejected:
        cure = f"replace the files that cannot be read (regraft check names them all); or {cure}"
    raise TableError(
        f"training needs images of at least 2 classes, got 1: {next(iter(classes))!r}"
        + why_no_more_classes(table),
        place=table.source,
        cure=cure,
        rejected=table.rejected,
        skipped=table.skipped,
    )
