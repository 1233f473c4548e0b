"""What a model can be exported to: the file of each runtime, written and started again."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from regraft.errors import ArtefactError, RegraftError, UsageError
from regraft.features.agreement import made_up_pictures
from regraft.features.engines import BuiltEngine
from regraft.machine import extras
from regraft.model.export_inputs import Input, Pixels, inputs_of
from regraft.model.export_runtimes import Runner, start
from regraft.probe.classifier import Classifier

# Between a picture's answer alone and in company.
_SAME = 1e-5


@dataclass(frozen=True)
class Written:
    """A file that was written, at work."""

    path: Path
    runner: Runner


Write = Callable[[Classifier, BuiltEngine, Path], Written]
# With pictures as each input sees them.
WriteInt8 = Callable[[Classifier, BuiltEngine, Written, Sequence[Pixels]], Written]


@dataclass(frozen=True)
class Target:
    """A runtime that models are written for.

    Attributes
    ----------
    runtime : str
        In words.
    needs : tuple of str
        Modules without which nothing can be written.
    write : callable(classifier, built, folder)
    write_int8 : callable(classifier, built, written, shown) or None
        In place of a file in fp32, with pictures that teach the ranges.
    otherwise : str
        What serves where a package is missing.
    """

    runtime: str
    needs: tuple[str, ...]
    write: Write
    write_int8: WriteInt8 | None = None
    otherwise: str = ""


def named(name: str, *, int8: bool = False) -> Target:
    """The target of a name, if this machine has what it needs.

    Raises
    ------
    UsageError
        There is no such target, it has no 8-bit integers, or a package is missing.
    """
    if name not in TARGETS:
        raise UsageError(
            f"nothing is exported to {name!r}; known are {', '.join(TARGETS)}", cure="--to onnx"
        )
    target = TARGETS[name]
    if int8 and target.write_int8 is None:
        raise UsageError(
            f"8-bit integers are not written for {target.runtime}",
            cure="--to onnx --int8, or --to openvino --int8",
        )
    wanted = {*target.needs, *(("torch", "onnx", "onnxruntime") if int8 else ())}
    for package in sorted(wanted):
        extras.require(package, f"export to {target.runtime}", otherwise=target.otherwise)
    return target


def _onnx(classifier: Classifier, built: BuiltEngine, folder: Path) -> Written:
    from regraft.model import export_network, export_onnx

    module, inputs = export_network.whole(classifier, built), inputs_of(built.info)

    def write(takes_many: bool) -> Path:
        path = export_onnx.write(module, folder, inputs, takes_many=takes_many)
        export_onnx.describe(path, classifier)
        return path

    return _one_or_many(write, inputs)


def _torch(classifier: Classifier, built: BuiltEngine, folder: Path) -> Written:
    from regraft.model import export_network, export_torch

    module, inputs = export_network.whole(classifier, built), inputs_of(built.info)

    def write(takes_many: bool) -> Path:
        return export_torch.write(module, folder, inputs, classifier.classes, takes_many=takes_many)

    return _one_or_many(write, inputs)


def _openvino(classifier: Classifier, built: BuiltEngine, folder: Path) -> Written:
    from regraft.model import export_openvino

    def write(takes_many: bool) -> Path:
        return export_openvino.write(classifier, built, folder, takes_many=takes_many)

    return _one_or_many(write, inputs_of(built.info))


def _one_or_many(write: Callable[[bool], Path], inputs: Sequence[Input]) -> Written:
    """A file that takes any number of pictures, where the network's shapes allow it."""
    try:
        path = write(True)
        runner = start(path)
        if _answers_each_alone(runner, *(one.size for one in inputs)):
            return Written(path, runner)
    except RegraftError:
        raise
    except Exception:  # whatever a runtime raises on shapes that hold the number of pictures
        pass
    path = write(False)
    return Written(path, start(path))


def _answers_each_alone(runner: Runner, *sizes: tuple[int, int]) -> bool:
    """Whether three pictures together are answered as each of them alone."""
    shown = [made_up_pictures(*size, n=3) for size in sizes]
    together = runner.together(*shown)
    alone = np.concatenate(
        [runner(*(pixels[i : i + 1] for pixels in shown)).probabilities for i in range(3)]
    )
    return runner.takes_many and bool(np.abs(together.probabilities - alone).max() <= _SAME)


def _onnx_int8(
    classifier: Classifier, built: BuiltEngine, written: Written, shown: Sequence[Pixels]
) -> Written:
    from regraft.model import export_int8, export_onnx

    export_int8.quantise(written.path, inputs_of(built.info), shown)
    export_onnx.describe(written.path, classifier)
    return Written(written.path, start(written.path))


def _openvino_int8(
    classifier: Classifier, built: BuiltEngine, written: Written, shown: Sequence[Pixels]
) -> Written:
    """By way of an ONNX file: OpenVINO reads what onnxruntime's quantiser writes."""
    from regraft.model import export_openvino

    with tempfile.TemporaryDirectory(prefix="regraft-") as room:
        onnx = _onnx(classifier, built, Path(room))
        quantised = _onnx_int8(classifier, built, onnx, shown)
        path = export_openvino.of_onnx(quantised.path, written.path.parent, classifier)
    return Written(path, start(path))


_NEEDS_NOTHING = "--to openvino, which needs nothing more"
TARGETS = {
    "onnx": Target(
        "ONNX Runtime", ("onnx", "onnxruntime", "timm", "torch"), _onnx, _onnx_int8, _NEEDS_NOTHING
    ),
    "openvino": Target("OpenVINO", ("openvino",), _openvino, _openvino_int8),
    "torch": Target("PyTorch", ("timm", "torch"), _torch, otherwise=_NEEDS_NOTHING),
}


def failed(target: Target, error: Exception) -> ArtefactError:
    """What a network is refused with that a runtime, or PyTorch on the way to it, cannot do."""
    reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
    return ArtefactError(
        f"this network cannot be written for {target.runtime}: {reason}",
        cure="another --to may serve; please report it with the name of the backbone",
    )
