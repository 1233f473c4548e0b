"""`Classifier`: what every method gives, what is saved and loaded, and what answers.

A network's engine, a representation of its features, a head on that, a temperature, the classes.
It is warm: the engine is found or built when the first picture comes, started once, and shared by
all threads that ask. Nothing is written to disk.

Array letters: N images, D0 features as an engine gives them, D represented features, K classes.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.backbones.catalog import Source
from regraft.data.table import Rejected
from regraft.errors import BackboneError, DataError, DecodeError
from regraft.evaluation.calibration import softmax
from regraft.features import engines
from regraft.features.engine import EngineInfo, Sample, difference
from regraft.features.engines import BuiltEngine
from regraft.images import pictures
from regraft.images.pictures import Picture
from regraft.machine.processor import available_cores
from regraft.probe.base import Floats, Head
from regraft.probe.representation import Representation

# Pictures that are in hand at once: memory does not grow with how many are asked about.
PICTURES_AT_ONCE = 256
# Rows of features that are represented at once.
ROWS_AT_ONCE = 8192


@dataclass(frozen=True, eq=False)
class Learnt:
    """What a method found out while it learnt; nothing here is needed to answer.

    Attributes
    ----------
    candidates : list of Candidate
        The measured choice of taps; empty if they were given.
    strength : float or None
    curve : list of dict
        Left-out loss and accuracy for every strength.
    chosen_by : str
        How the taps were chosen.
    oof_rows, oof_proba : (n,) int, (n, K)
        Which of the images it learnt from were left out, and the probabilities that a fit without
        them gave them.
    seconds : dict
    training : dict or None
        Of the methods that learn by gradients: what was chosen by what, frozen, moved.
    probe : Classifier or None
        The probe on the network as it was, where a method began from one.
    probe_rows : (n,) int or None
        The rows of the extraction that this probe learnt from.
    """

    candidates: list[Any] = field(default_factory=list)
    strength: float | None = None
    curve: list[dict[str, float]] = field(default_factory=list)
    chosen_by: str = "given"
    oof_rows: NDArray[np.intp] = field(default_factory=lambda: np.zeros(0, np.intp))
    oof_proba: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    seconds: dict[str, float] = field(default_factory=dict)
    training: Mapping[str, Any] | None = None
    probe: Classifier | None = None
    probe_rows: NDArray[np.intp] | None = None


@dataclass(eq=False)
class Classifier:
    """Pictures in, probabilities out.

    Attributes
    ----------
    classes : tuple of K str
        In the order of the columns of :meth:`predict_proba`.
    representation : Representation
    head : Head
    temperature : float
        Softmax of scores / temperature is calibrated.
    info : EngineInfo or None
        The network as it was in training: weights digest, preprocessing, taps. None for a
        classifier of features alone, which takes no pictures.
    source : Source or None
        Where the network's engine is found or built.
    method : str
        What taught it.
    learnt : Learnt or None
        What was found out on the way; None for a saved model.
    card : dict
        What is kept beside the model: its score, where it was learnt and from which images.
    folder : str
        Where it was loaded from; empty if it was not.

    Examples
    --------
    ::

        model = regraft.load("runs/photos-probe-1a2b3c/model")
        model.predict("new.jpg")                      # array(['ants'], dtype='<U4')
        model.predict_proba([open("1.png", "rb"), array, pil_image])
    """

    classes: tuple[str, ...]
    representation: Representation
    head: Head
    temperature: float = 1.0
    info: EngineInfo | None = None
    source: Source | None = None
    method: str = "probe"
    learnt: Learnt | None = field(default=None, repr=False)
    card: dict[str, Any] = field(default_factory=dict, repr=False)
    folder: str = ""
    _built: BuiltEngine | None = field(default=None, repr=False)
    _lock: Any = field(default_factory=threading.Lock, init=False, repr=False)

    def on(self, built: BuiltEngine) -> Classifier:
        """The same on an engine that is at hand."""
        return replace(self, info=built.info, source=built.source, _built=built)

    def predict_proba(self, images: Picture | Iterable[Picture]) -> NDArray[np.float64]:
        """Calibrated probabilities of one picture or many.

        Parameters
        ----------
        images : picture, or iterable of N
            A path, bytes, a binary file, a PIL image, an array (H, W), (H, W, 1), (H, W, 3) or
            (H, W, 4), uint8 or float in [0, 1]; or a list, an array or a generator of these.

        Returns
        -------
        (N, K) float64
            A row for each picture, in their order; N is 1 for a single one.

        Raises
        ------
        DataError
            Pictures cannot be read; ``error.rejected`` names all of them.
        TypeError, ValueError
            It is nothing that can be a picture.
        """
        coming = pictures.one_or_many(images)
        parts, n_seen = [np.zeros((0, len(self.classes)))], 0
        rejected: list[Rejected] = []
        while chunk := list(itertools.islice(coming, PICTURES_AT_ONCE)):
            rows = self._features(chunk, n_seen, rejected)
            parts += [] if rejected else [self.proba_of(rows)]
            n_seen += len(chunk)
        if rejected:
            raise unreadable(rejected, n_seen)
        return np.concatenate(parts)

    def predict(self, images: Picture | Iterable[Picture]) -> NDArray[np.str_]:
        """The most probable class of each picture, ``(N,)``; takes what `predict_proba` takes."""
        best = self.predict_proba(images).argmax(axis=1)
        return np.asarray(np.array(self.classes)[best], np.str_)

    def proba_of(self, X: Floats) -> NDArray[np.float64]:
        """``(N, D0)`` features as the engine gives them to ``(N, K)`` probabilities.

        Some thousand rows at a time, so `X` may be mapped from disk.
        """
        if self.info is not None and (X.ndim != 2 or X.shape[1] != self.info.n_features):
            raise ValueError(
                f"expected rows of {self.info.n_features} features, got an array of {X.shape}"
            )
        parts = [
            softmax(
                self.head.scores(self.representation(X[start : start + ROWS_AT_ONCE])).astype(
                    np.float64
                ),
                temperature=self.temperature,
            )
            for start in range(0, len(X), ROWS_AT_ONCE)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.classes)))

    def built(
        self,
        *,
        sample: Sample | None = None,
        device: str = "auto",
        offline: bool = False,
        say: Callable[[str], None] = lambda text: None,
    ) -> BuiltEngine:
        """The engine of the network, found or built at the first call; see `engines.locate`."""
        with self._lock:
            if self._built is None:
                if self.source is None:
                    raise BackboneError("this classifier is one of features; it sees no pictures")
                self._built = engines.locate(
                    self.source, sample=sample, device=device, offline=offline, say=say
                )
                if self.info and (words := difference(self.info, self._built.info)):
                    say(words)
            return self._built

    def _features(
        self, chunk: list[Picture], n_before: int, rejected: list[Rejected]
    ) -> NDArray[np.float32]:
        """``(n, D0)`` of the pictures of a chunk, every core taking the next; none if one fails."""
        built = self.built(sample=pictures.sample(chunk))
        engine, size = built.engine(), built.info.batch_size

        def read(place: int) -> NDArray[np.uint8] | None:
            try:
                return pictures.plain(chunk[place], built.info.preprocess)
            except DecodeError as error:
                name = pictures.called(chunk[place], n_before + place)
                rejected.append(Rejected(name, error.rule, error.cure))
                return None

        def run(start: int) -> NDArray[np.float32] | None:
            seen = [read(place) for place in range(start, min(start + size, len(chunk)))]
            whole = [pixels for pixels in seen if pixels is not None]
            is_wanted = not rejected and len(whole) == len(seen)
            return engine.run(np.stack(whole)) if is_wanted else None

        starts = range(0, len(chunk), size)
        if len(starts) == 1:
            rows = [run(0)]
        else:
            with ThreadPoolExecutor(min(len(starts), available_cores())) as pool:
                rows = list(pool.map(run, starts))
        whole = [row for row in rows if row is not None]
        return np.concatenate(whole) if whole else np.zeros((0, built.info.n_features), np.float32)

    def __getstate__(self) -> dict[str, Any]:
        """For pickle: without the lock, which cannot travel."""
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.Lock())


def unreadable(rejected: Sequence[Rejected], n_images: int) -> DataError:
    """The refusal of pictures that cannot be read, where rows must stay in line."""
    rejected = sorted(rejected)
    first = "; ".join(f"{bad.path}: {bad.reason}" for bad in rejected[:5])
    mend = rejected[0].mend or "leave them out"
    is_path = not rejected[0].path.startswith("image ")
    if is_path and not os.path.lexists(rejected[0].path):
        mend = f"give paths that exist; relative ones begin at {os.getcwd()!r}"
    return DataError(
        f"{len(rejected)} of {n_images} images cannot be read: {first}",
        cure=mend,
        rejected=tuple(rejected),
    )
