"""The bill of a way before it begins: seconds with a range, peak memory, disk.

Each part of a run is reckoned from what is known of it (images, multiply-adds, what the store holds
already), in seconds of a middling pair of cores; what this machine's own past runs took over what
was reckoned for them (:mod:`regraft.choosing.past`) then turns it into seconds here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from regraft.choosing.footprint import disk_mib, memory_mib, runs_engine
from regraft.choosing.network_cost import NetworkCost
from regraft.choosing.past import Past
from regraft.choosing.reckoning import reckoned
from regraft.choosing.way import Way
from regraft.choosing.workload import Workload
from regraft.record.configuration import RunConfig
from regraft.training import defaults
from regraft.training.methods import METHODS
from regraft.training.settings import TrainingSettings
from regraft.wording import duration

# The peak depends on how threads meet; it is said as a limit.
MEMORY_MARGIN = 1.1
# What the past says of memory is beside this reckoning; another one begins anew.
RECKONED = "memory, second reckoning,"
# Parts of a run in their order, and what they are called on screen.
PARTS = {
    "start": "start and end",
    "engine": "engine",
    "features": "pass over the images",
    "check": "checks",
    "fit": "probe",
    "plan": "preparing to learn",
    "steps": "learning",
    "rest": "choosing and building the engine",
    "evaluate": "test",
    "save": "saving",
}


@dataclass(frozen=True)
class Bill:
    """What a way will take.

    Attributes
    ----------
    seconds, low, high : float
        Of the whole command without its report, from its start to the result.
    parts : dict of str to float
        Seconds of each of `PARTS`.
    memory_mib, disk_mib : float
        Peak of resident memory, at most; what stays or passes on disk.
    cold_s, warm_s : float
        The same where nothing was kept, and where everything is.
    n_past : int
        Past runs of this machine that its parts rest on, at most.
    """

    seconds: float
    low: float
    high: float
    parts: Mapping[str, float]
    memory_mib: float
    disk_mib: float
    cold_s: float = 0.0
    warm_s: float = 0.0
    n_past: int = 0

    @property
    def time(self) -> str:
        """Seconds alone, for people."""
        return duration(self.seconds)

    @property
    def words(self) -> str:
        """Seconds with their range, and memory and disk.

        Examples
        --------
        >>> Bill(70, 50, 95, {}, 812, 240).words
        '1 min 10 s (50 s to 1 min 35 s), up to 812 MiB of memory, 240 MiB of disk'
        """
        return (
            f"{duration(self.seconds)} ({duration(self.low)} to {duration(self.high)}), up to "
            f"{self.memory_mib:,.0f} MiB of memory, {self.disk_mib:,.0f} MiB of disk"
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "seconds": {
                "low": round(self.low, 2),
                "value": round(self.seconds, 2),
                "high": round(self.high, 2),
            },
            "memory_mib": round(self.memory_mib),
            "disk_mib": round(self.disk_mib),
            "cold_s": round(self.cold_s, 2),
            "warm_s": round(self.warm_s, 2),
            "parts": {name: round(value, 2) for name, value in self.parts.items()},
            "past_runs": self.n_past,
        }


def bill_of(way: Way, config: RunConfig, work: Workload, past: Past) -> Bill:
    """What a way will take here, now; and cold, and warm.

    Parameters
    ----------
    config : RunConfig
        Of that way.
    """
    now = _bill(way, config, work, past)
    cold = replace(
        work,
        n_missing=work.n_images,
        is_built=False,
        is_made=False,
        is_repeated=False,
        n_epochs_done=0,
    )
    warm = replace(
        work, n_missing=0, is_built=True, is_made=True, is_repeated=True, n_epochs_done=0
    )
    return replace(
        now,
        cold_s=_bill(way, config, cold, past).seconds,
        warm_s=_bill(way, config, warm, past).seconds,
    )


def kinds(part: str, way: Way, work: Workload) -> tuple[str, ...]:
    """Under which names past runs of a part are remembered, from special to general."""
    if part == "plan":
        part = "plan warm" if work.is_made else "plan cold"
    if part == "start" and way.trains:
        part = "start and end of training"
    if part == "evaluate" and way.trains:
        part = "evaluate after training"
    if part in ("rest", "evaluate after training") and work.is_repeated:
        part = f"{part} repeated"
    if part.split()[0] in ("plan", "steps", "rest"):
        own = f"{part} {way.method} {way.backbone}", f"{part} {way.method}"
        # What there is to prepare and to choose is much alike; how long steps take is not.
        return own if part == "steps" else (*own, part)
    if part == "engine":
        part = "engine found" if work.is_built else "engine built"
    if part == "features":
        if not work.n_missing:
            return ("features warm",)
        if work.picture_ms is not None:
            return ("features timed",)
        return f"features cold {way.backbone}", "features cold"
    return (part,)


def note(
    way: Way, config: RunConfig, work: Workload, past: Past, real: Mapping[str, float],
    peak_mib: float | None, alone: float = 1.0,
) -> None:  # fmt: skip
    """Let a finished run make the next bills better.

    Parameters
    ----------
    real : mapping
        Seconds of each of `PARTS`; what is not there was not measured.
    peak_mib : float or None
    alone : float
        Share of that time that it would have taken if nothing else had used the machine: bills are
        of a free one, and one busy hour must not make all later ones dear.
    """
    situation = work.situations[0]
    settings = resolved(way, config.settings, situation, work.cost_of(way))
    untimed = work.untimed
    for one in (untimed, work) if work.picture_ms is not None else (untimed,):
        for part, seconds in reckoned(way, settings, one, situation).items():
            if part in real and (one is untimed or part == "features"):
                past.note(kinds(part, way, one), reckoned=seconds, real=alone * real[part])
    if peak_mib is not None:
        memory = memory_mib(way, settings, work)
        past.note(_memory_kinds(way, work), reckoned=memory, real=peak_mib)


def resolved(
    way: Way, settings: TrainingSettings, situation: defaults.Situation, cost: NetworkCost
) -> TrainingSettings:
    """The settings of a way with what is left open chosen, as training will choose it."""
    method = METHODS[way.method]
    if not method.trains:
        return settings
    stages = tuple(cost.before) or situation.stages
    own = replace(situation, native_px=cost.input_px, stages=("blocks.0", *stages))
    return defaults.resolved(settings, method, own, stages)


def _bill(way: Way, config: RunConfig, work: Workload, past: Past) -> Bill:
    bills = [_of_situation(way, config, work, past, one) for one in work.situations]
    if len(bills) == 1 or not way.trains:
        return bills[0]
    middle = bills[0] if bills[0].seconds > bills[1].seconds else bills[1]
    return replace(
        middle,
        seconds=math.sqrt(bills[0].seconds * bills[1].seconds),
        low=min(bill.low for bill in bills),
        high=max(bill.high for bill in bills),
        memory_mib=max(bill.memory_mib for bill in bills),
        disk_mib=max(bill.disk_mib for bill in bills),
    )


def _of_situation(
    way: Way, config: RunConfig, work: Workload, past: Past, situation: defaults.Situation
) -> Bill:
    settings = resolved(way, config.settings, situation, work.cost_of(way))
    parts, below, above, n_past = {}, 0.0, 0.0, 0
    for part, seconds in reckoned(way, settings, work, situation).items():
        factor = past.factor(kinds(part, way, work))
        parts[part] = seconds * factor.value
        below += (seconds * (factor.value - factor.low)) ** 2
        above += (seconds * (factor.high - factor.value)) ** 2
        n_past = max(n_past, factor.n)
    total = sum(parts.values())
    memory = memory_mib(way, settings, work) * past.most(_memory_kinds(way, work)) * MEMORY_MARGIN
    return Bill(
        total, max(0.3 * total, total - math.sqrt(below)), total + math.sqrt(above), parts,
        memory, disk_mib(way, settings, work), n_past=n_past,
    )  # fmt: skip


def _memory_kinds(way: Way, work: Workload) -> tuple[str, ...]:
    part = RECKONED if runs_engine(way, work) else f"{RECKONED} without engine"
    part = part if work.is_built else f"{RECKONED} with building"
    return f"{part} {way.method} {way.backbone}", f"{part} {way.method}"
