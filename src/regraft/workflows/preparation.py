"""The data of a run, looked at once, in three steps: read the table, see the pictures, divide them.

Dividing knows no network: the content of the pictures and their thumbnails alone decide who is
tested and who stays together, so the test set is the same for every backbone, precision and
processor. Copies that only features show are reported, as everything else that is wrong.
Everything that answers about data stands on `prepare`: training, `check`, `layers`, `lr-find`.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.checks.duplicates import Compared, Duplicates, compare
from regraft.checks.finding import Finding
from regraft.checks.findings import find_problems
from regraft.data import splits
from regraft.data.digests import Digests
from regraft.data.listings import Listings
from regraft.data.one_picture import is_told
from regraft.data.sources import read_table
from regraft.data.table import ImageTable
from regraft.errors import TableError
from regraft.features import engines, extract, side_by_side
from regraft.features.elsewhere import HERE, Elsewhere
from regraft.features.extraction import Extraction
from regraft.images import pictures
from regraft.images.brightest import measured_white
from regraft.images.facts_table import FactsTable
from regraft.images.scale import MEASURED, name_of, white_of
from regraft.listener import SILENT, Listener
from regraft.machine import blas
from regraft.machine.processor import available_cores
from regraft.record.configuration import RunConfig
from regraft.wording import count, duration, none_can
from regraft.workflows.learnable import refuse_unlearnable
from regraft.workflows.units import units_of

# Fewer pictures are read before it could be said how long that takes; so many are timed for it,
# and what takes longer than this is told.
MANY, TIMED, LONG_S = 500, 12, 10.0

# Who says beforehand what takes long: of a table and an engine, the rows that have to be read.
Tells = Callable[[ImageTable, engines.BuiltEngine, Listener, list[int]], None]


@dataclass(frozen=True, eq=False)
class Seen:
    """What the pass of one backbone left.

    Attributes
    ----------
    extraction : Extraction
        Of the N readable images.
    built : BuiltEngine
        That gave these features.
    """

    extraction: Extraction
    built: engines.BuiltEngine

    @property
    def final(self) -> NDArray[np.float32]:
        """``(N, F)`` final features, of the first network where there are several; a view."""
        tap = self.built.info.final
        return self.extraction.X[:, tap.start : tap.stop]


@dataclass(frozen=True, eq=False)
class Divided:
    """Who teaches, who is tested, and who stays together.

    Attributes
    ----------
    table : ImageTable
        The N readable images, with the splits that were given or made.
    compared : Compared
        The pictures held against each other.
    copies : Duplicates
        By content and thumbnails.
    assigned : bool
        Whether the splits were made here.
    """

    table: ImageTable
    compared: Compared
    copies: Duplicates
    assigned: bool


@dataclass(frozen=True, eq=False)
class Prepared:
    """The data, looked at once: readable images with facts, features, splits and findings.

    Attributes
    ----------
    table : ImageTable
        The N readable images, with the splits that were given or made.
    extraction : Extraction
    built : BuiltEngine
        That gave these features.
    copies : Duplicates
        By content and thumbnails: who stays together.
    duplicates : Duplicates
        Those, and the ones that only features show: what is reported.
    findings : list of Finding
    assigned : bool
        Whether the splits were made here.
    seconds : dict
        Of each part of the preparation.
    """

    table: ImageTable
    extraction: Extraction
    built: engines.BuiltEngine
    copies: Duplicates
    duplicates: Duplicates
    findings: list[Finding]
    assigned: bool
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def X(self) -> NDArray[np.float32]:  # noqa: N802
        """``(N, D)`` features; mapped from a file if large."""
        return self.extraction.X


@blas.one_thread
def prepare(
    config: RunConfig,
    *,
    offline: bool = False,
    listener: Listener = SILENT,
    needs_splits: bool = True,
    before_pass: Callable[[engines.BuiltEngine], None] = lambda built: None,
    tells: Tells | None = None,
    elsewhere: Elsewhere = HERE,
    of_table: ImageTable | None = None,
) -> Prepared:
    """Read the table, run the one pass, divide, and look for what is wrong.

    `before_pass` may refuse what does not fit the network, before any picture is read; `tells` says
    beforehand what takes long; `elsewhere` says who else does the pass, or did; `of_table` is the
    table where it was read already, or a part of it.

    Raises
    ------
    TableError, SplitError
        Nothing readable, or a division that cannot be used.
    BackboneError, WeightsError
        See :mod:`regraft.backbones`.
    """
    clock = Clock()
    table = of_table
    if table is None:
        table = read(config, listings=elsewhere.listings_for(listener))
    if needs_splits:
        table.tell(listener.say)
        refuse_unlearnable(table)
    clock.lap("table")
    seen = see(
        config, table, clock=clock, offline=offline, listener=listener, before_pass=before_pass,
        tells=tells, elsewhere=elsewhere,
    )  # fmt: skip
    if table.has_splits and needs_splits:
        _tell_of_no_division(config, listener)
    divided = divide(config, seen.extraction.table, seen.extraction.facts, needs_splits)
    duplicates = divided.compared.copies(seen.final)
    findings = find_problems(divided.table, seen.extraction.facts, duplicates, seen.final)
    clock.lap("check")
    return Prepared(
        divided.table, seen.extraction, seen.built, divided.copies, duplicates, findings,
        divided.assigned, clock.laps,
    )  # fmt: skip


def table_of(
    config: RunConfig, *, listings: Listings | None = None, only: slice = slice(None)
) -> ImageTable:
    """A run's data, read as its settings say."""
    return read_table(
        config.data,
        path_column=config.path_column,
        label_column=config.label_column,
        split_column=config.split_column,
        group_column=config.group_column,
        label_from=config.label_from,
        listings=listings,
        only=only,
    )


