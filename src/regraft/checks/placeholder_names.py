"""Names of files that say there is no image: what shops and forums serve in place of one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from regraft.checks.finding import Finding
from regraft.checks.table_problems import TableCase
from regraft.data.table import quoted
from regraft.wording import count

# A word that so many files share is what the pictures are about.
USUAL = 0.1

# These can mean nothing else; the weak ones need another hint.
_STRONG = re.compile(
    r"not[ _-]?found|no[ _-]?(image|photo|picture|img)(?![a-z])|image[ _-]?(missing|unavailable)"
    r"|(not[ _-]?|un)available|place[ _-]?holder|coming[ _-]?soon",
    re.IGNORECASE,
)
_WEAK = re.compile(
    r"(?<![a-z])(missing|default|spacer|dummy|blank|404|removed|deleted)(?![a-z])", re.IGNORECASE
)


def hints_of_names(paths: Sequence[str] | npt.NDArray[np.object_]) -> npt.NDArray[np.int64]:
    """How much each file's name says that there is no image, (N,): 2 and more is certain.

    Examples
    --------
    >>> hints_of_names(["ants/imageNotFound.gif", "ants/default.jpg", "ants/1.jpg"]).tolist()
    [2, 1, 0]
    """
    names = (os.path.basename(path) for path in paths)
    hints = (2 * bool(_STRONG.search(name)) + bool(_WEAK.search(name)) for name in names)
    return np.fromiter(hints, np.int64, len(paths))


def named_placeholders(case: TableCase) -> Iterator[Finding]:
    """What the names alone tell, where no pixels are read."""
    is_named = hints_of_names(case.table.paths) >= 2
    if is_named.any() and is_named.sum() <= max(2, USUAL * len(is_named)):
        paths = case.paths(is_named)
        yield Finding(
            "placeholder",
            "note",
            f"{count(len(paths), 'image')} that seem to stand in for a missing one, by the name: "
            + quoted(case.names(is_named), at_most=3),
            "it is probably no picture of its class",
            "look at it, and remove it if so",
            paths,
        )
