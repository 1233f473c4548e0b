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

from regraft.choosing.network_cost import NetworkCost, cost_of
from regraft.choosing.past import Past
from regraft.choosing.way import Way
from regraft.record.configuration import RunConfig
from regraft.training import defaults
from regraft.training.methods import METHODS
from regraft.training.settings import TrainingSettings
from regraft.wording import duration

MIB = 2**20
# Of a middling pair of cores. Where nothing else is known: milliseconds of one core for a picture
# (reading, decoding, resizing), for 10^9 multiply-adds of an engine, for an augmented view.
DECODE_MS, ENGINE_MS, VIEW_MS = 2.2, 8.0, 2.5
# Multiply-adds a second of both cores in a training step, and in products of matrices.
STEP_RATE, MATRIX_RATE = 3.0e10, 5.0e10
START_S, TORCH_S, PREFIX_S, TUNED_ENGINE_S, SAVE_S = 0.7, 4.0, 4.0, 7.0, 0.3
# To build an engine: of a packaged network, whose graph comes along; of another one.
PACKAGED_ENGINE_S, ENGINE_S = 2.0, 9.0
# Sets of taps that the probe compares, and the largest number of images it does so on.
N_TAP_SETS, MOST_COMPARED = 13, 1_280
# Memory in MiB: Python with NumPy and OpenVINO; PyTorch and timm on top; an engine at work.
BASE_MIB, TORCH_MIB, ENGINE_MIB = 210.0, 480.0, 60.0
# The peak depends on how threads meet; it is said as a limit.
MEMORY_MARGIN = 1.06
# Parts of a run in their order, and what they are called on screen.
PARTS = {
    "start": "start",
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


@dataclass(frozen=True, eq=False)
class Workload:
    """What a way has to go through.

    Attributes
    ----------
    n_images, n_learn, n_reported, n_classes : int
    n_features : int
        Numbers that the pass leaves of an image.
    n_missing : int
        Images whose features the store does not hold.
    is_built : bool
        The engine is on disk.
    picture_ms, network_ms : float or None
        Core-milliseconds of reading a picture, and of the network on it, where they were timed.
    situation : Situation or None
        Where it was measured; None: both kinds of data are reckoned with.
    is_made : bool
        What the frozen part makes of the views, and the decoded pictures, are on disk.
    has_torch : bool
        PyTorch is loaded already.
    network : NetworkCost or None
        Of a network that is not a packaged one, by its built engine.
    n_epochs_done : int
        Epochs that a run which was stopped, or is made again, has gone through.
    n_cores : int
    """

    n_images: int
    n_learn: int
    n_reported: int
    n_classes: int
    n_features: int = 3_000
    n_missing: int = 0
    is_built: bool = True
    picture_ms: float | None = None
    network_ms: float | None = None
    situation: defaults.Situation | None = None
    is_made: bool = False
    has_torch: bool = False
    network: NetworkCost | None = None
    n_epochs_done: int = 0
    n_cores: int = 2

    @property
    def situations(self) -> list[defaults.Situation]:
        """Those that are to be reckoned with."""
        if self.situation is not None:
            return [self.situation]
        stages = tuple(f"blocks.{i}" for i in range(7))
        return [
            defaults.Situation(
                self.n_learn, self.n_classes, 1e4, 224, True, 0.0, stages, probe_error=error
            )
            for error in (0.05, 0.3)
        ]


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
    cold = replace(work, n_missing=work.n_images, is_built=False, is_made=False, n_epochs_done=0)
    warm = replace(work, n_missing=0, is_built=True, is_made=True, n_epochs_done=0)
    return replace(
        now,
        cold_s=_bill(way, config, cold, past).seconds,
        warm_s=_bill(way, config, warm, past).seconds,
    )


def reckoned(
    way: Way, settings: TrainingSettings, work: Workload, situation: defaults.Situation
) -> dict[str, float]:
    """Seconds of each part on a middling pair of cores."""
    cost, method = _cost(way, work), METHODS[way.method]
    side = way.image_size or settings.image_size or cost.input_px
    looks = 2 if way.look else 1
    network_ms = _engine_ms(cost) if work.network_ms is None else work.network_ms
    shown_ms = looks * network_ms * (1 if method.trains else _area(side, cost))
    decode_ms = DECODE_MS if work.picture_ms is None else work.picture_ms
    found = {
        "start": START_S,
        "engine": 0.05 if work.is_built else _engine_s(way),
        "features": 0.05 + work.n_missing * (decode_ms + shown_ms) / 1000 / work.n_cores,
        "check": 0.05 + 2e-4 * work.n_images,
        "fit": _probe_s(work),
        "evaluate": 0.15 + 2e-5 * work.n_reported * work.n_classes,
        "save": SAVE_S,
    }
    if method.trains:
        found["fit"] = 0.0  # a part of the plan
        found |= _training(way, settings, work, situation, cost)
    return found


def kinds(part: str, way: Way, work: Workload) -> tuple[str, ...]:
    """Under which names past runs of a part are remembered, from special to general."""
    if part == "plan":
        part = "plan warm" if work.is_made else "plan cold"
    if part in ("plan", "plan warm", "plan cold", "steps", "rest"):
        return f"{part} {way.method} {way.backbone}", f"{part} {way.method}"
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
    peak_mib: float | None,
) -> None:  # fmt: skip
    """Let a finished run make the next bills better.

    Parameters
    ----------
    real : mapping
        Seconds of each of `PARTS`; what is not there was not measured.
    peak_mib : float or None
    """
    situation = work.situations[0]
    settings = resolved(way, config.settings, situation, _cost(way, work))
    known_ms = replace(work, picture_ms=None, network_ms=None)
    for one in (known_ms, work) if work.picture_ms is not None else (known_ms,):
        for part, seconds in reckoned(way, settings, one, situation).items():
            if part in real and (one is known_ms or part == "features"):
                past.note(kinds(part, way, one), reckoned=seconds, real=real[part])
    if peak_mib is not None:
        memory = _memory_mib(way, settings, work)
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
    settings = resolved(way, config.settings, situation, _cost(way, work))
    parts, below, above, n_past = {}, 0.0, 0.0, 0
    for part, seconds in reckoned(way, settings, work, situation).items():
        factor = past.factor(kinds(part, way, work))
        parts[part] = seconds * factor.value
        below += (seconds * (factor.value - factor.low)) ** 2
        above += (seconds * (factor.high - factor.value)) ** 2
        n_past = max(n_past, factor.n)
    total = sum(parts.values())
    memory = _memory_mib(way, settings, work) * past.most(_memory_kinds(way, work)) * MEMORY_MARGIN
    return Bill(
        total, max(0.3 * total, total - math.sqrt(below)), total + math.sqrt(above), parts,
        memory, _disk_mib(way, settings, work), n_past=n_past,
    )  # fmt: skip


