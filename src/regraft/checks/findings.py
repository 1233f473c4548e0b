"""All findings about a data set, the serious ones first.

What is an error is decided strictly, for `check` ends with exit code 3 on it: only what makes the
*result* wrong whatever is trained. These are a class that is scored but cannot be learnt, only one
class to learn, and a reported split of which more than a fifth was seen in training. The first two
leave nothing to train, and `train` refuses them with exit code 3 as well. The third leaves a model,
and often a score without what leaked: `train` finishes, says the error beside the score, and ends
with 0, for the run is whole; ``regraft check DATA && regraft train DATA`` stops before it.
Everything that makes a result worse or too flattering is a warning, the rest a note.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from regraft.checks.class_names import NAME_CHECKS
from regraft.checks.copy_problems import COPY_CHECKS
from regraft.checks.duplicates import Duplicates
from regraft.checks.file_problems import FILE_CHECKS
from regraft.checks.finding import Finding, in_order
from regraft.checks.picture_problems import PICTURE_CHECKS, PictureCase
from regraft.checks.placeholder_names import named_placeholders
from regraft.checks.table_problems import TABLE_CHECKS, TableCase
from regraft.data.table import ImageTable

if TYPE_CHECKING:
    from regraft.images.facts_table import FactsTable


def find_table_problems(table: ImageTable) -> list[Finding]:
    """What the table alone tells.

    Parameters
    ----------
    table : ImageTable
        Its ``rejected`` and ``skipped`` entries are reported as well.

    Returns
    -------
    list of Finding
        Errors, then warnings, then notes.

    Examples
    --------
    >>> table = ImageTable.from_paths(["1.jpg", "2.jpg"], ["ant", "bee"])
    >>> for finding in find_table_problems(table.with_splits(["train", "val"])):
    ...     print(finding.severity, finding.message)
    error 1 class to be scored has no image in train: 'bee'
    warning 1 class of train has no image in val: 'ant'
    warning 1 class with fewer than 10 images to learn from: 'ant' (1)
    """
    case = TableCase(table)
    checks = (*TABLE_CHECKS, *NAME_CHECKS)
    return in_order([finding for check in checks for finding in check(case)])


def find_problems_by_name(table: ImageTable) -> list[Finding]:
    """What can be found without reading an image: ``check --quick``.

    Names that say there is no picture are told; with pixels at hand, these decide.
    """
    return in_order([*find_table_problems(table), *named_placeholders(TableCase(table))])


def find_problems(
    table: ImageTable,
    facts: FactsTable,
    duplicates: Duplicates,
    final: npt.NDArray[np.float32] | None = None,
) -> list[Finding]:
    """What the table, the files' facts, the copies and the features tell.

    Parameters
    ----------
    table : ImageTable of N images
        Readable images only; the others are in ``table.rejected``.
    facts : FactsTable of N rows
    duplicates : Duplicates
        Of the same rows.
    final : float array of shape (N, F), optional
        Final features, for images that look unlike their class.

    Returns
    -------
    list of Finding
        Errors, then warnings, then notes.
    """
    if not len(table) == len(facts) == len(duplicates.unit):
        raise ValueError(
            f"need as many facts and units as images, got {len(table)} images, "
            f"{len(facts)} facts, {len(duplicates.unit)} units"
        )
    found = find_table_problems(table)
    if len(table):
        case = PictureCase(table, facts, duplicates, final)
        checks = (*COPY_CHECKS, *FILE_CHECKS, *PICTURE_CHECKS)
        found += [finding for check in checks for finding in check(case)]
    return in_order(found)
