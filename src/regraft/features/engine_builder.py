"""Building an engine: the timm network becomes an OpenVINO graph, which must agree with PyTorch.

A graph that cannot be made, or whose numbers differ, is refused, and PyTorch runs the network
instead; the engine's notes say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn

from regraft.backbones import catalog, network
from regraft.features.engine import EngineInfo, Sample, Tap
from regraft.features.openvino_engine import GRAPH, OpenVINOEngine, openvino
from regraft.features.openvino_runtime import graph_work
from regraft.features.torch_engine import describe
from regraft.machine import quiet
from regraft.machine.processor import available_cores, precision

# Worst allowed cosine between the engine's and PyTorch's numbers, per image and tap.
# MEASUREMENTS: bf16 reaches 0.9949 and better for nine architectures, fp32 1.00000.
WORST_COSINE = {"fp32": 0.9999, "bf16": 0.98}
SMALL_WEIGHTS_BYTES = 32_000_000


def build_into(
    folder: Path,
    source: catalog.Source,
    *,
    sample: Sample | None,
    offline: bool,
    device: str,
    loaded: network.LoadedNetwork | None = None,
) -> EngineInfo:
    """Write graph, blob and tensors of a backbone into `folder`; what it became is returned."""
    loaded = loaded or network.load(source, offline=offline)
    tapped, widths = network.tap(loaded)
    info = describe(source, loaded, widths)
    # Cloned, because safetensors refuses tensors that share memory (tied weights).
    state = {n: t.clone().contiguous() for n, t in loaded.network.state_dict().items()}
    save_file(state, folder / "weights.safetensors")
    if device != "cpu":
        return info
    try:
        return _as_openvino(folder, tapped, info, sample)
    except Exception as error:  # any failure to convert has the same answer: PyTorch runs it
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        note = f"OpenVINO does not run {info.architecture} ({reason}); PyTorch does, slower"
        return replace(info, notes=(note,))


class _DisagreementError(Exception):
    """The graph's numbers are not PyTorch's."""


def _as_openvino(
    folder: Path, tapped: network.TappedNetwork, info: EngineInfo, sample: Sample | None
) -> EngineInfo:
    info = replace(info, runtime=f"openvino {openvino_version()}", precision=precision())
    weights_bytes = (folder / "weights.safetensors").stat().st_size
    info = replace(info, batch_size=batch_size(info, weights_bytes))
    shown = pictures(info, sample)
    check = agreeing_graph(tapped, folder, info, info.taps, shown)
    return replace(info, check=check, takes_singles=_takes_singles(folder, info, shown))


def _takes_singles(folder: Path, info: EngineInfo, pixels: NDArray[np.uint8]) -> bool:
    """Whether the graph, made for one picture at a time, says what it says of a batch: PyTorch's
    trace may have written the size of the batch into it."""
    if info.batch_size == 1:
        return True
    whole = OpenVINOEngine(folder, info)
    singly = OpenVINOEngine(folder, replace(info, takes_singles=True))
    try:
        alone = np.concatenate([singly.run(one[None]) for one in pixels[:2]])
    except Exception:  # the answer to any failure is to fill batches up
        return False
    wanted = whole.run(pixels[:2])
    return alone.shape == wanted.shape and np.allclose(alone, wanted, rtol=1e-3, atol=1e-3)


def agreeing_graph(
    module: nn.Module,
    folder: Path,
    info: EngineInfo,
    columns: Sequence[Tap],
    pixels: NDArray[np.uint8],
) -> dict[str, Any]:
    """Write a module as a graph into `folder`; how far it is from PyTorch is returned.

    Parameters
    ----------
    module : nn.Module
        ``(N, H, W, 3)`` uint8 to ``(N, D)`` float32.
    info : EngineInfo
        Of the whole network: size, precision, batch.
    columns : sequence of Tap
        Of the D columns; each is compared for itself.
    pixels : (n, H, W, 3) uint8

    Raises
    ------
    Exception
        Whatever PyTorch and OpenVINO raise on what cannot be put in a graph, or a cosine too low.
    """
    height, width = info.preprocess.input_px
    example = torch.zeros(info.batch_size, height, width, 3, dtype=torch.uint8)
    to_graph(module, example, folder / GRAPH)
    engine = OpenVINOEngine(folder, info, n_threads=available_cores())
    return _compare(engine.run(pixels), _reference(module, pixels), columns, info.precision)


def to_graph(module: nn.Module, example: torch.Tensor, path: Path) -> None:
    """Write what a module does to one tensor as an OpenVINO graph.

    PyTorch traces and freezes, OpenVINO reads the frozen program: 0.7 s for EfficientNet-Lite0.
    ``openvino.convert_model`` traces three times (3.2 s) and tells its makers about every use
    over the network, asked or not (package openvino-telemetry).

    Parameters
    ----------
    module : nn.Module
        One tensor in, one tensor out; in eval mode.
    example : tensor
        Its shape, batch included, and its kind become those of the graph's input.
    path : Path
        Of the ``.xml``; the tensors go into a ``.bin`` beside it, in full precision.

    Raises
    ------
    RuntimeError
        And what else PyTorch and OpenVINO raise on an operation that cannot be put in a graph.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "graph.xml"
    ...     to_graph(nn.Linear(3, 2).eval(), torch.zeros(8, 3), path)
    ...     openvino.Core().read_model(path).output(0).shape
    <Shape: [8,2]>
    """
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    with torch.no_grad(), quiet.no_warnings():  # the tracer warns of every branch on a shape
        program = torch.jit.freeze(torch.jit.trace(module, example, check_trace=False))
    reader = openvino.frontend.FrontEndManager().load_by_framework("pytorch")
    decoder = TorchScriptPythonDecoder(program)  # a name of its own: the reader does not keep it
    found = reader.load(decoder)
    (only,) = found.get_inputs()
    found.set_element_type(only, openvino.Type(example.numpy().dtype))
    found.set_partial_shape(only, openvino.PartialShape(list(example.shape)))
    with graph_work:
        openvino.save_model(reader.convert(found), path, compress_to_fp16=False)


def openvino_version() -> str:
    """The version as packages know it, without the build's hash."""
    from importlib.metadata import version

    return version("openvino")