# -- Seconds ---------------------------------------------------------------------------------


def _training(
    way: Way,
    settings: TrainingSettings,
    work: Workload,
    situation: defaults.Situation,
    cost: NetworkCost,
) -> dict[str, float]:
    method = METHODS[way.method]
    n_chosen = min(settings.select_fraction * work.n_learn, 2_000)
    n = work.n_learn - n_chosen
    epochs = max(0, int(settings.epochs or 0) - work.n_epochs_done)
    area = _area(settings.image_size, cost)
    before = cost.share_before(settings.split_point) if method.splits else 0.0
    learns = (1 - before) * area * cost.multiply_adds if method.moves_network else 0.0
    views_ms = VIEW_MS + _engine_ms(cost) * area * (before if method.splits else 1.0)
    plan = (0.2 if work.has_torch else TORCH_S) + 3 * _probe_s(work) + _test_of_views_s(work, cost)
    if not work.is_made and method.moves_network:
        plan += (n + n_chosen) * DECODE_MS / 1000 / work.n_cores
        plan += PREFIX_S if method.splits else 0.0
    if not work.is_made and method.has_views and int(settings.views or 1) > 1:
        plan += n * int(settings.views or 1) * views_ms / 1000 / work.n_cores
    if area != 1.0 and not method.starts_anew and not work.is_made:
        # Another engine, and another pass, at the size of training.
        passed = work.n_learn * (DECODE_MS + _engine_ms(cost) * area)
        plan += _engine_s(way) + passed / 1000 / work.n_cores
    seen = epochs * n
    steps = seen * 3 * learns / STEP_RATE + seen * 2e-4 + epochs * n_chosen * learns / STEP_RATE
    if method.sees_pictures:
        steps += 0.5 * seen * VIEW_MS / 1000 / work.n_cores
    rest = 7 * n_chosen * learns / STEP_RATE + (TUNED_ENGINE_S if method.moves_network else 0.3)
    tested = work.n_reported * (DECODE_MS + _engine_ms(cost) * area)
    evaluate = 0.2 + (tested / 1000 / work.n_cores if method.moves_network else 0.0)
    return {"plan": plan, "steps": steps, "rest": rest, "evaluate": evaluate}


