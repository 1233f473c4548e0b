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
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.backbones.catalog import Source
from regraft.data.known_classes import check_known_classes
from regraft.data.labels import LabelType, check_same_kind, codes_of, groups_of, labels_of
from regraft.data.table import Rejected, quoted
from regraft.errors import BackboneError, DecodeError, UsageError
from regraft.evaluation import Estimate, Evaluation, blocks, evaluate
from regraft.evaluation.calibration import softmax
from regraft.features import carried, side_by_side
from regraft.features.engine import EngineInfo, Sample, difference
from regraft.features.engines import BuiltEngine
from regraft.images import pictures, several
from regraft.images.pictures import Picture
from regraft.machine import blas
from regraft.machine.processor import available_cores
from regraft.probe.answers import Answers, unreadable
from regraft.probe.base import Floats, Head
from regraft.probe.doubts import EVERY, Doubts, Levels, Limits
from regraft.probe.judging import Judged
from regraft.probe.representation import Representation
from regraft.probe.unknown import Landed, Unknown

# Pictures that are in hand at once: memory does not grow with how many are asked about.
PICTURES_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class Learnt:
    """What a method found out while it learnt; nothing here is needed to answer.

    Attributes
    ----------
    candidates : list of Candidate
        The measured choice of taps and head; empty if they were given.
    head : str
        Which head; 'pool' for several as one.
    strength : float or None
    curve : list of dict
        Left-out loss and accuracy for every strength.
    chosen_by : str
        How the taps and the head were chosen.
    oof_rows, oof_proba : (n,) int, (n, K)
        Which of the images it learnt from were left out, and the probabilities that a fit without
        them gave them.
    oof_scores : (n, K) or None
        The scores behind these, of the methods that learn by gradients.
    judged : Judged or None
        How many images judged the settings, and which classes could not be judged.
    seconds : dict
    training : dict or None
        Of the methods that learn by gradients: what was chosen by what, frozen, moved.
    probe : Classifier or None
        The probe on the network as it was, where a method began from one.
    probe_rows : (n,) int or None
        The rows of the extraction that this probe learnt from.
    landed : Landed or None
        What leaving each class out as the unknown needs.
    """

    candidates: list[Any] = field(default_factory=list)
    head: str = ""
    strength: float | None = None
    curve: list[dict[str, float]] = field(default_factory=list)
    chosen_by: str = "given"
    oof_rows: NDArray[np.intp] = field(default_factory=lambda: np.zeros(0, np.intp))
    oof_proba: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    oof_scores: Floats | None = None
    judged: Judged | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    training: Mapping[str, Any] | None = None
    probe: Classifier | None = None
    probe_rows: NDArray[np.intp] | None = None
    landed: Landed | None = None


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
    label_type : LabelType
        Of what kind the labels are whose text the classes are.
    unknown : Unknown or None
        What it needs for sets of answers and for "none of these"; None for a model that was saved
        before there was such a thing.

    Examples
    --------
    >>> import regraft
    >>> from PIL import Image
    >>> model, file = regraft.load("model"), "photos/test/discs/discs_test_000.jpg"
    >>> model.predict(file).shape, model.predict_proba([file, Image.open(file)]).shape
    ((1,), (2, 2))
    >>> 0 <= model.test_score.low <= model.test_score.value <= 1
    True
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
    label_type: LabelType = field(default_factory=LabelType, repr=False)
    unknown: Unknown | None = field(default=None, repr=False)
    _built: BuiltEngine | None = field(default=None, repr=False)
    _tensors: bytes | None = field(default=None, repr=False)
    _lock: Any = field(default_factory=threading.Lock, init=False, repr=False)

    def __repr__(self) -> str:
        network = self.source.name if self.source else "features"
        return f"<Classifier of {quoted(self.classes)}: {self.method} on {network}>"

    def on(self, built: BuiltEngine) -> Classifier:
        """The same on an engine that is at hand."""
        return replace(self, info=built.info, source=built.source, _built=built)

    @property
    def labels(self) -> NDArray[Any]:
        """The classes as values of the kind that was taught, ``(K,)``: integers, booleans, ..."""
        return self.label_type.values(self.classes)

    @property
    def classes_(self) -> NDArray[Any]:
        """`labels`, by scikit-learn's name: what `predict` answers with, in the order of the
        columns of `predict_proba`. (``classes`` are their names, as on disk and on screen.)"""
        return self.labels

    @property
    def test_score(self) -> Estimate | None:
        """The accuracy on the images that were kept apart, with its interval.

        None where no test came with the teaching, as after `ImageClassifier.fit`: `evaluate` it.
        """
        kept = self.card.get("accuracy")
        names = ("value", "low", "high", "level")
        if not isinstance(kept, Mapping) or any(kept.get(name) is None for name in names):
            return None
        return Estimate(**{name: kept[name] for name in names})

    def predict(self, images: Picture | Iterable[Picture]) -> NDArray[Any]:
        """The most probable label of each picture, ``(N,)``; takes what `predict_proba` takes.

        Labels are values of the kind that was taught, also after saving and loading.
        """
        best: NDArray[Any] = self.labels[self.predict_proba(images).argmax(axis=1)]
        return best

    def predict_proba(self, images: Picture | Iterable[Picture]) -> NDArray[np.float64]:
        """Calibrated probabilities of one picture or many.

        Parameters
        ----------
        images : picture, or iterable of N
            A path, bytes, a binary file, a PIL image, an array or a tensor (H, W), (H, W, 1),
            (H, W, 3) or (H, W, 4), uint8 or float in [0, 1]; or a list, an array, a column or a
            generator of these.

        Returns
        -------
        (N, K) float64
            A row for each picture, in their order; N is 1 for a single one.

        Raises
        ------
        DataError
            Pictures cannot be read; ``error.rejected`` names all of them, ``error.rows`` says
            where they stand. `answer` gives a row for these too.
        TypeError, ValueError
            It is nothing that can be a picture.
        """
        return self._whole(images, Levels()).proba

    def answer(
        self,
        images: Picture | Iterable[Picture],
        *,
        coverage: float | str | None = None,
        reject: float | str | None = None,
        precision: float | str | None = None,
        per_class: bool = False,
    ) -> Answers:
        """Labels and probabilities, and which pictures cannot be read and why.

        Takes what `predict_proba` takes. What is no picture at all is a TypeError or ValueError
        here too.

        Parameters
        ----------
        images : as in `predict_proba`
        coverage : float or text, optional
            '95%': each answer has a set of classes, which holds the right one so often.
        reject : float or text, optional
            '2%': up to so many of one's own images may be called none of the classes.
        precision : float or text, optional
            '99%': answers that may stand alone are those of which so many are right.
        per_class : bool
            Whether `coverage` is to hold in every class.

        Raises
        ------
        UsageError
            A level outside (0, 1), one that too few images calibrate, or a model that was saved
            before there was such a thing.

        Examples
        --------
        >>> import regraft
        >>> found = regraft.load("model").answer(["photos/test/discs/discs_test_000.jpg", b""])
        >>> found.is_read
        array([ True, False])
        >>> found.labels[1], found.rejected[0].path, found.rejected[0].reason
        (None, 'image 2 (bytes)', 'the file is empty (0 bytes)')
        """
        levels = Levels.of(
            coverage=coverage, reject=reject, precision=precision, per_class=per_class
        )
        return self._asked(images, computes_rest=True, levels=levels)

    def predict_set(
        self,
        images: Picture | Iterable[Picture],
        *,
        coverage: float | str = 0.95,
        per_class: bool = False,
    ) -> list[NDArray[Any]]:
        """The labels that each picture may have: a list of N arrays, the most probable first.

        Of new pictures like those of the training, a share of about `coverage` has its own label in
        its set; what that means, and what not, stands in docs/unknown.md. A set may be empty: no
        label is probable enough. That does not say "unknown", which `typical` answers.

        Parameters
        ----------
        images : as in `predict_proba`
        coverage : float or text
            0.95 or '95%'.
        per_class : bool
            Whether it is to hold in every class, not on the whole.

        Raises
        ------
        UsageError, DataError, TypeError, ValueError
            As `answer` and `predict_proba`.

        Examples
        --------
        >>> import regraft
        >>> found = regraft.load("model").predict_set("photos/test/discs/discs_test_000.jpg",
        ...     coverage=0.5)
        >>> len(found)
        1
        """
        levels = Levels.of(coverage=coverage, per_class=per_class)
        found = self._whole(images, levels)
        if found.doubts.sets is None:  # of no picture
            return []
        order = np.argsort(-found.proba, axis=1, kind="stable")
        return [
            self.labels[places[chosen[places]]]
            for places, chosen in zip(order, found.doubts.sets, strict=True)
        ]

    def typical(self, images: Picture | Iterable[Picture]) -> NDArray[np.float64]:
        """How like the training images each picture is, ``(N,)``: a p-value.

        The share of images that did not teach that are less like the training images than this
        one. Of one's own kind of pictures, a share of at most a lies at a or below, for every a:
        ``typical(images) <= 0.02`` turns away about 2 % of them.

        Raises
        ------
        UsageError, DataError, TypeError, ValueError
            As `answer` and `predict_proba`.

        Examples
        --------
        >>> import regraft
        >>> found = regraft.load("model").typical("photos/test/discs/discs_test_000.jpg")
        >>> bool(0 < found[0] <= 1)
        True
        """
        typical = self._whole(images, EVERY).doubts.typical
        return np.zeros(0) if typical is None else np.asarray(typical, np.float64)

    def evaluate(
        self, images: Picture | Iterable[Picture], y: Any = None, *, groups: Any = None
    ) -> Evaluation:
        """How good the answers to labelled pictures are: every metric, with its interval.

        Parameters
        ----------
        images : as in `predict_proba`
            Pictures that the classifier has not learnt from.
        y : N labels
            Of the kind that was taught.
        groups : N values, optional
            Pictures of one group count as one (ten photographs of one plant).

        Raises
        ------
        TableError
            A label that is none of the classes.
        DataError, TypeError, ValueError
            As `predict_proba`; or y is no column of N such labels.

        Examples
        --------
        >>> from pathlib import Path
        >>> import regraft
        >>> paths = sorted(Path("photos/test").rglob("*.jpg"))
        >>> y = [path.parent.name for path in paths]
        >>> accuracy = regraft.load("model").evaluate(paths, y).accuracy
        >>> 0 <= accuracy.low <= accuracy.value <= accuracy.high <= 1
        True
        """
        if y is None:
            raise TypeError(
                "evaluate needs the pictures and their labels, y; of a folder or a table, whose "
                "labels are known: regraft.evaluate_model(model, 'photos')"
            )
        asked = list(several.named(images))
        truth, units = labels_of(y, n_rows=len(asked)), groups_of(groups, n_rows=len(asked))
        if not asked:
            raise ValueError("there are no images to evaluate; give some, and their labels")
        codes = codes_of(truth, self.labels)
        strange = truth[codes < 0]
        check_known_classes(LabelType.of(truth).texts(strange), self.classes, place="y")
        return evaluate(
            codes, self.predict_proba(asked), classes=self.classes, split="given", groups=units
        )

    def score(
        self, images: Picture | Iterable[Picture], y: Any, sample_weight: Any = None
    ) -> float:
        """The share of right answers; a label that was never taught counts as a wrong answer.

        Labels of another kind than those that were taught are refused. `evaluate` gives the share
        with its interval.
        """
        asked = list(several.named(images))
        truth = labels_of(y, n_rows=len(asked))
        if not asked:
            raise ValueError("there are no images to score; give some, and their labels")
        check_same_kind(truth, self.labels)
        return float(np.average(self.predict(asked) == truth, weights=sample_weight))

    def explain(
        self,
        images: Picture | Iterable[Picture],
        *,
        label: Any = None,
        method: str = "auto",
    ) -> Any:
        """Where it looks: a map for every picture, as an `Explained`.

        See :func:`regraft.explain_images`, which this is.
        """
        import regraft  # what explains stands above this room

        return regraft.explain_images(self, images, label=label, method=method)

    def export(self, out: str | os.PathLike[str], *, to: str = "onnx", **options: Any) -> Any:
        """Write it for another runtime, compared there before the folder appears.

        See :func:`regraft.export_model`, which this is. A classifier that lies in no run needs
        ``data=``, some real images to compare on.
        """
        import regraft  # what knows a run's images stands above this room

        return regraft.export_model(self, out, to=to, **options)

    def proba_of(self, X: Floats) -> NDArray[np.float64]:
        """``(N, D0)`` features as the engine gives them to ``(N, K)`` probabilities.

        Some thousand rows at a time, so `X` may be mapped from disk; so are probabilities of many
        rows and classes (:mod:`regraft.evaluation.blocks`).
        """
        return self.answers_of(X)[0]

    def answers_of(
        self, X: Floats, levels: Levels | None = None
    ) -> tuple[NDArray[np.float64], Doubts]:
        """As `proba_of`, and what was asked for beside.

        Raises
        ------
        UsageError
            A level that too few images calibrate, or a model that knows none.
        """
        if self.info is not None and (X.ndim != 2 or X.shape[1] != self.info.n_features):
            raise ValueError(
                f"expected rows of {self.info.n_features} features, got an array of {X.shape}"
            )
        levels = Levels() if levels is None else levels
        self.require(levels)
        proba = blocks.matrix((len(X), len(self.classes)), np.float64)
        parts = []
        for rows, Z, scores in self.scored(X):
            proba[rows] = softmax(scores.astype(np.float64), temperature=self.temperature)
            if levels.is_asked:
                assert self.unknown is not None
                parts.append(Doubts.of(self.unknown, levels.without_sets, Z, scores, proba[rows]))
        doubts = Doubts.joined(parts)
        return proba, doubts.with_sets(self.unknown, levels, proba) if parts else doubts

    def scored(self, X: Floats) -> Iterator[tuple[slice, Floats, Floats]]:
        """Features as the engine gives them, some thousand rows at a time: which rows, ``(n, D)``
        represented, and their ``(n, K)`` scores."""
        for rows in blocks.rows_to_make(len(X), len(self.classes)):
            Z = self.representation(X[rows])
            yield rows, Z, self.head.scores(Z)

    def require(self, levels: Levels) -> None:
        """UsageError, before any work, for levels that this model cannot give.

        Examples
        --------
        >>> import regraft
        >>> from regraft.probe.doubts import Levels
        >>> regraft.load("model").require(Levels(reject=0.5))
        """
        if not levels.is_asked:
            return
        if self.unknown is None:
            raise UsageError(
                "this model does not know what it does not know: it was saved without what "
                "coverage, reject and precision need",
                place=self.folder,
                cure=f"regraft calibrate {self.folder or 'MODEL'} DATA, or train it again",
            )
        Limits.of(self.unknown, levels, len(self.classes))

    def built(
        self,
        *,
        sample: Sample | None = None,
        device: str = "auto",
        offline: bool = False,
        say: Callable[[str], None] = lambda text: None,
    ) -> BuiltEngine:
        """The engine of the network, found or built at the first call; see
        `side_by_side.locate`."""
        with self._lock:
            if self._built is None:
                if self.source is None or self.info is None:
                    raise BackboneError("this classifier is one of features; it sees no pictures")
                if self._tensors is not None:
                    self._built = carried.locate(
                        self._tensors, self.source, self.info, sample=sample, device=device, say=say
                    )
                else:
                    self._built = side_by_side.locate(
                        self.source, sample=sample, device=device, offline=offline, say=say
                    )
                if words := difference(self.info, self._built.info):
                    say(words)
            return self._built

    def _whole(self, images: Picture | Iterable[Picture], levels: Levels) -> Answers:
        """The answers, where every picture must be readable."""
        found = self._asked(images, computes_rest=False, levels=levels)
        if found.rejected:
            raise unreadable(found.rejected, found.names)
        return found

    @blas.one_thread  # others would wait for a single picture's products longer than these take
    def _asked(
        self, images: Picture | Iterable[Picture], *, computes_rest: bool, levels: Levels
    ) -> Answers:
        """The answers, in chunks; after a picture that cannot be read, the rest need not be."""
        self.require(levels)
        coming = several.named(images)
        names: list[str] = []
        rejected: list[Rejected] = []
        parts, doubts = [np.zeros((0, len(self.classes)))], []
        while chunk := list(itertools.islice(coming, PICTURES_AT_ONCE)):
            names += map(str, chunk)
            features, bad = self._features(chunk, computes=computes_rest or not rejected)
            rejected += bad.values()
            is_read = np.array([row not in bad for row in range(len(chunk))])
            proba, doubted = np.full((len(chunk), len(self.classes)), np.nan), Doubts()
            if len(features):
                proba[is_read], doubted = self.answers_of(features, levels)
            parts.append(proba)
            if len(features):
                doubts.append(doubted.spread(is_read))
            else:
                doubts.append(Doubts.nothing(levels, *proba.shape))
        return Answers(
            names, np.concatenate(parts), self.labels, tuple(rejected), Doubts.joined(doubts)
        )

    def _features(
        self, chunk: list[str], *, computes: bool
    ) -> tuple[NDArray[np.float32], dict[int, Rejected]]:
        """``(n, D0)`` of those of a chunk that can be read, every core taking the next.

        The others by their places. Unless it `computes`, pictures are only read.
        """
        built = self.built(sample=pictures.sample(chunk))
        size, preprocesses = built.info.batch_size, [n.info.preprocess for n in built.networks]
        bad: dict[int, Rejected] = {}

        def read(place: int) -> list[NDArray[np.uint8]] | None:
            try:
                return pictures.plain_for_each(chunk[place], preprocesses)
            except DecodeError as error:
                bad[place] = Rejected(str(chunk[place]), error.rule, error.cure)
                return None

        def run(start: int) -> NDArray[np.float32] | None:
            seen = [read(place) for place in range(start, min(start + size, len(chunk)))]
            whole = [pixels for pixels in seen if pixels is not None]
            return built.run(whole) if computes and whole else None

        starts = range(0, len(chunk), size)
        if len(starts) == 1:
            rows = [run(0)]
        else:
            with ThreadPoolExecutor(min(len(starts), available_cores())) as pool:
                rows = list(pool.map(run, starts))
        whole = [row for row in rows if row is not None]
        none = np.zeros((0, built.info.n_features), np.float32)
        return np.concatenate([none, *whole]), dict(sorted(bad.items()))

    def __getstate__(self) -> dict[str, Any]:
        """For pickle: without the lock, which cannot travel, and with what the cache alone has."""
        state = {name: value for name, value in vars(self).items() if name != "_lock"}
        return {**state, "_tensors": self._tensors or carried.tensors_of(self._built)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.Lock())
        if carried.is_here(self._built):
            self._tensors = None
        else:
            self._built = None
