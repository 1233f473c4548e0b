"""What makes a run this very run besides its settings: its data and weights; and where it goes.

A folder holds one run. The same settings on other data are another run, with a folder of its own,
so that nothing of an earlier one is lost.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regraft.errors import UsageError
from regraft.record import run_folder
from regraft.record.configuration import RunConfig
from regraft.wording import count

if TYPE_CHECKING:
    from regraft.workflows.preparation import Prepared

_CURE = (
    "without --resume a new run takes this name, and that one is kept under another; or another "
    "--run name"
)


@dataclass(frozen=True)
class MadeFrom:
    """What a run is made from.

    Attributes
    ----------
    data : str
        Digest of every picture's content, name, label, split and group, and of the names of those
        that cannot be read.
    images : int
    weights : str
        Digest of the network's tensors.
    """

    data: str
    images: int
    weights: str

    @classmethod
    def of(cls, prepared: Prepared) -> MadeFrom:
        """Of data that were looked at by a network."""
        table = prepared.table
        groups = repeat(None, len(table)) if table.groups is None else table.groups
        digest = hashlib.sha256()
        for path, content, *said in zip(
            table.paths, prepared.extraction.digests, table.labels, table.splits, groups,
            strict=True,
        ):  # fmt: skip
            row = f"{table.shown(path)}\0{content.hex()}\0{said!r}\n"
            digest.update(row.encode("utf-8", "surrogateescape"))
        for bad in table.rejected:
            digest.update(f"{bad.path}\n".encode("utf-8", "surrogateescape"))
        weights = prepared.built.info.weights_digest
        return cls(digest.hexdigest(), len(table), weights)

    @classmethod
    def read(cls, kept: Any) -> MadeFrom | None:
        """The inverse of :meth:`to_dict`; None of what an older Regraft wrote."""
        if not isinstance(kept, Mapping):
            return None
        found = {name: kept.get(name) for name in ("data", "images", "weights")}
        return cls(**found) if None not in found.values() else None  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, Any]:
        """For run.json."""
        return asdict(self)

    @property
    def name(self) -> str:
        """Eight hexadecimal digits."""
        return hashlib.sha256(f"{self.data} {self.weights}".encode()).hexdigest()[:8]

    def unlike(self, earlier: MadeFrom | None) -> str:
        """How an earlier run was made from something else; empty if it was not.

        Examples
        --------
        >>> now, then = MadeFrom("1a", 378, "w"), MadeFrom("7f", 398, "w")
        >>> now.unlike(then), now.unlike(now)
        ('was made from other data (398 images, now 378)', '')
        """
        if earlier is None:
            return "was made by a Regraft that did not keep which data it saw"
        if earlier.data != self.data:
            then = count(earlier.images, "image")
            now = f"now {self.images:,}" if earlier.images != self.images else "as many now"
            return f"was made from other data ({then}, {now})"
        return "was made with other weights" if earlier.weights != self.weights else ""


@dataclass(frozen=True)
class Place:
    """Where a run goes.

    Attributes
    ----------
    folder : Path
    note : str
        What to say where an earlier run was made from something else.
    aside : Path or None
        Where that one goes, if it is in the way.
    """

    folder: Path
    note: str = ""
    aside: Path | None = None

    def clear(self) -> None:
        """Let an earlier run that is in the way step aside."""
        if self.aside is not None and self.folder.exists():
            self.folder.rename(self.aside)


def place_for(
    config: RunConfig,
    made_from: MadeFrom,
    *,
    out: str = "runs",
    name: str | None = None,
    resume: bool = False,
) -> Place:
    """The folder of a run, and what becomes of an earlier one that was made from other data.

    Under a name that was given, the earlier one gets a number behind its name; a name that was not
    gets the data's digest. With `resume` it may be a run of fewer epochs.

    Raises
    ------
    UsageError
        See :func:`run_folder.folder_for`; or the run to go on with was made from something else.
    """
    folder = run_folder.folder_for(config, out=out, name=name, resume=resume)
    earlier = [folder] if run_folder.record_in(folder) else []
    if resume and name is None:
        earlier += [other for other in _of_fewer_epochs(config, out) if other != folder]
    changes = {other: made_from.unlike(made_from_in(other)) for other in earlier}
    if not earlier or not all(changes.values()):
        return Place(next((other for other, change in changes.items() if not change), folder))
    first = earlier[0]
    change = f"run {first.name!r} {changes[first]}"
    if name is not None and resume:
        raise UsageError(change, place=str(folder), cure=_CURE)
    if name is not None:
        aside = run_folder.free_name(folder)
        return Place(folder, f"{change}; it is kept as {aside.name!r}", aside)
    if folder in earlier:
        beside = f"{config.default_name}-{made_from.name}"
        folder = run_folder.folder_for(config, out=out, name=beside, resume=resume)
    return Place(folder, f"{change}; it stays as it is, and this is {folder.name!r}")


def _of_fewer_epochs(config: RunConfig, out: str) -> list[Path]:
    """Runs of the same settings for as many epochs or fewer, those of most epochs first."""
    found = {}
    for folder in sorted(Path(out).glob(f"{config.stem}-*")):
        earlier = run_folder.config_in(folder)
        if earlier is not None and config.goes_on_from(earlier):
            found[folder] = _epochs(earlier)
    fewer = [folder for folder, epochs in found.items() if epochs <= _epochs(config)]
    return sorted(fewer, key=lambda folder: -found[folder])


def _epochs(config: RunConfig) -> int:
    """As asked for; 0 where they were chosen."""
    return int((config.training or {}).get("epochs") or 0)


def made_from_in(folder: Path) -> MadeFrom | None:
    """What the run in a folder was made from; None if it does not say."""
    return MadeFrom.read((run_folder.record_in(folder) or {}).get("made_from"))
