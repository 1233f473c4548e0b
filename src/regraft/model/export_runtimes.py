"""An exported file at work in its own runtime: onnxruntime, OpenVINO or PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from regraft.features.openvino_runtime import graph_work, import_openvino
from regraft.machine.processor import available_cores
from regraft.model.export_inputs import Pixels

# Pictures at once, where the file takes many.
AT_ONCE = 8


class Outputs(NamedTuple):
    """``(N, K)`` probabilities, ``(N, D)`` features, ``(N,)`` oddness: NaN where none is known."""

    probabilities: NDArray[np.float32]
    features: NDArray[np.float32]
    oddness: NDArray[np.float32]

    @classmethod
    def of(cls, found: list[NDArray[np.float32]]) -> Outputs:
        """What a file gives: two outputs, or three."""
        if len(found) == 2:
            found = [*found, np.full(len(found[0]), np.nan, np.float32)]
        return cls(*found)


# One array for each input, in its order.
Answer = Callable[..., list[NDArray[np.float32]]]


class Runner:
    """An exported file, started.

    Attributes
    ----------
    runtime : str
        Its name and version.
    takes_many : bool
        Whether several pictures at once are answered as each of them alone is.
    n_aside : int
        Answers that are made at the same time.
    """

    def __init__(self, answer: Answer, runtime: str, takes_many: bool, *, n_aside: int = 1) -> None:
        self._answer, self.runtime, self.takes_many = answer, runtime, takes_many
        self.n_aside = n_aside

    def __call__(self, *shown: Pixels) -> Outputs:
        """``(N, H, W, 3)`` uint8 for each input, N at least 1, to what the file says of them."""
        n = len(shown[0])
        step = min(AT_ONCE, math.ceil(n / self.n_aside)) if self.takes_many else 1
        parts = [[pixels[s : s + step] for pixels in shown] for s in range(0, n, step)]
        with ThreadPoolExecutor(self.n_aside) as pool:
            found = list(pool.map(lambda part: self.together(*part), parts))
        return Outputs(*map(np.concatenate, zip(*found, strict=True)))

    def together(self, *shown: Pixels) -> Outputs:
        """The same, all of them at once."""
        return Outputs.of(self._answer(*map(np.ascontiguousarray, shown)))


def start(path: Path, *, n_threads: int | None = None) -> Runner:
    """The file at work, on as many cores as there are."""
    return _STARTERS[path.suffix](path, n_threads or available_cores())


def _in_onnxruntime(path: Path, n_threads: int) -> Runner:
    onnxruntime = import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    # Threads that share one picture mostly wait for each other: with one picture for each, twice as
    # many are answered on two cores.
    options.intra_op_num_threads = 1
    options.log_severity_level = 3  # errors; its warnings are about speed
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    takes_many = not isinstance(session.get_inputs()[0].shape[0], int)
    names = [one.name for one in session.get_inputs()]

    def answer(*shown: Pixels) -> list[NDArray[np.float32]]:
        found: list[NDArray[np.float32]] = session.run(None, dict(zip(names, shown, strict=True)))
        return found

    version = f"onnxruntime {onnxruntime.__version__}"
    return Runner(answer, version, takes_many, n_aside=n_threads)


def _in_openvino(path: Path, n_threads: int) -> Runner:
    openvino = import_openvino()
    options = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": n_threads,
        "ENABLE_CPU_PINNING": False,
    }
    with graph_work:
        compiled = openvino.Core().compile_model(str(path), "CPU", options)
    request = compiled.create_infer_request()
    takes_many = compiled.input(0).get_partial_shape()[0].is_dynamic

    def answer(*shown: Pixels) -> list[NDArray[np.float32]]:
        found = request.infer(dict(enumerate(shown)))
        return [np.array(found[output], np.float32) for output in compiled.outputs]

    version = openvino.__version__.split("-")[0]
    return Runner(answer, f"openvino {version} fp32", takes_many)


def _in_torch(path: Path, n_threads: int) -> Runner:
    torch: Any = import_module("torch")
    program = torch.export.load(path)
    module = program.module()
    takes_many = bool(program.range_constraints)

    def answer(*shown: Pixels) -> list[NDArray[np.float32]]:
        with torch.inference_mode():
            return [found.numpy() for found in module(*map(torch.from_numpy, shown))]

    return Runner(answer, f"torch {torch.__version__}", takes_many)


_STARTERS: dict[str, Callable[[Path, int], Runner]] = {
    ".onnx": _in_onnxruntime,
    ".xml": _in_openvino,
    ".pt2": _in_torch,
}
