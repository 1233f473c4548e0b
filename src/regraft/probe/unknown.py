"""`Unknown`: what a classifier needs to say "none of these", and which of its classes it may be.

Two questions, kept apart. *Is it like anything that was learnt?* How odd a picture is (its distance
from what was learnt, and how low its best score is) becomes a p-value by what images said that did
not teach. *Which of the classes is it?* Its set holds every class whose probability is not lower
than that of nearly all such images for their own. Levels are chosen when asking; what is kept
serves all.

Array letters: N images, n that calibrate, D represented features, K classes, M landmarks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.errors import DataError
from regraft.evaluation import blocks, conformal
from regraft.evaluation.calibration import fit_temperature, softmax
from regraft.evaluation.levels import fewest_all_right, fewest_for, too_few
from regraft.probe.base import Codes, Floats, Tensors
from regraft.probe.distance import Distance, Landmarks, most_landmarks
from regraft.probe.representation import Representation

# What a model promises of its sets, by what calibrated them (docs/unknown.md).
SPLIT, LEFT_OUT, NONE = "1 - alpha", "1 - 2 alpha", "none"
# The images that a probe is calibrated on as it is fitted.
LEFT_OUT_TRAIN = "left-out train"
# Besides the landmarks, so many images are asked how odd they are.
MOST_ASKED = 2_048


@dataclass(frozen=True, eq=False)
class Calibrating:
    """What the classifier said of n images that did not teach it.

    Attributes
    ----------
    p_true : (n,) float64
        The probability of their own class.
    p_best : (n,) float64
        The probability of the class that they were called.
    is_right : (n,) bool
    codes : (n,) int32
    units : (n,) int32
        Those of one number (copies, a group) share one vote.
    """

    p_true: Floats
    p_best: Floats
    is_right: NDArray[np.bool_]
    codes: NDArray[np.int32]
    units: NDArray[np.int32]

    @classmethod
    def of(cls, proba: Floats, y: Codes, units: Codes) -> Calibrating:
        """Of ``(n, K)`` probabilities."""
        n = len(y)
        numbered = np.unique(units, return_inverse=True)[1] if n else np.zeros(0)
        return cls(
            blocks.own(proba, y).astype(np.float64) if n else np.zeros(0),
            blocks.sureness(proba).astype(np.float64) if n else np.zeros(0),
            (blocks.called(proba) == y) if n else np.zeros(0, bool),
            np.asarray(y, np.int32),
            numbered.astype(np.int32),
        )

    def __len__(self) -> int:
        return len(self.p_true)

    @property
    def n_units(self) -> int:
        """Copies and groups counted as one."""
        return len(np.unique(self.units))

    def of_class(self, code: int) -> Calibrating:
        """Those of one class."""
        rows = self.codes == code
        columns = (self.p_true, self.p_best, self.is_right, self.codes, self.units)
        return Calibrating(*(column[rows] for column in columns))

    def threshold(self, coverage: float) -> float:
        """See `conformal.threshold`."""
        return conformal.threshold(self.p_true, coverage, conformal.weights_of(self.units))

    def surest(self, precision: float) -> float | None:
        """See `conformal.surest`; one image speaks for each unit."""
        first = np.unique(self.units, return_index=True)[1]
        return conformal.surest(self.p_best[first], self.is_right[first], precision)


@dataclass(frozen=True, eq=False)
class Unknown:
    """The distance, and what images that did not teach said, for any level.

    Attributes
    ----------
    distance : Distance
    weights : (2,) float64
        Of the log distance and of the highest score in how odd an image is.
    calibrating : Calibrating
        For the sets.
    odd, odd_units : (m,) float64, (m,) int32
        How odd images were that did not teach.
    which : str
        Who they are: 'left-out train', 'val', 'held-out train', ...
    guarantee : {'1 - alpha', '1 - 2 alpha', 'none'}
        Of the sets, where images are exchangeable.
    """

    distance: Distance
    weights: Floats
    calibrating: Calibrating
    odd: Floats
    odd_units: NDArray[np.int32]
    which: str
    guarantee: str = NONE

    def oddness(self, Z: Floats, scores: Floats) -> Floats:
        """``(N,)`` how odd images are, of ``(N, D)`` features and ``(N, K)`` scores of the head."""
        by_distance, by_score = self.weights
        top = scores.max(axis=1).astype(np.float64)
        found: Floats = by_distance * self.distance.log(Z) - by_score * top
        return found

    def typical(self, Z: Floats, scores: Floats) -> Floats:
        """``(N,)`` p-values: the share of images that did not teach that are as odd or odder.

        Raises
        ------
        DataError
            A feature is not finite.
        """
        odd = self.oddness(Z, scores)
        if not np.isfinite(odd).all():
            bad = np.flatnonzero(~np.isfinite(odd))
            raise DataError(
                f"features of {len(bad)} of {len(odd)} images are not finite, first of image "
                f"{bad[0] + 1}",
                cure="regraft cache verify",
                rows=bad.tolist(),
            )
        return conformal.p_values(odd, self.odd, conformal.weights_of(self.odd_units))

    @property
    def least_typical(self) -> float:
        """The smallest p-value that so many images can give."""
        return 1 / (len(np.unique(self.odd_units)) + 1)

    def require_reject(self, share: float) -> None:
        """UsageError unless so many images can tell a share as small as this."""
        n, wanted = len(np.unique(self.odd_units)), fewest_for(share)
        if n < wanted:
            raise too_few("--reject", share, n, wanted)

    def least_probability(self, coverage: float, n_classes: int, *, per_class: bool) -> Any:
        """What a class needs to be in a set: one number, or ``(K,)``, one of each class.

        Raises
        ------
        UsageError
            There are too few images for this level.
        """
        wanted = fewest_for(1 - coverage)
        if not per_class:
            if self.calibrating.n_units < wanted:
                n = self.calibrating.n_units
                raise too_few("--coverage", coverage, n, wanted)
            return self.calibrating.threshold(coverage)
        each = [self.calibrating.of_class(code) for code in range(n_classes)]
        fewest = min(one.n_units for one in each)
        if fewest < wanted:
            each_of = " in each class"
            raise too_few("--per-class --coverage", coverage, fewest, wanted, each=each_of)
        return np.array([one.threshold(coverage) for one in each])

    def least_confidence(self, precision: float) -> float:
        """From which probability on an answer may stand alone; infinite where none may.

        Raises
        ------
        UsageError
            There are too few images for this level.
        """
        n, wanted = self.calibrating.n_units, fewest_all_right(precision)
        if n < wanted:
            raise too_few("--precision", precision, n, wanted)
        found = self.calibrating.surest(precision)
        return np.inf if found is None else found

    def calibrated_on(
        self, odd: Floats, proba: Floats, y: Codes, units: Codes, *, which: str, guarantee: str
    ) -> Unknown:
        """The same by other images, which had no part in anything so far: how odd they are, and
        their probabilities."""
        calibrating = Calibrating.of(proba, y, units)
        return replace(
            self,
            calibrating=calibrating,
            odd=odd,
            odd_units=calibrating.units,
            which=which,
            guarantee=guarantee,
        )

    def to_config(self) -> dict[str, Any]:
        """The JSON part; the tensors are told in docs/unknown.md."""
        return {
            "calibrated_on": self.which,
            "guarantee": self.guarantee,
            "images": len(self.calibrating),
            "units": self.calibrating.n_units,
            "distance": "log(|z|^2 - |directions z|^2) of represented features z",
            "odd": "weights[0] * distance - weights[1] * highest score of the head",
        }

    def to_tensors(self) -> Tensors:
        """By name; half a megabyte or two, whatever the number of images."""
        found = self.calibrating
        return {
            "directions": self.distance.directions,
            "weights": self.weights.astype(np.float64),
            "odd": self.odd.astype(np.float64),
            "odd_units": self.odd_units.astype(np.int32),
            "p_true": found.p_true.astype(np.float64),
            "p_best": found.p_best.astype(np.float64),
            "is_right": found.is_right.astype(np.uint8),
            "codes": found.codes.astype(np.int32),
            "units": found.units.astype(np.int32),
        }

    @classmethod
    def from_saved(
        cls, config: dict[str, Any], tensors: Tensors, n_features: int, n_classes: int
    ) -> Unknown:
        """The inverse.

        Raises
        ------
        KeyError
            A tensor is missing.
        ValueError
            Shapes, types or values do not fit.
        """
        for name, kind in _KINDS.items():
            if kind[0] == "f" and not np.isfinite(tensors[name]).all():
                raise ValueError(f"unknown.{name} holds numbers that are not finite")
            if tensors[name].dtype != kind:
                raise ValueError(f"unknown.{name} is {tensors[name].dtype}, expected {kind}")
        directions, codes = tensors["directions"], tensors["codes"]
        if directions.ndim != 2 or directions.shape[1] != n_features:
            raise ValueError(
                f"unknown.directions is {directions.shape}, expected (M, {n_features})"
            )
        if tensors["weights"].shape != (2,):
            raise ValueError(f"unknown.weights is {tensors['weights'].shape}, expected (2,)")
        for names in (("odd", "odd_units"), ("p_true", "p_best", "is_right", "codes", "units")):
            shapes = {tensors[name].shape for name in names}
            if len(shapes) > 1 or len(next(iter(shapes))) != 1:
                raise ValueError(f"unknown.{', '.join(names)} must be of one length, are {shapes}")
        if len(codes) and not (codes.min() >= 0 and codes.max() < n_classes):
            raise ValueError(f"unknown.codes must be in 0..{n_classes - 1}")
        calibrating = Calibrating(
            tensors["p_true"], tensors["p_best"], tensors["is_right"].astype(bool), codes,
            tensors["units"],
        )  # fmt: skip
        return cls(
            Distance(directions), tensors["weights"], calibrating, tensors["odd"],
            tensors["odd_units"], str(config["calibrated_on"]), str(config["guarantee"]),
        )  # fmt: skip


_KINDS = {
    "directions": "float16", "weights": "float64", "odd": "float64", "odd_units": "int32",
    "p_true": "float64", "p_best": "float64", "is_right": "uint8", "codes": "int32",
    "units": "int32",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Landed:
    """The landmarks of a fit: what leaving a class out needs, without a second pass.

    Attributes
    ----------
    landmarks : Landmarks
    y, units : (M,) int
    n_classes : int
    """

    landmarks: Landmarks = field(repr=False)
    y: Codes
    units: Codes
    n_classes: int


def of_left_out(
    represent: Representation,
    X: Floats,
    y: Codes,
    units: Codes,
    rows: NDArray[np.intp],
    scores: Floats,
    *,
    n_classes: int,
    seed: int,
    Z: Floats | None = None,
) -> tuple[Unknown, Landed]:
    """By images that were left out of a fit.

    Parameters
    ----------
    X : (N, D0) float32
        Of all that taught; may be mapped from disk.
    Z : (N, D) float32, optional
        The same, represented, where that was done already.
    y, units : (N,) int
    rows : (n,) int
        Which of them were left out.
    scores : (n, K)
        What fits without them gave.
    """

    def represented(some: NDArray[np.intp]) -> Floats:
        return represent(X[some]) if Z is None else Z[some]

    places = landmark_rows(len(y), most_landmarks(len(represent.centre)), seed)
    landmarks = Landmarks.of(represented(places))
    logs = _left_out_logs(landmarks, represented, units, places, rows, seed)
    is_asked = np.isfinite(logs)
    top = scores[is_asked].max(axis=1, initial=-np.inf)
    weights = np.array([per_spread(logs[is_asked]), per_spread(top)])
    calibrating = Calibrating.of(
        cross_calibrated(scores, y[rows], units[rows]), y[rows], units[rows]
    )
    odd = weights[0] * logs[is_asked] - weights[1] * top
    found = Unknown(
        landmarks.distance, weights, calibrating, odd, calibrating.units[is_asked],
        LEFT_OUT_TRAIN,
    )  # fmt: skip
    return found, Landed(landmarks, y[places], units[places], n_classes)


def of_held_out(
    represent: Representation, scores: Floats, taught: Floats | None, held: Floats, y: Codes,
    units: Codes, *, temperature: float | None, which: str, guarantee: str, seed: int = 0,
) -> Unknown:  # fmt: skip
    """By images that were held out, or came later.

    Parameters
    ----------
    scores : (n, K)
        Of `held`, by a head that they had no part in.
    taught : (N, D0) float32 or None
        Features of images that the classifier has learnt from, the landmarks; without any, the
        held-out images are, each left out when it is asked itself.
    held : (n, D0) float32
    y, units : (n,) int
        Of `held`.
    temperature : float or None
        None where it was fitted to these images; each half then has that of the other.
    """
    Z = represent(held)
    if taught is not None:
        places = landmark_rows(len(taught), most_landmarks(Z.shape[1]), seed)
        landmarks = Landmarks.of(represent(taught[places]))
        logs = landmarks.distance.log(Z)
    else:
        places = landmark_rows(len(Z), most_landmarks(Z.shape[1]), seed)
        landmarks = Landmarks.of(Z[places])
        logs = landmarks.distance.log(Z)
        logs[np.isin(units, units[places])] = np.nan
        logs[places] = landmarks.left_out_log(units[places])
    is_asked = np.isfinite(logs)
    top = blocks.sureness(scores)[is_asked].astype(np.float64)
    weights = np.array([per_spread(logs[is_asked]), per_spread(top)])
    if temperature is None:
        proba = cross_calibrated(scores, y, units)
    else:
        proba = calibrated(scores, temperature)
    calibrating = Calibrating.of(proba, y, units)
    odd = weights[0] * logs[is_asked] - weights[1] * top
    return Unknown(
        landmarks.distance, weights, calibrating, odd, calibrating.units[is_asked], which,
        guarantee,
    )  # fmt: skip


def landmark_rows(n: int, most: int, seed: int) -> NDArray[np.intp]:
    """All rows, or as many by chance, in order."""
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, most, replace=False))


def _left_out_logs(
    landmarks: Landmarks, represented: Callable[[NDArray[np.intp]], Floats], units: Codes,
    places: NDArray[np.intp], rows: NDArray[np.intp], seed: int,
) -> Floats:  # fmt: skip
    """``(n,)`` logs of left-out distances of `rows`; NaN for those that are not asked."""
    logs = np.full(len(units), np.nan)
    logs[places] = landmarks.left_out_log(units[places])
    others = rows[~np.isin(units[rows], units[places])]
    others = others[landmark_rows(len(others), MOST_ASKED, seed)]
    if len(others):
        logs[others] = landmarks.distance.log(represented(others))
    found: Floats = logs[rows]
    return found


def calibrated(scores: Floats, temperature: float = 1.0) -> Floats:
    """``(n, K)`` probabilities, in float64."""
    return blocks.applied(
        scores, lambda rows: softmax(rows.astype(np.float64), temperature=temperature), np.float64
    )


def cross_calibrated(scores: Floats, y: Codes, units: Codes) -> Floats:
    """Probabilities at a temperature that the other half of the units was fitted to: what fits a
    temperature does not say what it is worth."""
    proba = blocks.matrix((len(y), scores.shape[1]), np.float64)
    half = np.unique(units, return_inverse=True)[1] % 2 == 0 if len(y) else np.zeros(0, bool)
    if half.all() or not half.any():
        return calibrated(scores) if len(y) else proba
    for part in (half, ~half):
        # Twice, so that it is as sure as one that was fitted to all of them.
        temperature = fit_temperature(np.tile(scores[~part], (2, 1)), np.tile(y[~part], 2))
        proba[part] = softmax(scores[part].astype(np.float64), temperature=temperature)
    return proba


def per_spread(values: Floats) -> float:
    """One over their standard deviation; 0 where they say nothing."""
    spread = float(values.std()) if len(values) else 0.0
    return 1 / spread if spread > 1e-9 else 0.0
