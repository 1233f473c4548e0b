"""Labels that hardly repeat: a quantity, a name or an id, and no classes."""

from __future__ import annotations

from regraft.data.table import ImageTable, NoLabels, first_few

# From so many labelled images on, labels that hardly repeat are no classes.
MANY_ENOUGH = 20


def why_no_classes(table: ImageTable) -> NoLabels | None:
    """What to say if there are more than half as many labels as images.

    Examples
    --------
    >>> table = ImageTable.from_paths([f"{n}.jpg" for n in range(20)], map(str, range(20)))
    >>> why_no_classes(table).reason
    "20 images have 20 different labels ('0', '1', '10' and 17 more), so most classes have one ...
    >>> why_no_classes(ImageTable.from_paths(["1.jpg", "2.jpg"], ["ants", "bees"])) is None
    True
    """
    n_classes, n_labelled = len(table.classes), len(table) - table.n_unlabelled
    if n_labelled < MANY_ENOUGH or 2 * n_classes <= n_labelled:
        return None
    few = first_few(map(repr, table.classes), at_most=3)
    return NoLabels(
        f"{n_labelled:,} images have {n_classes:,} different labels ({few}), so most classes have "
        "one image only: that is a quantity, a name or an id, and no class",
        "name another column with --label-column; or write the class into one (of a quantity: "
        "ranges, as low, medium, high)",
    )