def _probe_s(work: Workload) -> float:
    """Comparing the taps, and the head on all that teach."""
    n, N, D = min(work.n_learn, MOST_COMPARED), work.n_learn, work.n_features
    compared = N_TAP_SETS * (2 * n * n * D / 3 + 12 * n**3) / MATRIX_RATE
    r = min(N, D)
    head = (2 * N * D * r / 2 + 12 * r**3 + 28 * 2 * N * r * work.n_classes) / MATRIX_RATE
    return 0.05 + compared + head


def _test_of_views_s(work: Workload, cost: NetworkCost) -> float:
    """Whether pictures may be mirrored or turned."""
    return 3 * min(128, 0.34 * work.n_learn) * _engine_ms(cost) / 1000 / work.n_cores


def _cost(way: Way, work: Workload) -> NetworkCost:
    """Of the way's network: a packaged one, or as the work says."""
    known = cost_of(way.backbone)
    is_guessed = not known.before and "+" not in way.backbone
    return work.network if is_guessed and work.network is not None else known


def _engine_s(way: Way) -> float:
    """To build the engines of a way's networks."""
    names = way.backbone.split("+")
    return sum(PACKAGED_ENGINE_S if cost_of(name).before else ENGINE_S for name in names)


def _engine_ms(cost: NetworkCost) -> float:
    return ENGINE_MS * cost.multiply_adds / 1e9


def _area(side: int | None, cost: NetworkCost) -> float:
    return (side or cost.input_px) ** 2 / cost.input_px**2


# -- Memory and disk -------------------------------------------------------------------------


def _memory_kinds(way: Way, work: Workload) -> tuple[str, ...]:
    part = "memory" if work.is_built else "memory with building"
    return f"{part} {way.method} {way.backbone}", f"{part} {way.method}"


def _memory_mib(way: Way, settings: TrainingSettings, work: Workload) -> float:
    cost, method = _cost(way, work), METHODS[way.method]
    weights = 4 * cost.n_parameters / MIB
    features = 4 * work.n_images * work.n_features / MIB
    compared = 3 * 8 * min(work.n_learn, MOST_COMPARED) * work.n_features / MIB
    found = BASE_MIB + ENGINE_MIB + 3 * weights + 3 * features + compared
    if not work.is_built:
        found += 4 * weights + (0 if cost.before else TORCH_MIB)
    if not method.trains:
        return found
    found += TORCH_MIB + 12 * weights
    if method.moves_network:
        kept = cost.kept_from.get(settings.split_point or "", cost.kept_bytes)
        area = _area(settings.image_size, cost)
        found += 0.95 * settings.batch_size * kept * area / MIB
        found += _kept_mib(settings, work, cost, method.splits)
    return found


def _disk_mib(way: Way, settings: TrainingSettings, work: Workload) -> float:
    cost, method = _cost(way, work), METHODS[way.method]
    weights = 4 * cost.n_parameters / MIB
    found = 1.1 * weights + 4 * work.n_missing * work.n_features / MIB
    if not work.is_built:
        found += 3 * weights
    if method.trains:
        found += 7 * weights if method.moves_network else 5.0
    if method.moves_network:
        found += 3 * weights  # the engine of the network as it will be
        found += 0 if work.is_made else _kept_mib(settings, work, cost, method.splits)
    return found


def _kept_mib(settings: TrainingSettings, work: Workload, cost: NetworkCost, splits: bool) -> float:
    """Maps at the cut of all views, or decoded pictures with room for crops."""
    pixels = _area(settings.image_size, cost) * cost.input_px**2
    if splits:
        bytes_of_one = 4 * 0.65 * pixels
        n = work.n_learn * int(settings.views or 1)
    else:
        bytes_of_one, n = 3 * 1.25**2 * 1.4 * pixels, work.n_learn
    return min(n * bytes_of_one / MIB, 1024 * settings.budget_gib)