def read(
    config: RunConfig, *, listings: Listings | None = None, only: slice = slice(None)
) -> ImageTable:
    """The table of a run's data, with at least one image."""
    table = table_of(config, listings=listings, only=only)
    if not len(table):
        raise TableError(
            f"no images in {config.data!r}" + _what_was_there(table),
            cure="one folder per class: DATA/<class>/*.jpg, or DATA/train/<class>/*.jpg; "
            "or a CSV with the columns path and label",
        )
    return table


def see(
    config: RunConfig,
    table: ImageTable,
    *,
    clock: Clock,
    offline: bool = False,
    listener: Listener = SILENT,
    before_pass: Callable[[engines.BuiltEngine], None] = lambda built: None,
    tells: Tells | None = None,
    elsewhere: Elsewhere = HERE,
) -> Seen:
    """The one pass of the configured backbone over a table, through the store."""
    built = side_by_side.locate(
        replace(config.source, white=white_for(config.scale, table.paths, listener.say)),
        sample=pictures.sample(table.paths),
        device=config.device,
        offline=offline,
        say=listener.say,
    )
    before_pass(built)
    for note in built.info.notes:
        listener.say(note)
    clock.lap("engine")
    extraction = extract.through_store(
        table,
        built,
        listener=listener,
        runner=elsewhere.runner_for(listener),
        parts=elsewhere.parts_for(built, listener),
        before=functools.partial(tells or _tell_of_long_pass, table, built, listener)
        if elsewhere == HERE
        else lambda missing: None,
    )
    if not len(extraction.table):
        raise _nothing_readable(config, table, extraction.table)
    clock.lap("features")
    return Seen(extraction, built)


def _tell_of_no_division(config: RunConfig, listener: Listener) -> None:
    """A share of the test that was asked for, of data that come divided, changes nothing."""
    if config.test_fraction != RunConfig.test_fraction:
        listener.say(
            f"--test-fraction {config.test_fraction:g} changes nothing: the data come with splits, "
            "which are kept; to divide them anew, give the folder of one part"
        )


def _tell_of_long_pass(
    table: ImageTable, built: engines.BuiltEngine, listener: Listener, missing: list[int]
) -> None:
    """What a pass of more than ten seconds will take, by some pictures that are timed."""
    if len(missing) < MANY or (ms := timed(table, built, missing)) is None:
        return
    seconds = len(missing) * sum(ms) / 1000 / available_cores()
    if seconds >= LONG_S:
        listener.say(
            f"expected: {count(len(missing), 'image')} to be read, about {duration(seconds)} "
            f"({duration(0.7 * seconds)} to {duration(1.6 * seconds)})"
        )


