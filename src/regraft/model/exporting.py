"""A classifier written for another runtime: compared on real pictures before it is anybody's.

Everything is made in a folder under another name, read back from there, and held against the
classifier; what answers otherwise is refused, and nothing of it is left.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from regraft.data.table import quoted
from regraft.errors import ArtefactError, RegraftError, TableError
from regraft.features.engines import BuiltEngine
from regraft.listener import SILENT, Doing, Listener
from regraft.model import export_comparison as comparison
from regraft.model import export_folder, export_readme, export_targets, saving
from regraft.model.export_comparison import Seen
from regraft.model.export_inputs import inputs_of
from regraft.model.export_layers import require_head
from regraft.model.export_reference import ReadAhead, RealPictures, Reference, pixels_of
from regraft.model.export_targets import Target, Written
from regraft.model.saving import check_parts
from regraft.probe.classifier import Classifier
from regraft.wording import count

# Points of accuracy that 8-bit integers may cost.
MAX_DROP = 0.5


@dataclass(frozen=True, eq=False)
class Exported:
    """A model that was written for another runtime, and how it compared.

    Attributes
    ----------
    folder : Path
    target : {'onnx', 'openvino', 'torch'}
    files : list of str
        Paths within the folder.
    compared : dict
        As in ``--json``.
    input : str
    outputs : list of str
    """

    folder: Path
    target: str
    files: list[str]
    compared: dict[str, Any]
    input: str
    outputs: list[str]

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {"schema": 1, **vars(self), "folder": str(self.folder)}


def export(
    classifier: Classifier,
    out: str | os.PathLike[str],
    *,
    to: str,
    real: RealPictures,
    teaching: Sequence[str] = (),
    int8: bool = False,
    max_drop: float = MAX_DROP,
    listener: Listener = SILENT,
) -> Exported:
    """Write a classifier for a runtime, and compare it there; the folder appears if it agrees.

    Parameters
    ----------
    classifier : Classifier
    out : path
        New, empty, or an earlier export, which is then replaced.
    to : {'onnx', 'openvino', 'torch'}
    real : RealPictures
        What it is compared on, the least sure first.
    teaching : sequence of str
        Paths of other real images, which teach the ranges of 8-bit integers.
    int8 : bool
        In 8-bit integers.
    max_drop : float
        Points of accuracy that this may cost on `real`.
    listener : Listener

    Raises
    ------
    ArtefactError
        It answers otherwise than the classifier, or the folder cannot be written.
    UsageError
        This head, network or machine does not allow it.
    """
    target = require_possible(classifier, to, out, int8=int8)
    info, folder = check_parts(classifier), Path(os.path.realpath(out))
    built = classifier.built(device="cpu", say=listener.say)
    reference = Reference(classifier)
    with whole(folder) as made:
        listener.say(Doing(f"writing {info.architecture} and its head for {target.runtime}"))
        export_folder.write_words(made, classifier, built.info)
        with ReadAhead(made, reference, real) as shown:
            written = _written(target, classifier, built, made)
            facts = export_folder.facts_of(
                classifier, built.info, target=to, takes_many=written.runner.takes_many
            )
            export_folder.write_facts(made, facts)
            comparison.require_whole(made, classifier)
            seen = comparison.see(written.runner, shown, listener=listener)
        comparison.require_same(seen, classifier)
        comparison.require_same_from_file(seen, classifier)
        compared = seen.to_dict()
        if int8:
            asked = Asked(teaching, max_drop)
            written, seen, lost = _in_int8(target, written, seen, made, reference, asked, listener)
            facts, compared = {**facts, "precision": "int8"}, {**seen.to_dict(), "int8": lost}
        _finish(made, written, seen, classifier, facts, compared)
        files = export_folder.files_in(made)
    outputs = [output["name"] for output in facts["outputs"]]
    return Exported(folder, to, files, compared, _shapes(facts), outputs)


def _shapes(facts: dict[str, Any]) -> str:
    """'uint8 (N, 224, 224, 3)', and more of several inputs."""
    shapes = [", ".join(map(str, one["shape"])) for one in facts["inputs"]]
    return "uint8 " + " and ".join(f"({shape})" for shape in shapes)


def _written(target: Target, classifier: Classifier, built: BuiltEngine, made: Path) -> Written:
    try:
        return target.write(classifier, built, made)
    except RegraftError:
        raise
    except Exception as error:  # whatever PyTorch and runtimes raise on what they cannot do
        raise export_targets.failed(target, error) from error


@dataclass(frozen=True)
class Asked:
    """Of 8-bit integers: paths of images that teach their ranges, and what they may cost."""

    teaching: Sequence[str]
    max_drop: float


def _in_int8(
    target: Target, exact: Written, before: Seen, made: Path, reference: Reference, asked: Asked,
    listener: Listener,
) -> tuple[Written, Seen, dict[str, Any]]:  # fmt: skip
    """The file in 8-bit integers instead, refused if that costs too much; its gain is measured."""
    from regraft.model import export_int8

    built, classifier = reference.built, reference.classifier
    inputs, most = inputs_of(built.info), export_int8.N_CALIBRATING
    shown = pixels_of(asked.teaching, inputs, most)
    n = len(shown[0])
    if n < export_int8.FEWEST_CALIBRATING:
        raise TableError(
            f"8-bit integers learn their ranges from images that they are not compared on; "
            f"{n} are there, {export_int8.FEWEST_CALIBRATING} are needed",
            cure="--data DATA with more images",
        )
    listener.say(Doing(f"learning the ranges of 8-bit integers from {count(n, 'image')}"))
    assert target.write_int8 is not None
    smaller = target.write_int8(classifier, built, exact, shown)
    with ReadAhead(made, reference, before.pictures, before.said()) as again:
        seen = comparison.see(smaller.runner, again, listener=listener)
    lost = export_int8.Lost.of(before, seen, classifier)
    lost.require_at_most(asked.max_drop)
    gain = export_int8.times_as_fast(exact.runner, smaller.runner, shown)
    found = {"drop": lost.points, "paired": lost.paired, "learnt_from": n}
    words = export_int8.in_words(gain)
    return smaller, seen, {**found, "gain": round(gain, 3), "in_words": words}


def _finish(
    made: Path, written: Written, seen: Seen, classifier: Classifier,
    facts: dict[str, Any], compared: dict[str, Any],
) -> None:  # fmt: skip
    """Golden images, README and the facts with how it compared."""
    rows = golden_rows(len(seen.pictures))
    inputs = inputs_of(classifier.built(device="cpu").info)
    export_folder.write_golden(
        made, seen.pictures.select(rows), written.runner, classifier.classes, inputs
    )
    export_readme.write(made, facts, compared, classifier)
    export_folder.write_facts(made, facts, compared=compared)


def golden_rows(n: int) -> list[int]:
    """Rows of the golden images among n, the least sure first: evenly spread.

    Examples
    --------
    >>> golden_rows(64), golden_rows(3)
    ([0, 9, 18, 27, 36, 45, 54, 63], [0, 1, 2])
    """
    return sorted({int(row) for row in np.linspace(0, n - 1, export_folder.N_GOLDEN)})


def require_possible(
    classifier: Classifier, to: str, out: str | os.PathLike[str], *, int8: bool = False
) -> Target:
    """The target, or a refusal before any work.

    Raises
    ------
    ArtefactError, UsageError
        As `export`, as far as it can be known before.
    """
    require_head(classifier.head.kind)
    require_free(Path(os.path.realpath(out)))
    return export_targets.named(to, int8=int8)


def require_free(folder: Path) -> None:
    """Refuse a folder that holds anything but an earlier export.

    Raises
    ------
    ArtefactError
    """
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise ArtefactError("there is a file where the folder should go", place=str(folder))
    if any(folder.iterdir()) and not _is_ours(folder):
        raise ArtefactError(
            "the folder holds what is no export of Regraft; it is not overwritten",
            place=str(folder),
            cure="give a new folder with --out, or empty this one",
        )
    added = sorted({*export_folder.files_in(folder)} - _files_of(folder))
    added = [name for name in added if not name.startswith("__pycache__/")]  # of preprocess.py
    if added:
        raise ArtefactError(
            "the folder holds more than the export that is to be replaced: "
            f"{quoted(added, at_most=3)}",
            place=str(folder),
            cure="move that away, or give a new folder with --out",
        )


def _is_ours(folder: Path) -> bool:
    return str(_facts_in(folder).get("made_by")).startswith("regraft ")


def _files_of(folder: Path) -> set[str]:
    """Those that an earlier export wrote."""
    return {export_folder.MODEL, *_facts_in(folder).get("files", ())}


def _facts_in(folder: Path) -> dict[str, Any]:
    try:
        said = json.loads((folder / export_folder.MODEL).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def whole(folder: Path) -> AbstractContextManager[Path]:
    """A folder that takes its name when everything in it was compared."""
    cure = "make room, or give a folder that can be written with --out"
    return saving.whole(folder, what="export", cure=cure)
