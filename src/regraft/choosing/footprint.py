"""What a run needs of memory at its peak, and of disk."""

from __future__ import annotations

from regraft.choosing.network_cost import NetworkCost, is_packaged
from regraft.choosing.reckoning import MOST_COMPARED
from regraft.choosing.way import Way
from regraft.choosing.workload import Workload
from regraft.probe.ridge import CHUNK_ROWS, MAX_GRAM_ROWS, MAX_LEFT_OUT_NUMBERS
from regraft.training.methods import METHODS
from regraft.training.settings import TrainingSettings

MIB = 2**20
# Memory in MiB: Python with NumPy; OpenVINO and an engine at work; PyTorch and timm on top.
BASE_MIB, ENGINE_MIB, TORCH_MIB = 80.0, 115.0, 560.0
BYTES_A_ROW = 1_000  # facts, paths, labels and digests, as measured
# How often the rows that teach are held, as sets of taps, standardised and decomposed: up to so
# many, and beyond; and what is as large as there are features, from so many rows on. Upper bounds
# over 300 to 4,800 images of 2 to 73 classes (docs/experiments.md).
ROWS_HELD, FEW_ROWS, MORE_ROWS_HELD = 22, 2_000, 12
SQUARES_MIB, SQUARES_ROWS = 60.0, 400


def runs_engine(way: Way, work: Workload) -> bool:
    """Whether pictures go through the network: where the store knows all of them, none do."""
    return METHODS[way.method].trains or bool(work.n_missing) or not work.is_built


def memory_mib(way: Way, settings: TrainingSettings, work: Workload) -> float:
    """MiB of resident memory at the peak."""
    cost, method = work.cost_of(way), METHODS[way.method]
    weights = 4 * cost.n_parameters / MIB
    features = 4 * work.n_images * work.n_features / MIB
    found = BASE_MIB + weights + features + _fit_mib(work) + BYTES_A_ROW * work.n_images / MIB
    if runs_engine(way, work):
        found += ENGINE_MIB + weights
    if not work.is_built and not is_packaged(way.backbone):
        found += 4 * weights + TORCH_MIB
    if not method.trains:
        return found
    found += TORCH_MIB + 12 * weights
    if method.moves_network:
        kept = cost.kept_from.get(settings.split_point or "", cost.kept_bytes)
        area = cost.area(settings.image_size)
        found += 0.95 * settings.batch_size * kept * area / MIB
        found += _kept_mib(settings, work, cost, method.splits)
    return found


def _fit_mib(work: Workload) -> float:
    """Of comparing the sets of taps, each standardised and decomposed."""
    n, D = work.n_learn, work.n_features
    if n > MAX_GRAM_ROWS:  # a chunk at a time, and the features decomposed in double precision
        copied = 4 * min(work.n_images, CHUNK_ROWS) * D
        compared = 3 * 8 * min(n, MOST_COMPARED) * D
        left_out = min(n * D, MAX_LEFT_OUT_NUMBERS)
        return (2 * copied + compared + 8 * (left_out + 2 * D**2)) / MIB
    held = ROWS_HELD * min(n, FEW_ROWS) + MORE_ROWS_HELD * max(0, n - FEW_ROWS)
    return SQUARES_MIB * min(1.0, n / SQUARES_ROWS) + 4 * held * D / MIB


def disk_mib(way: Way, settings: TrainingSettings, work: Workload) -> float:
    """MiB that stay, or pass, on disk."""
    cost, method = work.cost_of(way), METHODS[way.method]
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
    pixels = cost.area(settings.image_size) * cost.input_px**2
    if splits:
        bytes_of_one = 4 * 0.65 * pixels
        n = work.n_learn * int(settings.views or 1)
    else:
        bytes_of_one, n = 3 * 1.25**2 * 1.4 * pixels, work.n_learn
    return min(n * bytes_of_one / MIB, 1024 * settings.budget_gib)
