"""The story of `regraft explain`: for every image its map, drawn and in numbers."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.data.cells import name_of
from regraft.data.table import Rejected, Skipped
from regraft.errors import UsageError
from regraft.explain import drawing, nearest
from regraft.explain.base import Heat, stacked
from regraft.explain.explainer import explainer_for
from regraft.features.extraction import Extraction
from regraft.features.store import Store
from regraft.images import DECODER_VERSION, pictures
from regraft.listener import SILENT, Listener
from regraft.machine import atomic
from regraft.machine.processor import available_cores
from regraft.probe.classifier import Classifier
from regraft.wording import near_names, percent

NUMBERS = "maps.json"
# Images that are decoded, explained and drawn together.
CHUNK = 16
# The box in the middle by which `inside` and `border` are told apart, along each side.
MIDDLE = 0.6
# Of an even map, which tells nothing: the chance level of `in_middle`.
EVEN_IN_MIDDLE = round(MIDDLE**2, 4)
LITTLE = "a few points decide: this map says little"


@dataclass(frozen=True, eq=False)
class Explanations:
    """What was found about each image.

    Attributes
    ----------
    folder : str
        Where the pictures and ``maps.json`` are.
    model : str
    method, why : str
        How the maps were made, and why so.
    images : list of dict
        One per image, as in ``maps.json``.
    rejected : tuple of Rejected
        Files that could not be read.
    notes : tuple of str
        What a user must hear.
    skipped : tuple of Skipped
        What was no picture, or said one again.
    """

    folder: str
    model: str
    method: str
    why: str
    images: list[dict[str, Any]]
    rejected: tuple[Rejected, ...]
    notes: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()

    def rows(self) -> Iterator[dict[str, Any]]:
        """What ``--json`` prints: one object per image, then one per rejected file."""
        yield from self.images
        for bad in self.rejected:
            yield {"path": bad.path, "error": bad.reason, "mend": bad.mend}

    def to_dict(self) -> dict[str, Any]:
        """The content of ``maps.json``."""
        return {
            "schema": 1,
            "model": self.model,
            "method": self.method,
            "why": self.why,
            "notes": list(self.notes),
            "images": list(self.rows()),
            "left_out": [entry._asdict() for entry in self.skipped],
        }


def code_of(label: str | None, classes: tuple[str, ...]) -> int | None:
    """The code of a class by its name; UsageError with near names if there is none."""
    if label is None:
        return None
    names = [name_of(name) for name in classes]
    if name_of(label) in names:
        return names.index(name_of(label))
    near = near_names(label, classes)
    raise UsageError(
        f"the model has no class {label!r}" + (f"; near: {', '.join(near)}" if near else ""),
        cure=f"did you mean --label {near[0]}?"
        if near
        else "--label with one of " + ", ".join(classes[:10]) + (", …" * (len(classes) > 10)),
        near=near,
    )


def explain(
    model: Classifier,
    extraction: Extraction,
    *,
    out: str | os.PathLike[str],
    method: str = "auto",
    code: int | None = None,
    top: int = 3,
    listener: Listener = SILENT,
) -> Explanations:
    """A map for every image of an extraction, drawn into a folder.

    Parameters
    ----------
    model : Classifier
    extraction : Extraction
        Of the images, by its engine.
    out : path
        Folder of the pictures and ``maps.json``; made if missing.
    code : int, optional
        The class asked about; the predicted one if not given.
    top : int
        Nearest images of train that are named.
    listener : Listener
        Told of what is built, and of every few maps.

    Raises
    ------
    UsageError
        The model does not allow this method, or the folder cannot be written or holds a file of
        the same name that is no map.
    """
    table, paths = extraction.table, list(extraction.table.paths)
    rejected, skipped = table.as_shown(table.rejected), table.as_shown(table.skipped)
    if not paths:
        return Explanations(str(out), model.folder, method, "", [], rejected, skipped=skipped)
    proba = model.proba_of(extraction.X)
    y = proba.argmax(axis=1) if code is None else np.full(len(paths), code)
    wanted = [one.preprocess for one in model.built().info.networks]
    read = functools.partial(pictures.plain_for_each, preprocesses=wanted)
    few = stacked([read(path) for path in paths[:4]])
    explainer = explainer_for(model, example=few, method=method, say=listener.say)
    near = _nearest(model, extraction, top, listener)

    folder, shown = _made(out), [table.shown(path) for path in paths]
    earlier, files = _drawn_earlier(folder), _file_names(shown)
    _require_free(folder, set(files) - earlier)
    images = [
        {"path": path, "picture": file, **_answer(model.classes, p, int(k)), **_named(neighbours)}
        for path, file, p, k, neighbours in zip(
            shown, files, proba, y, near.neighbours, strict=True
        )
    ]
    with ThreadPoolExecutor(available_cores()) as pool:
        for start in range(0, len(paths), CHUNK):
            listener.progress("maps", start, len(paths))
            chunk = slice(start, start + CHUNK)
            pixels = stacked(list(pool.map(read, paths[chunk])))
            heat = explainer.explain(pixels, y[chunk])
            for at, image in enumerate(images[chunk]):
                image |= {"method": explainer.name, **_numbers(heat, at)}
            draw = functools.partial(_draw, folder)
            list(pool.map(draw, images[chunk], pixels[0], heat.maps))
    _remove(folder, earlier - set(files))
    notes = (near.note,) if top and near.note else ()
    found = Explanations(
        str(folder), model.folder, explainer.name, explainer.why, images, rejected, notes, skipped
    )
    atomic.write_json(folder / NUMBERS, found.to_dict())
    return found


def middle_share(heat: NDArray[np.floating[Any]]) -> float | None:
    """How much of what speaks for the class lies in the middle box; None if nothing does.

    The box is 0.6 of the height and of the width, 0.36 of the area: an even map gives 0.36.

    Examples
    --------
    >>> round(middle_share(np.ones((7, 7))), 6)
    0.36
    >>> middle_share(np.eye(1, 49, 24).reshape(7, 7))  # the place in the middle alone
    1.0
    """
    positive = np.maximum(np.asarray(heat, np.float64), 0)
    if not positive.any():
        return None
    rows, columns = (_part_in_middle(n) for n in positive.shape)
    return float(rows @ positive @ columns / positive.sum())


def _part_in_middle(n: int) -> NDArray[np.float64]:
    """Of each of n cells, how much lies in the middle."""
    low, high = n * (1 - MIDDLE) / 2, n * (1 + MIDDLE) / 2
    cell = np.arange(n)
    return np.asarray(np.clip(np.minimum(cell + 1, high) - np.maximum(cell, low), 0, 1))


def _nearest(
    model: Classifier, extraction: Extraction, k: int, listener: Listener
) -> nearest.Nearest:
    with Store.open(decoder=DECODER_VERSION) as store:
        found = nearest.find(
            model,
            extraction.X,
            extraction.digests,
            store,
            info=extraction.info,
            k=k,
        )
    for sentence in store.report():
        listener.say(sentence)
    return found


def _answer(classes: tuple[str, ...], proba: NDArray[Any], code: int) -> dict[str, Any]:
    """The prediction, and the class that the map speaks of."""
    best = int(proba.argmax())
    return {
        "label": classes[best],
        "probability": round(float(proba[best]), 6),
        "explained": classes[code],
        "explained_probability": round(float(proba[code]), 6),
    }


def _named(neighbours: list[nearest.Neighbour]) -> dict[str, Any]:
    return {"nearest": [{"path": n.path, "similarity": round(n.similarity, 4)} for n in neighbours]}


def _numbers(heat: Heat, at: int) -> dict[str, Any]:
    """The map of one image as JSON, and what belongs to it."""
    own, share = heat.maps[at], middle_share(heat.maps[at])
    height, width = own.shape
    found: dict[str, Any] = {
        "map": {
            "height": height,
            "width": width,
            "values": [[_rounded(value) for value in row] for row in own],
        },
        "in_middle": None if share is None else round(share, 4),
        "in_middle_if_even": EVEN_IN_MIDDLE,
        "says_little": bool(heat.says_little[at]),
    }
    if heat.constant is not None and heat.exact is not None:
        found["evidence"] = _rounded(own.sum(dtype=np.float64) + heat.constant[at])
        found["without_place"] = _rounded(heat.constant[at])
        found["exact_share"] = round(float(heat.exact[at]), 4)
    return found


def _rounded(value: Any) -> float:
    """To five digits, which a picture does not show and a sum does not miss."""
    return float(f"{float(value):.5g}")


def _draw(
    folder: Path, image: dict[str, Any], picture: NDArray[np.uint8], heat: NDArray[np.float32]
) -> None:
    drawn = drawing.pair(picture, heat, _caption(image))
    # Trying harder makes the PNG of a photograph hardly smaller, and takes twice as long.
    drawn.save(folder / image["picture"], compress_level=1)


def _caption(image: dict[str, Any]) -> str:
    predicted = f"{image['label']} {percent(image['probability'])}"
    lines = [f"{predicted} ({image['method']})"]
    if image["explained"] != image["label"]:
        share = percent(image["explained_probability"])
        speaks_for = f"what speaks for {image['explained']} {share} ({image['method']})"
        lines = [speaks_for, f"predicted: {predicted}"]
    return "\n".join([*lines, LITTLE] if image["says_little"] else lines)


def _made(out: str | os.PathLike[str]) -> Path:
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"the folder {str(out)!r} cannot be made: {(error.strerror or str(error)).lower()}",
            cure="choose another with --out",
        ) from error
    return folder


def _drawn_earlier(folder: Path) -> set[str]:
    """The pictures that an earlier call left here, as its own list names them."""
    try:
        images = json.loads((folder / NUMBERS).read_text(encoding="utf-8"))["images"]
        names = {str(image["picture"]) for image in images if "picture" in image}
    except (OSError, ValueError, KeyError, TypeError):
        return set()
    return {name for name in names if name == os.path.basename(name)}


def _require_free(folder: Path, names: Iterable[str]) -> None:
    """Refuse to draw over what is no map of ours: a photograph, say."""
    for name in sorted(names):
        if (folder / name).exists():
            raise UsageError(
                f"{name!r} is in {str(folder)!r} already and is no map; it is not overwritten",
                cure="a folder of its own with --out",
            )


def _remove(folder: Path, names: Iterable[str]) -> None:
    """Maps that the new list does not name: they would be taken for the new model's."""
    for name in names:
        (folder / name).unlink(missing_ok=True)


def _file_names(paths: list[str]) -> list[str]:
    """A PNG for each image, by its own name; equal names are numbered.

    Examples
    --------
    >>> _file_names(["a/ant.jpg", "b/ant.jpeg", "b/bee.jpg"])
    ['ant.png', 'ant-2.png', 'bee.png']
    """
    found: list[str] = []
    taken: set[str] = set()
    for path in paths:
        stem = os.path.splitext(os.path.basename(path))[0]
        plain = _of_at_most("".join(c if c.isprintable() else "_" for c in stem), 200)
        name, number = plain, 1
        while name.casefold() in taken:  # many systems tell no capitals
            number += 1
            name = f"{plain}-{number}"
        taken.add(name.casefold())
        found.append(f"{name}.png")
    return found


def _of_at_most(name: str, n_bytes: int) -> str:
    """The beginning of a name, so that a number and an ending still fit on any disk."""
    return name.encode("utf-8", "replace")[:n_bytes].decode("utf-8", "ignore")
