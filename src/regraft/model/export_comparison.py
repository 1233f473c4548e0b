"""An exported model held against the one it was made from, on real pictures, in its own runtime.

Everything is read back from the folder that was written: the file, the names, ``preprocess.py``.
The reference is the classifier's own engine in fp32 with its head in NumPy, which shares no code
with the file that is tested.

Array letters: N images, K classes, D features.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.errors import ArtefactError, TableError
from regraft.features.agreement import agreement
from regraft.features.engine import Tap
from regraft.listener import SILENT, Listener
from regraft.model import export_folder
from regraft.model.export_inputs import Pixels, stacked
from regraft.model.export_reference import Part, ReadAhead, RealPictures, Said
from regraft.model.export_runtimes import Outputs, Runner
from regraft.probe.classifier import Classifier
from regraft.wording import count, percent, printable

# Largest difference of a probability from the same pixels, in fp32.
MOST_DIFFERENCE = 1e-4
# Two labels whose probabilities differ by less are one answer: no sum in fp32 tells them apart.
TIE = 1e-6
# Largest difference in grey levels (of 255) between preprocess.py and our own decoder and geometry
# with Pillow's resize, on average over a picture, and over all. Measured on five sets: 0.28 and
# 0.04 where the geometry is the same, 1.3 and more where filter or crop are not
# (docs/experiments.md).
MOST_GREY, MOST_GREY_IN_MIDDLE = 1.0, 0.5
# Of a picture that preprocess.py reads otherwise than we do: how far its label may have been
# decided if it turns. Pillow's resize itself is nobody's fault, whatever the model makes of its
# rounding: of pictures of 35 pixels half a percent turned by more, from the very same geometry.
MOST_MARGIN = 0.1
# Largest difference in oddness, over how much it differs among images that did not teach.
MOST_ODDNESS = 2e-3


@dataclass(frozen=True, eq=False)
class Seen:
    """Pictures that could be read, and what everybody says of them.

    Attributes
    ----------
    pictures : RealPictures
    wanted, found : Outputs
        By the classifier in fp32, and by the exported file, of the same pixels.
    from_file : (N, K) float32
        By the exported file of the pixels that ``preprocess.py`` makes.
    resized : (N, K) float32
        By the exported file of our own pixels, which Pillow resized where `from_file` has another
        label.
    grey : (N,) float
        Mean difference of these pixels from ours, in levels of 255; NaN where preprocess.py
        refuses the picture.
    grey_by_pillow : (N,) float
        The same, where Pillow resizes for us too: what is left is decoding and geometry.
    here : (N, K) or None
        By the classifier as it computes on this machine, where that is not in fp32.
    """

    pictures: RealPictures
    wanted: Outputs
    found: Outputs
    from_file: NDArray[np.float32]
    resized: NDArray[np.float32]
    grey: NDArray[np.float64]
    grey_by_pillow: NDArray[np.float64]
    here: NDArray[np.float64] | None
    runtime: str

    def said(self) -> Said:
        """What the classifier says of these pictures."""
        here = self.wanted.probabilities if self.here is None else self.here
        return Said(self.wanted, here)

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``: how the exported file compares."""
        wanted, found = self.wanted.probabilities, self.found.probabilities
        read = ~np.isnan(self.grey)
        from_file: dict[str, Any] = {"images": int(read.sum())}
        if read.any():
            from_file |= _apart(wanted[read], self.from_file[read])
            from_file["grey_levels"] = round(float(self.grey[read].mean()), 4)
        said = {
            "images": len(self.pictures),
            "which": self.pictures.which,
            **_apart(wanted, found),
            "runtime": self.runtime,
            "from_file": from_file,
        }
        if self.here is not None:
            said["predict_here"] = {"precision": "bf16", **_apart(self.here, found)}
        return said


