"""Seconds of each part of a run, on a middling pair of cores, by what is known of it beforehand."""

from __future__ import annotations

from regraft.backbones import catalog
from regraft.choosing.network_cost import NetworkCost, is_packaged
from regraft.choosing.way import Way
from regraft.choosing.workload import Workload
from regraft.training import defaults
from regraft.training.methods import METHODS
from regraft.training.settings import TrainingSettings

# Where nothing else is known: milliseconds of one core for a picture (reading, decoding, resizing),
# for 10^9 multiply-adds of an engine, for an augmented view.
DECODE_MS, ENGINE_MS, VIEW_MS = 2.2, 8.0, 2.5
# Multiply-adds a second of both cores in a training step, and in products of matrices.
STEP_RATE, MATRIX_RATE = 4.5e10, 5.0e10
# Early layers wait for memory, not for arithmetic: bytes a second of what a backward pass keeps,
# and how much longer batch normalisation with statistics of the batch goes over them.
KEPT_RATE, BATCH_STATISTICS = 3.5e9, 4.0
START_S, TORCH_S, PREFIX_S, TUNED_ENGINE_S, SAVE_S = 0.6, 4.5, 3.0, 2.5, 0.1
# After a training: its picture, and the end of a process with PyTorch in it.
AFTER_TRAINING_S = 0.5
# To build an engine: of a packaged network, whose graph comes along; of another one.
PACKAGED_ENGINE_S, ENGINE_S = 0.7, 9.0
# Sets of taps that the probe compares, and the largest number of images it does so on.
N_TAP_SETS, MOST_COMPARED = 13, 1_280


def reckoned(
    way: Way, settings: TrainingSettings, work: Workload, situation: defaults.Situation
) -> dict[str, float]:
    """Seconds of each part on a middling pair of cores."""
    cost, method = work.cost_of(way), METHODS[way.method]
    side = way.image_size or settings.image_size or cost.input_px
    network_ms = _engine_ms(cost) if work.network_ms is None else work.network_ms
    shown_ms = way.n_looks * network_ms * (1 if method.trains else cost.area(side))
    decode_ms = DECODE_MS if work.picture_ms is None else work.picture_ms
    found = {
        "start": START_S,
        "engine": 0.02 if work.is_built else _engine_s(way),
        "features": 0.05 + work.n_missing * (decode_ms + shown_ms) / 1000 / work.n_cores,
        "check": 0.02 + 1e-4 * work.n_images,
        "fit": _probe_s(work),
        "evaluate": 0.03 + 2e-5 * work.n_reported * work.n_classes,
        "save": SAVE_S,
    }
    if method.trains:
        found["start"] = outside_s(way)
        found["fit"] = 0.0  # a part of the plan
        found |= _training(way, settings, work, situation, cost)
    return found


def outside_s(way: Way) -> float:
    """Before and after what a run measures of itself."""
    return START_S + (AFTER_TRAINING_S if way.trains else 0.0)


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
    area = cost.area(settings.image_size)
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
    if method.moves_network:
        kept = cost.kept_from.get(settings.split_point or "", cost.kept_bytes) * area
        passes = BATCH_STATISTICS if settings.batchnorm == "train" else 1.0
        steps += seen * kept * passes / KEPT_RATE
    if method.sees_pictures:
        steps += 0.5 * seen * VIEW_MS / 1000 / work.n_cores
    is_new = method.moves_network and not work.is_repeated
    rest = 7 * n_chosen * learns / STEP_RATE + (TUNED_ENGINE_S if is_new else 0.3)
    tested = work.n_reported * (DECODE_MS + _engine_ms(cost) * area) if is_new else 0.0
    evaluate = 0.2 + tested / 1000 / work.n_cores
    return {"plan": plan, "steps": steps, "rest": rest, "evaluate": evaluate}


def _probe_s(work: Workload) -> float:
    """Comparing the taps, and the head on all that teach."""
    n, N, D = min(work.n_learn, MOST_COMPARED), work.n_learn, work.n_features
    compared = N_TAP_SETS * (2 * n * n * D / 3 + 12 * n**3) / MATRIX_RATE
    r = min(N, D)
    head = (2 * N * D * r / 2 + 12 * r**3 + 28 * 2 * N * r * work.n_classes) / MATRIX_RATE
    return 0.2 + compared + head


def _test_of_views_s(work: Workload, cost: NetworkCost) -> float:
    """Whether pictures may be mirrored or turned."""
    return 3 * min(128, 0.34 * work.n_learn) * _engine_ms(cost) / 1000 / work.n_cores


def _engine_s(way: Way) -> float:
    """To build the engines of a way's networks."""
    networks = catalog.names_in(way.backbone)
    return sum(PACKAGED_ENGINE_S if is_packaged(name) else ENGINE_S for name in networks)


def _engine_ms(cost: NetworkCost) -> float:
    return ENGINE_MS * cost.multiply_adds / 1e9