def timed(
    table: ImageTable, built: engines.BuiltEngine, missing: list[int]
) -> tuple[float, float] | None:
    """Core-milliseconds of reading a picture and of the network on it, by some of the missing."""
    some = np.linspace(0, len(missing) - 1, TIMED).astype(int)
    return extract.timed([table.paths[missing[i]] for i in some], built)


def white_for(
    scale: str, paths: Iterable[str], say: Callable[[str], None] = lambda text: None
) -> int:
    """The white of a rule, found in all pictures where the rule asks for it; 0: as files say."""
    if scale != MEASURED:
        return white_of(scale)
    white = measured_white(paths)
    say(
        f"scale: no value of these pictures lies above {white:,} ({name_of(white)}), which is white"
        if white
        else "scale: no picture has more than 8 bits; there is nothing to scale"
    )
    return white


def divide(
    config: RunConfig, table: ImageTable, facts: FactsTable, needs_splits: bool = True
) -> Divided:
    """Train and test, by what the pictures are; near-copies go by the smallest digest among them,
    so that the division made here cannot leak by itself."""
    compared = compared_of(facts)
    copies = compared.copies()
    if table.has_splits or not needs_splits:
        return Divided(table, compared, copies, False)
    return Divided(_with_splits(config, table, facts, copies), compared, copies, True)


def compared_of(facts: FactsTable) -> Compared:
    """The pictures held against each other, by their content and thumbnails alone."""
    return compare(facts.digests, facts.thumbs)


class Clock:
    """Seconds of each part of the story."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """What passed since the last one is called `name`."""
        now = time.perf_counter()
        self.laps[name] = now - self._last
        self._last = now


def _with_splits(
    config: RunConfig, table: ImageTable, facts: FactsTable, copies: Duplicates
) -> ImageTable:
    labelled = np.asarray(table.labels != None)  # noqa: E711  (element by element)
    if not labelled.any():
        return table
    units, groups = copies.unit, table.groups
    if is_told(table):  # by names: a copy of one that has a group goes with it
        units, groups = units_of(units, groups, np.ones(len(table), bool)), None
    rows = _first_copies(facts.digests, units)[labelled]
    assigned = splits.assign(
        table.labels[labelled],
        facts.digests.take(rows),
        groups=None if groups is None else groups[labelled],
        seed=config.seed,
        test_fraction=config.test_fraction,
    )
    made = np.full(len(table), None, object)
    made[labelled] = assigned
    return table.with_splits(made)


def _first_copies(digests: Digests, units: NDArray[np.integer[Any]]) -> NDArray[np.intp]:
    """For each image the row of the smallest content digest among its near-copies, mostly its
    own."""
    rows = np.arange(len(units))
    several = np.flatnonzero(np.bincount(units)[units] > 1) if len(units) else rows
    first: dict[int, int] = {}
    for row, unit in zip(several.tolist(), units[several].tolist(), strict=True):
        if digests[row] < digests[first.setdefault(unit, row)]:
            first[unit] = row
    rows[several] = [first[unit] for unit in units[several].tolist()]
    return rows


def _nothing_readable(config: RunConfig, given: ImageTable, table: ImageTable) -> TableError:
    first = table.rejected[0] if table.rejected else None
    return TableError(
        f"{none_can(len(given), 'image', 'be read')} in {config.data!r}",
        place=f"{first.path}: {first.reason}" if first else "",
        cure=(first.mend if first else "") or "regraft check lists every file with its reason",
    )


def _what_was_there(table: ImageTable) -> str:
    if table.rejected:
        first = table.rejected[0]
        files = count(len(table.rejected), "file")
        return f": {files} cannot be opened, first {first.path!r} ({first.reason})"
    if table.skipped:
        left_out = table.skipped[0]
        entries = count(len(table.skipped), "entry", "entries")
        return f": {entries} left out, first {left_out.path!r} ({left_out.reason})"
    return ""