def see(runner: Runner, shown: ReadAhead, *, listener: Listener = SILENT) -> Seen:
    """Hold what the exported file says of pictures against what the classifier says.

    Raises
    ------
    TableError
        None can be read.
    """
    parts, rows = [], list[int]()
    for part in shown:
        listener.progress("images compared", part.done, len(shown.real))
        if part.rows:
            rows += part.rows
            parts.append(
                (*part.wanted, *_found(part, runner), part.grey, part.by_pillow, part.here)
            )
    if not parts:
        raise TableError("none of the images for the comparison can be read", cure="--data DATA")
    joined = [np.concatenate(found) for found in zip(*parts, strict=True)]
    wanted, found, rest = Outputs(*joined[:3]), Outputs(*joined[3:6]), joined[6:]
    from_file, resized, grey, by_pillow, here = rest
    return Seen(
        shown.real.select(rows), wanted, found, from_file, resized, grey, by_pillow,
        None if shown.reference.is_exact_here else here, runner.runtime,
    )  # fmt: skip


def _found(part: Part, runner: Runner) -> tuple[Any, ...]:
    """By the exported file: of our pixels, and the probabilities of those of the scripts, and of
    ours by Pillow's resize where these have another label."""
    found = runner(*part.own)
    from_file = _replaced(found.probabilities, part.theirs, runner)
    turned = flips(part.wanted.probabilities, from_file).tolist()
    resized = {row: part.resized[row] for row in turned if row in part.resized}
    return *found, from_file, _replaced(found.probabilities, resized, runner)


def _replaced(
    proba: NDArray[np.float32], others: Mapping[int, list[Pixels]], runner: Runner
) -> NDArray[np.float32]:
    """Probabilities, some rows of which are those of other pixels."""
    proba = proba.copy()
    if others:
        proba[list(others)] = runner(*stacked(others.values())).probabilities
    return proba


def _apart(a: NDArray[Any], b: NDArray[Any]) -> dict[str, Any]:
    """How far two are apart in what they say, for JSON."""
    return {"flips": len(flips(a, b)), "max_difference": float(f"{differences(a, b).max():.3g}")}


def flips(a: NDArray[Any], b: NDArray[Any], tie: float = TIE) -> NDArray[np.intp]:
    """Rows of ``(N, K)`` probabilities `b` whose label is another than that of `a`.

    Examples
    --------
    >>> flips(np.array([[0.6, 0.4], [0.5, 0.5]]), np.array([[0.3, 0.7], [0.4999999, 0.5000001]]))
    array([0])
    """
    rows, label = np.arange(len(a)), b.argmax(axis=1)
    return np.flatnonzero(a.max(axis=1) - a[rows, label] > tie)


def require_whole(folder: Path, classifier: Classifier) -> None:
    """Refuse a folder whose files are not those that it says, or not of this classifier.

    Raises
    ------
    ArtefactError
    """
    said = json.loads((folder / export_folder.MODEL).read_text(encoding="utf-8"))
    for name, wanted in said["files"].items():
        found = export_folder.digest_of_file(folder / name)
        if found != wanted:
            raise ArtefactError(
                f"{name} has the sha256 {found[:16]}, {export_folder.MODEL} says {wanted[:16]}"
            )
    wanted = export_folder.identity_of(classifier)
    if said["model"]["digest"] != wanted:
        raise ArtefactError(
            f"{export_folder.MODEL} is of the model {said['model']['digest'][:16]}, this is "
            f"{wanted[:16]}"
        )
    names = json.loads((folder / export_folder.LABELS).read_text(encoding="utf-8"))
    if names != list(classifier.classes):
        place = next(
            (i for i, (a, b) in enumerate(zip(names, classifier.classes, strict=False)) if a != b),
            min(len(names), len(classifier.classes)),
        )
        raise ArtefactError(
            f"{export_folder.LABELS} has other names than the model, first at place {place}: "
            f"{names[place : place + 1]} for {list(classifier.classes[place : place + 1])}"
        )


