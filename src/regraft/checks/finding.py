"""What a finding is: something about the data that a careful person would want to know."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of trouble in the data, with all images that have it.

    Attributes
    ----------
    kind : str
        Short name, the same in every release: 'near-duplicates'.
    severity : 'error', 'warning' or 'note'
        An error makes a result wrong, whatever is trained (`check` ends with exit code 3); a
        warning makes it worse or more flattering than it should be; a note is worth knowing.
    message : str
        What is there, in plain words and with counts.
    why : str
        Why it matters.
    mend : str
        What to type or do.
    paths : tuple of str
        All images or folders concerned, as the user knows them.
    sets : tuple of tuple of str
        Of copies: which of the images are one picture.

    Examples
    --------
    >>> Finding("blank", "note", "1 image is blank", "it teaches nothing", "remove it", ("a.png",))
    Finding(kind='blank', severity='note', message='1 image is blank', why='it teaches nothing', \
mend='remove it', paths=('a.png',), sets=())
    """

    kind: str
    severity: Severity
    message: str
    why: str
    mend: str
    paths: tuple[str, ...] = ()
    sets: tuple[tuple[str, ...], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As in ``check --json``."""
        sets = [list(images) for images in self.sets]
        return {**asdict(self), "paths": list(self.paths), "sets": sets}


# What makes labels or scores wrong comes before what makes them weaker: a screen shows the first.
_FIRST = (
    "duplicates-across-splits",
    "groups-across-splits",
    "conflicting-labels",
    "similar-class-names",
    "named-like-nothing",
    "named-unlabelled",
    "class-unreadable",
    "class-not-scored",
)


def in_order(findings: list[Finding]) -> list[Finding]:
    """Errors, then warnings, then notes; of these those of wrong labels and scores first."""
    last = len(_FIRST)
    rank = {kind: place for place, kind in enumerate(_FIRST)}
    return sorted(findings, key=lambda f: (SEVERITIES.index(f.severity), rank.get(f.kind, last)))
