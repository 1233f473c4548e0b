"""The frozen network on a CPU, run by OpenVINO.

One stream and one thread per core: requests from as many threads run side by side, which is
faster than one request over all cores, because small maps leave little to share.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.features.engine import EngineInfo
from regraft.features.openvino_runtime import graph_work, import_openvino
from regraft.machine.processor import available_cores

openvino = import_openvino()

GRAPH = "graph.xml"
# A part of a batch that is no more than the batch over this goes picture by picture.
FEW = 4
_HINTS = {"bf16": "bf16", "fp32": "f32"}


class OpenVINOEngine:
    """A compiled graph; :meth:`run` is safe from several threads, each with its own request.

    A graph has a fixed number of pictures, so that it is compiled once and a picture's numbers
    cannot depend on how many others came with it. Where that number is more than one, a second
    graph takes single pictures: one that comes alone should not cost as much as eight.

    Parameters
    ----------
    folder : Path
        Of the built engine.
    info : EngineInfo
    n_threads : int, optional
        Requests that run at once; as many as cores by default.
    """

    def __init__(self, folder: Path, info: EngineInfo, *, n_threads: int | None = None) -> None:
        self.folder, self.info = folder, info
        self.n_threads = n_threads or available_cores()
        self._compiled: dict[int, Any] = {}
        self._lock = threading.Lock()
        self._requests = threading.local()

    def run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """``(N, H, W, 3)`` uint8 to ``(N, D)`` float32."""
        size, parts = self.info.batch_size, []
        for start in range(0, len(pixels), size):
            part = pixels[start : start + size]
            if self.info.takes_singles and len(part) <= size // FEW:
                parts += [self._infer(part[i : i + 1], 1) for i in range(len(part))]
            else:
                parts.append(self._infer(_filled_up(part, size), size)[: len(part)])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def prepare(self) -> None:
        """Compile the graph of whole batches now."""
        self._graph(self.info.batch_size)

    def _infer(self, pixels: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
        requests = vars(self._requests).setdefault("by_size", {})
        if size not in requests:
            requests[size] = self._graph(size).create_infer_request()
        request = requests[size]
        batch = np.ascontiguousarray(pixels)  # a name of its own: the tensor shares its memory
        request.set_input_tensor(openvino.Tensor(batch, shared_memory=True))
        request.infer()
        return np.array(request.get_output_tensor().data, np.float32)

    def _graph(self, size: int) -> Any:
        with self._lock:
            if size not in self._compiled:
                self._compiled[size] = compile_graph(
                    self.folder, self.info.precision, self.n_threads, size
                )
            return self._compiled[size]


def _filled_up(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    if len(pixels) == size:
        return pixels
    rest = np.zeros((size - len(pixels), *pixels.shape[1:]), np.uint8)
    return np.concatenate([pixels, rest])


def compile_graph(folder: Path, precision: str, n_threads: int, size: int) -> Any:
    """The graph of a built engine for so many pictures at once, compiled; the blob is kept beside
    it for the next time."""
    core = openvino.Core()
    options = {
        "CACHE_DIR": str(folder / "blob"),
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "NUM_STREAMS": n_threads,
        "INFERENCE_NUM_THREADS": n_threads,
        "PERFORMANCE_HINT": "THROUGHPUT",
        "ENABLE_CPU_PINNING": False,
    }
    with graph_work:
        graph = core.read_model(folder / GRAPH)
        shape = graph.input(0).shape
        if shape[0] == size:
            return core.compile_model(str(folder / GRAPH), "CPU", options)
        graph.reshape([size, *list(shape)[1:]])
        return core.compile_model(graph, "CPU", options)
