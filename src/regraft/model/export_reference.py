"""Real pictures, and what the classifier itself says of them: what an export is held against.

They are read, and put to the classifier, while the exported file is still being written: that
keeps one core busy, this the others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from regraft.errors import ArtefactError, DecodeError
from regraft.features.engine import Engine, EngineInfo, run_on_cores
from regraft.features.engines import BuiltEngine
from regraft.images import pictures
from regraft.machine.processor import available_cores
from regraft.model import export_folder
from regraft.model.export_inputs import Input, Pixels, inputs_of, seen_by, stacked
from regraft.model.export_runtimes import Outputs
from regraft.probe.classifier import Classifier
from regraft.wording import printable

# Pictures of a part, and parts that are in hand at once.
AT_ONCE, PARTS = 64, 2
Script = Callable[[str], Pixels]


@dataclass(frozen=True, eq=False)
class RealPictures:
    """What an exported model is held against.

    Attributes
    ----------
    paths : list of N str
        Files that can be opened.
    names : list of N str
        As the user knows them.
    labels : list of N str or None
        What they show, where that is known.
    which : str
        In words, where they come from.
    """

    paths: list[str]
    names: list[str]
    labels: list[str | None]
    which: str

    def __len__(self) -> int:
        return len(self.paths)

    def select(self, rows: list[int]) -> RealPictures:
        """Some of them."""
        paths, names = [self.paths[i] for i in rows], [self.names[i] for i in rows]
        return RealPictures(paths, names, [self.labels[i] for i in rows], self.which)


class Reference:
    """A classifier in fp32, whatever its engine computes in here."""

    def __init__(self, classifier: Classifier) -> None:
        self.classifier, self.built = classifier, classifier.built(device="cpu")
        self.info: EngineInfo = self.built.info
        self._seen = seen_by(self.info)
        self._exact = [_exact_engine(one) for one in self.built.networks]

    @property
    def is_exact_here(self) -> bool:
        """Whether predict computes in fp32 on this machine."""
        return self.info.precision == "fp32"

    def __call__(self, *shown: Pixels) -> Outputs:
        """``(N, H, W, 3)`` uint8 for each input to what the classifier says of them."""
        X = self._run(self._exact, shown)
        proba = self.classifier.proba_of(X).astype(np.float32)
        Z = np.asarray(self.classifier.representation(X), np.float32)
        if self.classifier.unknown is None:
            return Outputs.of([proba, Z])
        odd = self.classifier.unknown.oddness(Z, self.classifier.head.scores(Z))
        return Outputs(proba, Z, odd.astype(np.float32))

    def as_here(self, *shown: Pixels) -> NDArray[np.float64]:
        """The probabilities that predict gives on this machine."""
        here = [one.engine() for one in self.built.networks]
        return self.classifier.proba_of(self._run(here, shown))

    def says(self, *shown: Pixels) -> Said:
        """Both."""
        wanted = self(*shown)
        here = wanted.probabilities if self.is_exact_here else self.as_here(*shown)
        return Said(wanted, here)

    def _run(self, engines: Sequence[Engine], shown: Sequence[Pixels]) -> NDArray[np.float32]:
        parts = [
            run_on_cores(engine, shown[place], batch_size=one.info.batch_size)
            for engine, place, one in zip(engines, self._seen, self.built.networks, strict=True)
        ]
        return np.concatenate(parts, axis=1)


def _exact_engine(built: BuiltEngine) -> Engine:
    if built.info.precision == "fp32":
        return built.engine()
    return replace(built, info=replace(built.info, precision="fp32")).start()


class Said(NamedTuple):
    """What the classifier says of pictures: in fp32, and its probabilities as it computes here."""

    wanted: Outputs
    here: NDArray[Any]

    def of(self, rows: list[int]) -> Said:
        """Of some of them."""
        return Said(Outputs(*(values[rows] for values in self.wanted)), self.here[rows])


@dataclass(frozen=True, eq=False)
class Part:
    """Some of the pictures, n of which could be read.

    Attributes
    ----------
    done : int
        Pictures that were gone through, with this part.
    rows : list of n int
        Places of those that could be read.
    own : tuple of (n, H, W, 3) uint8
        Pixels for each input.
    theirs, resized : dict
        From a place among these n to the scripts' pixels, where these are others; and to ours as
        Pillow resizes them.
    grey, by_pillow, here
        As in `Seen`.
    wanted : Outputs
    """

    done: int
    rows: list[int]
    own: tuple[Pixels, ...]
    theirs: dict[int, list[Pixels]]
    resized: dict[int, list[Pixels]]
    grey: NDArray[np.float64]
    by_pillow: NDArray[np.float64]
    wanted: Outputs
    here: NDArray[Any]


class ReadAhead:
    """Pictures that are read and put to the classifier aside, a few parts ahead of who asks.

    Parameters
    ----------
    folder : Path
        Of the export, with its scripts.
    reference : Reference
    real : RealPictures
    known : Said, optional
        What the reference has said of just these pictures already.
    """

    def __init__(
        self, folder: Path, reference: Reference, real: RealPictures, known: Said | None = None
    ) -> None:
        self._known = known
        self.reference, self.real, self._inputs = reference, real, inputs_of(reference.info)
        self._scripts = [_script(folder, one) for one in self._inputs]
        self._aside = ThreadPoolExecutor(1)
        self._starts = iter(range(0, len(real), AT_ONCE))
        self._coming: deque[Future[Part]] = deque()
        for _ in range(PARTS):
            self._begin_next()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._aside.shutdown(cancel_futures=True)

    def __iter__(self) -> Iterator[Part]:
        while self._coming:
            part = self._coming.popleft().result()
            self._begin_next()
            yield part

    def _begin_next(self) -> None:
        if (start := next(self._starts, None)) is not None:
            self._coming.append(self._aside.submit(self._part, start))

    def _part(self, start: int) -> Part:
        paths = self.real.paths[start : start + AT_ONCE]
        some = list(_read(paths, self._inputs, self._scripts))
        rows = [start + place for place, picture in enumerate(some) if picture is not None]
        return self._shown(start + len(some), rows, [p for p in some if p is not None])

    def _shown(self, done: int, rows: list[int], read: list[_Picture]) -> Part:
        nothing = Outputs.of([np.zeros((0, 0), np.float32)] * 2)
        if not read:
            return Part(done, rows, (), {}, {}, np.zeros(0), np.zeros(0), nothing, np.zeros(0))
        own = stacked(picture.own for picture in read)
        grey = np.array([_grey_levels(picture.theirs, picture.own) for picture in read])
        by_pillow = np.array([_grey_levels(picture.theirs, picture.by_pillow) for picture in read])
        theirs = {
            row: picture.theirs
            for row, picture in enumerate(read)
            if picture.theirs is not None and grey[row] > 0
        }
        resized = {row: read[row].by_pillow for row in theirs}
        said = self._known.of(rows) if self._known else self.reference.says(*own)
        return Part(done, rows, own, theirs, resized, grey, by_pillow, *said)


class _Picture(NamedTuple):
    """A picture for each input: ours, ours with Pillow's resize, and by the scripts, if at all."""

    own: list[Pixels]
    by_pillow: list[Pixels]
    theirs: list[Pixels] | None


