"""Writes src/regraft/backbones/topologies: the graphs of the default backbones, without weights.

Needs PyTorch, timm, and the packages with the weights (`make setup`). Run it when a network, a tap
or `GRAPH_VERSION` changes: ``make topologies``. `tests/test_topology.py` fails if what it would
write is not what is there.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from regraft.backbones import catalog, network, topology
from regraft.backbones.tensor_file import Stored
from regraft.features import engine_builder
from regraft.features.agreement import made_up_pictures
from regraft.features.openvino_runtime import graph_work, import_openvino
from regraft.features.torch_engine import describe

openvino = import_openvino()

# Of constants that say how, not what: axes, shapes, limits.
MOST_LITERAL_BYTES = 64
# Unlike any network's, so that each constant is told by its value.
MEAN, STD = (0.11, 0.23, 0.37), (0.21, 0.31, 0.43)


def main() -> None:
    topology.FOLDER.mkdir(exist_ok=True)
    for name in catalog.PINNED:
        for path, content in files(name).items():
            path.write_bytes(content)
            print(f"{path.name:32} {len(content):>9,} bytes")


def files(name: str) -> dict[Path, bytes]:
    """What `topologies` has of a pinned backbone."""
    loaded = network.load(catalog.resolve(name))
    tapped, widths = network.tap(loaded)
    info = describe(catalog.resolve(name), loaded, widths)
    xml, n_bytes, constants = graph(loaded)
    known = {
        "architecture": info.architecture,
        "config": info.config,
        "widths": widths,
        "epsilon": epsilon(loaded.network),
        "n_bytes": n_bytes,
        "constants": constants,
        "tensors": [[n, t.kind, t.shape] for n, t in stored(loaded.network).items()],
    }
    pixels = torch.from_numpy(made_up_pictures(*info.preprocess.input_px))
    with torch.inference_mode():
        features = tapped(pixels).numpy()
    base = topology.FOLDER / info.architecture
    return {
        base.with_suffix(".xml"): xml.encode(),
        base.with_suffix(".json"): in_lines(known).encode(),
        base.with_suffix(".npy"): as_npy(features),
    }


def graph(loaded: network.LoadedNetwork) -> tuple[str, int, list[Any]]:
    """The graph of a network's taps, the bytes of its constants, and what each is made of."""
    twin = network.untrained(loaded, seed=0).eval()
    make_all_differ(twin)
    stages = network.find_stages(twin)
    tapped = network.TappedNetwork(twin, stages, mean=MEAN, std=STD).eval()
    height, width = network.input_px(loaded.config)
    with tempfile.TemporaryDirectory() as made:
        path = Path(made) / "graph.xml"
        engine_builder.to_graph(tapped, torch.zeros(1, height, width, 3, dtype=torch.uint8), path)
        with graph_work:
            model = openvino.Core().read_model(path)
            simplify(model)
            path = path.with_name("simple.xml")  # the first stays open while its tensors are used
            openvino.save_model(model, path, compress_to_fp16=False)
        xml, data = path.read_text(encoding="utf-8"), path.with_suffix(".bin").read_bytes()
    return xml, len(data), list(made_of(xml, data, twin))


def make_all_differ(twin: nn.Module) -> None:
    """No two tensors of it are alike, so that a constant can only come from one."""
    generator = torch.Generator().manual_seed(0)
    for tensor in twin.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)


def simplify(model: Any) -> None:
    """Padding as TensorFlow means it is a word of the convolution; all other sums are done."""
    from openvino import opset13 as ops
    from openvino.passes import ConstantFolding, Manager

    for pad in [op for op in model.get_ordered_ops() if op.get_type_name() == "Pad"]:
        (target,) = pad.output(0).get_target_inputs()
        convolution = target.get_node()
        is_grouped = convolution.get_type_name() == "GroupConvolution"
        make = ops.group_convolution if is_grouped else ops.convolution
        how = convolution.get_attributes()
        padded = make(
            pad.input_value(0),
            convolution.input_value(1),
            strides=how["strides"],
            pads_begin=[0, 0],
            pads_end=[0, 0],
            dilations=how["dilations"],
            auto_pad="same_upper",
        )
        padded.set_friendly_name(convolution.get_friendly_name())
        convolution.output(0).replace(padded.output(0))
    manager = Manager()
    manager.register_pass(ConstantFolding())
    manager.run_passes(model)


def made_of(xml: str, data: bytes, twin: nn.Module) -> Iterator[list[Any]]:
    """``[offset, what it is made of]`` of each constant, in the order of the offsets."""
    known = list(formulas(twin))
    places = {
        (int(offset), int(size)) for offset, size in re.findall(r'offset="(\d+)" size="(\d+)"', xml)
    }
    for offset, size in sorted(places):
        content = data[offset : offset + size]
        how = origin(content, known)
        if how is None and size > MOST_LITERAL_BYTES:
            raise SystemExit(f"the constant of {size} bytes at {offset} is none that is known")
        yield [offset, list(how or ("is", content.hex()))]


def origin(content: bytes, known: list[tuple[tuple[str, ...], np.ndarray]]) -> Any:
    """What a constant is made of; None if it is nothing of the network's."""
    if len(content) % 4:
        return None
    values = np.frombuffer(content, np.float32)
    found = [
        how
        for how, wanted in known
        if wanted.size == values.size and np.array_equal(wanted.reshape(-1), values)
    ]
    if len(found) > 1:
        raise SystemExit(f"a constant may be any of {found}")
    return found[0] if found else None


def formulas(twin: nn.Module) -> Iterator[tuple[tuple[str, ...], np.ndarray]]:
    """All that a constant may be made of, and its value."""
    yield ("mean",), np.array(MEAN, np.float32) * np.float32(255)
    yield ("inverse_std",), np.float32(1) / (np.array(STD, np.float32) * np.float32(255))
    tensors, last = stored(twin), ""
    for name, module in twin.named_modules():
        if isinstance(module, nn.Conv2d):
            last = name
        elif isinstance(module, nn.BatchNorm2d):
            for part in ("weight", "bias"):
                value = topology.folded(part, tensors, last, name, epsilon=module.eps)
                yield (part, last, name), value


def stored(module: nn.Module) -> dict[str, Stored]:
    return {n: Stored.from_array(t.numpy()) for n, t in module.state_dict().items()}


def epsilon(module: nn.Module) -> float:
    (only,) = {m.eps for m in module.modules() if isinstance(m, nn.BatchNorm2d)}
    return float(only)


def in_lines(known: dict[str, Any]) -> str:
    """JSON, an entry of a long list a line, so that changes can be read."""
    rows = []
    for key, value in known.items():
        text = json.dumps(value)
        if isinstance(value, list) and len(value) > 20:
            text = "[\n  " + ",\n  ".join(map(json.dumps, value)) + "\n ]"
        rows.append(f' "{key}": {text}')
    return "{\n" + ",\n".join(rows) + "\n}\n"


def as_npy(values: np.ndarray) -> bytes:
    import io

    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(values, np.float32), allow_pickle=False)
    return file.getvalue()


if __name__ == "__main__":
    main()
