"""Building an engine: the timm network becomes an OpenVINO graph, which must agree with PyTorch.

A graph that cannot be made, or whose numbers differ, is refused, and PyTorch runs the network
instead; the engine's notes say so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn

from regraft.backbones import catalog, network
from regraft.features.agreement import made_up_pictures
from regraft.features.engine import EngineInfo, Sample, Tap
from regraft.features.graph_check import OnlyInFullPrecisionError, check_graph
from regraft.features.openvino_engine import GRAPH, openvino
from regraft.features.openvino_runtime import graph_work
from regraft.features.torch_engine import describe
from regraft.machine import quiet
from regraft.machine.package_version import version_of
from regraft.machine.processor import precision

# Real pictures beside the made-up ones; more would only make the first run longer.
MOST_REAL_PICTURES = 4


def load(source: catalog.Source, *, offline: bool) -> network.LoadedNetwork:
    """The network itself, with its weights."""
    return network.load(source, offline=offline)


def build_into(
    folder: Path,
    source: catalog.Source,
    loaded: network.LoadedNetwork,
    *,
    sample: Sample | None,
    device: str,
) -> EngineInfo:
    """Write graph, blob and tensors of a backbone into `folder`; what it became is returned."""
    tapped, widths = network.tap(loaded)
    info = describe(source, loaded, widths)
    # Cloned, because safetensors refuses tensors that share memory (tied weights).
    state = {n: t.clone().contiguous() for n, t in loaded.network.state_dict().items()}
    save_file(state, folder / "weights.safetensors")
    if device != "cpu":
        return info
    try:
        return _as_openvino(folder, tapped, replace(info, precision=precision()), sample)
    except Exception as error:  # any failure to convert has the same answer: PyTorch runs it
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        note = f"OpenVINO does not run {info.architecture} ({reason}); PyTorch does, slower"
        return replace(info, notes=(note,))


def _as_openvino(
    folder: Path, tapped: network.TappedNetwork, info: EngineInfo, sample: Sample | None
) -> EngineInfo:
    info = replace(info, runtime=f"openvino {version_of('openvino')}", batch_size=1)
    try:
        check = agreeing_graph(tapped, folder, info, info.taps, pictures(info, sample))
    except OnlyInFullPrecisionError as error:
        note = f"{info.architecture} runs in fp32, slower than in bf16 ({error})"
        return replace(info, precision="fp32", check=error.check, notes=(note,))
    return replace(info, check=check)


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
        Of the whole network: size and precision.
    columns : sequence of Tap
        Of the D columns; each is compared for itself.
    pixels : (n, H, W, 3) uint8

    Raises
    ------
    Exception
        Whatever PyTorch and OpenVINO raise on what cannot be put in a graph, or a disagreement.
    """
    height, width = info.preprocess.input_px
    to_graph(module, torch.zeros(1, height, width, 3, dtype=torch.uint8), folder / GRAPH)
    return check_graph(folder, info, columns, pixels, _reference(module, pixels))


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

    reader = openvino.frontend.FrontEndManager().load_by_framework("pytorch")
    with _frozen(module, example) as program:
        decoder = TorchScriptPythonDecoder(program)  # a name of its own: not kept by the reader
        found = reader.load(decoder)
        (only,) = found.get_inputs()
        found.set_element_type(only, openvino.Type(example.numpy().dtype))
        found.set_partial_shape(only, openvino.PartialShape(list(example.shape)))
        with graph_work:
            openvino.save_model(reader.convert(found), path, compress_to_fp16=False)


@contextmanager
def _frozen(module: nn.Module, example: torch.Tensor) -> Iterator[Any]:
    """The program of a module, for a while.

    PyTorch never forgets a program that it froze, and each holds weights of its own (1 GB after two
    of VGG-11), so they are taken out of it at the end.
    """
    with torch.no_grad(), quiet.no_warnings():  # the tracer warns of every branch on a shape
        program = torch.jit.freeze(torch.jit.trace(module, example, check_trace=False))
    try:
        yield program
    finally:
        for node in program.graph.findAllNodes("prim::Constant"):
            if node.hasAttribute("value") and node.kindOf("value") == "t":
                node.t_("value", torch.empty(0))


def pictures(info: EngineInfo, sample: Sample | None = None) -> NDArray[np.uint8]:
    """A few real pictures, where there are some, and made-up ones, which differ for certain."""
    real = list(sample(info.preprocess))[:MOST_REAL_PICTURES] if sample else []
    return np.concatenate(
        [*(one[None] for one in real), made_up_pictures(*info.preprocess.input_px)]
    )


def _reference(module: nn.Module, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    with torch.inference_mode():
        features: NDArray[np.float32] = module(torch.from_numpy(pixels)).numpy()
    return features