def _read(
    paths: list[str], inputs: Sequence[Input], theirs: Sequence[Script]
) -> Iterator[_Picture | None]:
    """Pictures in all three ways; None for one that we do not read."""

    def read(path: str) -> _Picture | None:
        try:
            own, by_pillow = _ours(path, inputs)
        except DecodeError:
            return None
        try:
            return _Picture(own, by_pillow, [script(path) for script in theirs])
        except ValueError:
            return _Picture(own, by_pillow, None)

    with ThreadPoolExecutor(available_cores()) as pool:
        yield from pool.map(read, paths)


def _ours(path: str, inputs: Sequence[Input]) -> tuple[list[Pixels], list[Pixels]]:
    content = pictures.content_of(path)
    seen = [(one.preprocess, pictures.decoded_for(content, one.preprocess)) for one in inputs]
    return (
        [own(decoded.pixels) for own, decoded in seen],
        [own(decoded.pixels, always_pillow=True) for own, decoded in seen],
    )


def _script(folder: Path, wanted: Input) -> Script:
    """The function of a script, its tensors as the model takes them or refused."""
    theirs = export_folder.preprocess_in(folder, wanted.script)

    def checked(path: str) -> Pixels:
        found = np.asarray(theirs(path))
        if found.shape != (*wanted.size, 3) or found.dtype != np.uint8:
            raise ArtefactError(
                f"{wanted.script} gives {found.dtype} {found.shape}, the model takes "
                f"uint8 {(*wanted.size, 3)}",
                place=printable(path),
                image=path,
            )
        return found

    return checked


def _grey_levels(theirs: list[Pixels] | None, own: list[Pixels]) -> float:
    """Of the input where they differ most."""
    if theirs is None:
        return float("nan")
    return max(
        float(np.abs(a.astype(np.int16) - b.astype(np.int16)).mean())
        for a, b in zip(theirs, own, strict=True)
    )


def pixels_of(paths: Sequence[str], inputs: Sequence[Input], most: int) -> tuple[Pixels, ...]:
    """For each input ``(n, H, W, 3)`` of at most so many of these files, spread over them, that can
    be read."""
    found = [pictures.sample(paths, most)(one.preprocess) for one in inputs]
    return tuple(np.reshape(rows, (-1, *one.size, 3)).astype(np.uint8)
                 for rows, one in zip(found, inputs, strict=True))  # fmt: skip
