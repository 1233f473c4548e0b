"""Findings about pictures that are there more than once: leaks, conflicts, repeats."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from regraft.checks.duplicates import across_splits, conflicting, leaked
from regraft.checks.finding import Finding
from regraft.checks.picture_problems import PictureCase
from regraft.checks.table_problems import leak_in_words, leak_severity
from regraft.data.table import first_few, quoted
from regraft.wording import count

Clusters = list[npt.NDArray[np.intp]]


def copies_across(case: PictureCase) -> Iterator[Finding]:
    """Pictures that are scored and were learnt from."""
    clusters = across_splits(case.duplicates, case.table.splits)
    if case.reported is None or not clusters:
        return
    is_leaked = leaked(case.duplicates, case.table.splits, case.reported)
    yield Finding(
        "duplicates-across-splits",
        leak_severity(case, is_leaked),
        f"leakage: {count(len(clusters), 'picture is', 'pictures are')} in several splits, as "
        f"copies; affected: {leak_in_words(case, is_leaked)}: {_first(case, clusters)}",
        "what was learnt by heart counts as recognised, so the score is too good",
        "remove them from one of the splits; the score is also given without them",
        case.paths(np.concatenate(clusters)),
        _sets(case, clusters),
    )


def conflicts(case: PictureCase) -> Iterator[Finding]:
    """Copies of one picture with different labels."""
    clusters = conflicting(case.duplicates, case.table.labels)
    if clusters:
        labels = sorted(set(case.table.labels[clusters[0]]) - {None})
        yield Finding(
            "conflicting-labels",
            "warning",
            f"{count(len(clusters), 'picture has', 'pictures have')} copies or look-alikes with "
            f"other labels: {_first(case, clusters)} are {quoted(labels)}",
            "if they are copies, one of the labels is wrong",
            "look at them and remove the wrong ones",
            case.paths(np.concatenate(clusters)),
            _sets(case, clusters),
        )


def exact_copies(case: PictureCase) -> Iterator[Finding]:
    """Files that are there more than once, byte for byte."""
    clusters = case.duplicates.exact_clusters()
    if clusters:
        yield _repeats(
            case,
            "exact-duplicates",
            clusters,
            "the same files",
            "keep one of each and remove the rest",
        )


def near_copies(case: PictureCase) -> Iterator[Finding]:
    """Pictures that are there more than once in different files."""
    content = case.duplicates.content
    clusters = [
        rows for rows in case.duplicates.clusters() if (content[rows] != content[rows[0]]).any()
    ]
    if clusters:
        yield _repeats(
            case,
            "near-duplicates",
            clusters,
            "nearly the same pictures (re-encoded, resized, mirrored, cropped, "
            "or successive frames)",
            "keep one of each; or name what belongs together in a group column of a manifest",
        )


def _repeats(case: PictureCase, kind: str, clusters: Clusters, what: str, mend: str) -> Finding:
    paths = case.paths(np.concatenate(clusters))
    return Finding(
        kind,
        "note",
        f"{len(paths):,} images in {count(len(clusters), 'set')} of {what}: "
        f"{_first(case, clusters)}",
        "a picture that counts several times weighs more than the others",
        mend,
        paths,
        _sets(case, clusters),
    )


def _first(case: PictureCase, clusters: Clusters) -> str:
    return first_few(map(repr, case.names(clusters[0])), at_most=3, between=" = ")


def _sets(case: PictureCase, clusters: Clusters) -> tuple[tuple[str, ...], ...]:
    return tuple(case.paths(rows) for rows in clusters)


COPY_CHECKS = (copies_across, conflicts, exact_copies, near_copies)
