"""What a run needs of memory at its peak, and of disk."""

from __future__ import annotations

from regraft.choosing.network_cost import NetworkCost
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


def runs_engine(way: Way, work: Workload) -> bool:
    """Whether pictures go through the network: where the store knows all of them, none do."""
    return METHODS[way.method].trains or bool(work.n_missing) or not work.is_built


def memory_mib(way: Way, settings: TrainingSettings, work: Workload) -> float:
    """MiB of resident memory at the peak."""
    cost, method = work.cost_of(way), METHODS[way.method]
    weights = 4 * cost.n_parameters / MIB
    # All of them once, mapped where they are many; copies are made of a chunk at a time.
    features = 4 * work.n_images * work.n_features / MIB
    copied = 4 * min(work.n_images, CHUNK_ROWS) * work.n_features / MIB
    compared = 3 * 8 * min(work.n_learn, MOST_COMPARED) * work.n_features / MIB
    found = BASE_MIB + weights + features + 2 * copied + compared
    found += BYTES_A_ROW * work.n_images / MIB
    if work.n_learn > MAX_GRAM_ROWS:  # the features are decomposed, in double precision
        left_out = min(work.n_learn * work.n_features, MAX_LEFT_OUT_NUMBERS)
        found += 8 * (left_out + 2 * work.n_features**2) / MIB
    if runs_engine(way, work):
        found += ENGINE_MIB + weights
    if not work.is_built and not cost.before:
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