def require_same(seen: Seen, classifier: Classifier) -> None:
    """Refuse an exported model in fp32 that answers otherwise than the classifier.

    Raises
    ------
    ArtefactError
        With the image that told.
    """
    wanted, found = seen.wanted.probabilities, seen.found.probabilities
    apart = differences(wanted, found)
    turned = flips(wanted, found)
    worst = int(turned[apart[turned].argmax()]) if len(turned) else int(apart.argmax())
    if len(turned) or not apart[worst] <= MOST_DIFFERENCE:
        raise _refusal(
            f"{len(turned)} of {count(len(apart), 'image')} get another label, and probabilities "
            f"differ by up to {apart[worst]:.2g} (at most {MOST_DIFFERENCE:g})",
            seen, worst, found, classifier,
        )  # fmt: skip
    taps = [Tap("features", 0, seen.wanted.features.shape[1])]
    close = agreement(seen.found.features, seen.wanted.features, taps, "fp32")
    if problem := close.problem():
        row = int(np.abs(seen.found.features - seen.wanted.features).max(axis=1).argmax())
        raise _refusal(f"its features are others: {problem}", seen, row, found, classifier)
    if classifier.unknown is not None:
        _require_same_oddness(seen, classifier, float(classifier.unknown.odd.std()))


def _require_same_oddness(seen: Seen, classifier: Classifier, spread: float) -> None:
    off = np.abs(seen.found.oddness - seen.wanted.oddness)
    most = MOST_ODDNESS * max(spread, MOST_DIFFERENCE)
    if not (off <= most).all():
        row = int(np.where(np.isnan(off), np.inf, off).argmax())
        found = seen.found.probabilities
        what = f"its oddness is off by {off[row]:.2g} (at most {most:.2g})"
        raise _refusal(what, seen, row, found, classifier)


def require_same_from_file(seen: Seen, classifier: Classifier) -> None:
    """Refuse a ``preprocess.py`` that makes other pixels than the model was taught on.

    Raises
    ------
    ArtefactError
        With the image that told.
    """
    read = np.flatnonzero(~np.isnan(seen.grey))
    if not len(read):
        return
    grey, name = seen.grey_by_pillow[read], export_folder.PREPROCESS
    worst, middle = int(read[grey.argmax()]), float(grey.mean())
    if grey.max() > MOST_GREY or middle > MOST_GREY_IN_MIDDLE:
        raise _refusal(
            f"{name} makes other pixels than the model was taught on: {middle:.2f} grey levels "
            f"apart on average (at most {MOST_GREY_IN_MIDDLE:g}), {grey.max():.2f} for one picture "
            f"(at most {MOST_GREY:g})",
            seen, worst, seen.from_file, classifier,
        )  # fmt: skip
    turned = flips(seen.resized, seen.from_file, tie=MOST_MARGIN)
    if len(turned):
        raise _refusal(
            f"with the pixels of {name} {len(turned)} of {count(len(read), 'image')} get another "
            f"label, {grey.max():.2f} grey levels apart at most",
            seen, int(turned[0]), seen.from_file, classifier,
        )  # fmt: skip


def differences(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    """Largest difference of a probability, for each of N rows; infinite where one is no number."""
    apart = np.abs(a.astype(np.float64) - b.astype(np.float64)).max(axis=1)
    return np.where(np.isnan(apart), np.inf, apart)


def _refusal(
    rule: str, seen: Seen, row: int, found: NDArray[Any], classifier: Classifier
) -> ArtefactError:
    """With what both say of the image that told."""
    said = _in_words(seen.wanted.probabilities[row], classifier)
    other = _in_words(found[row], classifier)
    name = seen.pictures.names[row]
    return ArtefactError(
        f"the exported model answers otherwise than the model: {rule}",
        place=f"{printable(name)}: {other}; the model itself: {said}",
        cure="nothing was written; another --to may serve, and please report it with the name of "
        "the backbone",
        image=name,
    )


def _in_words(proba: NDArray[Any], classifier: Classifier) -> str:
    if np.isnan(proba).any():
        return "no numbers"
    best = int(proba.argmax())
    return f"{printable(classifier.classes[best])} {percent(float(proba[best]))}"
