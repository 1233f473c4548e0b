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
_HINTS = {"bf16": "bf16", "fp32": "f32"}


class OpenVINOEngine:
    """A compiled graph; :meth:`run` is safe from several threads, each with its own request.

    The graph takes one picture: a fixed shape is compiled once and runs a sixth faster, a picture's
    numbers cannot depend on how many others came with it, and one that comes alone costs no more
    than one of many. Larger batches gain 0 to 8 % (docs/experiments.md, "Batches").

    Parameters
    ----------
    folder : Path
        Of the built engine.
    info : EngineInfo
    n_threads : int, optional
        Requests that run at once; as many as cores by default.
    keeps_blob : bool
        The compiled graph stays beside the graph, and the next start is quick.
    """

    def __init__(
        self,
        folder: Path,
        info: EngineInfo,
        *,
        n_threads: int | None = None,
        keeps_blob: bool = True,
    ) -> None:
        self.folder, self.info = folder, info
        self.n_threads = n_threads or available_cores()
        self._compiled = compile_graph(
            folder, info.precision, self.n_threads, keeps_blob=keeps_blob
        )
        self._requests = threading.local()

    @property
    def precision(self) -> str:
        """In which it computes: 'fp32' where bf16 was asked of a processor that has none."""
        kind = str(self._compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name())
        return {hint: name for name, hint in _HINTS.items()}.get(kind, kind)

    def run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """``(N, H, W, 3)`` uint8 to ``(N, D)`` float32."""
        request = getattr(self._requests, "own", None)
        if request is None:
            request = self._requests.own = self._compiled.create_infer_request()
        rows = []
        for place in range(len(pixels)):
            one = np.ascontiguousarray(pixels[place : place + 1])
            request.set_input_tensor(openvino.Tensor(one, shared_memory=True))
            request.infer()
            rows.append(np.array(request.get_output_tensor().data, np.float32))
        return np.concatenate(rows)


def compile_graph(folder: Path, precision: str, n_threads: int, *, keeps_blob: bool = True) -> Any:
    """The graph of a built engine, compiled; its blob is kept beside it for the next time.

    Each precision has blobs of its own: OpenVINO (2026.4) would find one of fp32 for bf16 as well,
    and answers NaN or ends the process.
    """
    core = openvino.Core()
    options = {
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "NUM_STREAMS": n_threads,
        "INFERENCE_NUM_THREADS": n_threads,
        "PERFORMANCE_HINT": "THROUGHPUT",
        "ENABLE_CPU_PINNING": False,
    }
    if keeps_blob:
        options["CACHE_DIR"] = str(folder / "blob" / precision)
    with graph_work:
        try:
            return core.compile_model(str(folder / GRAPH), "CPU", options)
        except RuntimeError:
            # Processes that write the blob at the same time get into each other's way; so does a
            # full disk. The graph is compiled without one then, to the same network.
            if options.pop("CACHE_DIR", None) is None:
                raise
            return openvino.Core().compile_model(str(folder / GRAPH), "CPU", options)