def pictures(info: EngineInfo, sample: Sample | None = None) -> NDArray[np.uint8]:
    """Up to eight preprocessed pictures; made-up ones (noise on soft shapes) if there are none."""
    found = list(sample(info.preprocess))[:8] if sample else []
    if found:
        return np.stack(found)
    height, width = info.preprocess.input_px
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (4, 7, 7, 3)).astype(np.uint8)
    rows, columns = np.arange(height) * 7 // height, np.arange(width) * 7 // width
    noise = random.integers(-20, 21, (4, height, width, 3))
    pixels: NDArray[np.uint8] = np.clip(coarse[:, rows][:, :, columns] + noise, 0, 255).astype(
        np.uint8
    )
    return pixels


def _reference(module: nn.Module, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    with torch.inference_mode():
        features: NDArray[np.float32] = module(torch.from_numpy(pixels)).numpy()
    return features


def _compare(
    found: NDArray[np.float32],
    wanted: NDArray[np.float32],
    columns: Sequence[Tap],
    precision: str,
) -> dict[str, Any]:
    """The worst cosine over images and taps; raises if it is too low."""
    worst = {tap.name: _cosines(found, wanted, tap).min().item() for tap in columns}
    name = min(worst, key=lambda tap: worst[tap])
    if not worst[name] >= WORST_COSINE[precision]:
        raise _DisagreementError(f"cosine {worst[name]:.4f} with PyTorch at {name}")
    return {"images": len(found), "worst_cosine": round(worst[name], 7), "worst_tap": name}


def _cosines(found: NDArray[np.float32], wanted: NDArray[np.float32], tap: Tap) -> NDArray[Any]:
    a = found[:, tap.start : tap.stop].astype(np.float64)
    b = wanted[:, tap.start : tap.stop].astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.where(lengths > 0, (a * b).sum(1) / np.maximum(lengths, 1e-30), 1.0)


def batch_size(info: EngineInfo, weights_bytes: int) -> int:
    """Images per request: one where weights and maps of one image stay in the core's cache.

    Core-milliseconds an image at batches of 1, 4, 8, 16 in fp32: EfficientNet-Lite0 (19 MB of
    weights) 9.9, 12.1, 12.1, 13.0; ResNet-50 (102 MB) 77, 66, 64, 75. bf16 tiles want more rows.
    A rule and not a timing, so that a busy moment cannot change what is kept for good.
    """
    return 1 if info.precision == "fp32" and weights_bytes <= SMALL_WEIGHTS_BYTES else 8
