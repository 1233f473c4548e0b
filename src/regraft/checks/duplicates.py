"""Copies of one picture among the images: byte for byte, re-encoded, resized, mirrored, cropped.

Two pieces of evidence are kept for each image by the one pass: a 16x16 thumbnail and the network's
final features. The thumbnails decide alone when they agree to within the noise of re-encoding; a
crop blurs that, so there thumbnails (aligned) and features must agree. Neither is enough by itself:
features call two fields of the same crop alike, thumbnails two beaches. Thresholds were tuned on
photographs, aerial views and traffic signs with planted copies: benchmarks/duplicates.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from regraft.checks.standardised import Standardised
from regraft.machine import arrays

# N images, M pairs of rows, P pixels of a thumbnail (256), F final features.
Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]
Array = TypeVar("Array", Bytes, Floats)

THUMB_PX = 16  # as in images/facts.py, which is not imported because it needs Pillow
MIN_CONTRAST = 2.0  # of a thumbnail, in grey levels: below, it shows nothing that could be compared
MAX_BRIGHTNESS_CHANGE = 12.0  # grey levels by which the means of two copies may differ
MAX_CONTRAST_CHANGE = 0.15  # |log| of the ratio of their contrasts

SAME_FRAME = 0.99  # correlation of thumbnails that are copies whatever else
NOISY_FRAME = 0.95  # the same if what is left is within the noise of re-encoding:
NOISE_LEVELS, NOISE_SHARE = 1.1, 0.0375  # grey levels, and share of the contrast

CROPPED_SIDE = 0.95  # side of the crops looked for; those between this and 1 are found as well
CROPPED = 0.90  # correlation of aligned thumbnails that may be crops, if the features agree:
FEATURE_WEIGHT, CROPPED_SUM = 0.3, 1.20  # aligned correlation + 0.3 x cosine of features
CROPPED_ALONE = 0.985  # aligned correlation that stands for a crop without any features
CENTRE_CROPPED = 0.80  # correlation with the central crop: worth aligning properly

MIN_FEATURE_ROWS = 50  # fewer say nothing about what is usual, and so cannot standardise
MAX_ALL_PAIRS = 10_000  # images that are compared each with each; above, hashes propose pairs
CHUNK = 4096  # rows or pairs at a time, so that memory stays bounded
N_KEYS, KEY_BITS, N_FREQUENCIES, N_NEXT = 12, 24, 8, 4


class Pair(NamedTuple):
    """Two rows that show one picture; `kind` is 'exact' or 'near', `similarity` is in (0, 1]."""

    i: int
    j: int
    kind: str
    similarity: float


@dataclass(frozen=True, eq=False)
class Duplicates:
    """Which images are one picture.

    Attributes
    ----------
    unit : int array of shape (N,)
        Rows with equal numbers show one picture; counted from 0 in the order of the rows.
    content : int array of shape (N,)
        Rows with equal numbers are the same file, byte for byte.
    pairs : tuple of Pair
        The evidence, i < j. Of several exact copies each is paired with the first one only.
    """

    unit: Indices
    content: Indices
    pairs: tuple[Pair, ...] = ()

    def clusters(self) -> list[Indices]:
        """Rows of each picture that is there more than once, in the order of the first rows."""
        return _groups_of_several(self.unit)

    def exact_clusters(self) -> list[Indices]:
        """Rows of each file that is there more than once, byte for byte."""
        return _groups_of_several(self.content)


def find_duplicates(
    digests: Sequence[bytes],
    thumbs: Bytes,
    final: Floats | None = None,
) -> Duplicates:
    """Clusters of images that show one picture.

    Found are exact copies and those re-encoded, resized (50 to 200 %), mirrored left to right or
    cropped by up to 5 % of each side. Not found are turned and recoloured copies. Successive frames
    of one still scene count as copies, for they leak just as much. Up to 10,000 images are compared
    each with each; of more, only those that agree in a hash of the thumbnail, which finds fewer
    of the crops but needs time and memory in proportion to N.

    Parameters
    ----------
    digests : sequence of N bytes
        Content digests.
    thumbs : uint8 array of shape (N, 256)
        Luma thumbnails of 16x16 pixels (``FileFacts.thumb``).
    final : float array of shape (N, F), optional
        Final features; used for crops only, and only from 50 images up. May be memory-mapped.

    Returns
    -------
    Duplicates

    Examples
    --------
    >>> thumbs = np.random.default_rng(0).integers(0, 256, (4, 256), np.uint8)
    >>> thumbs[3] = thumbs[1].reshape(16, 16)[:, ::-1].ravel()
    >>> found = find_duplicates([b"a", b"b", b"a", b"c"], thumbs)
    >>> found.unit
    array([0, 1, 0, 1])
    >>> found.pairs
    (Pair(i=0, j=2, kind='exact', similarity=1.0), Pair(i=1, j=3, kind='near', similarity=1.0))
    """
    return compare(digests, thumbs).copies(final)


@dataclass(frozen=True, eq=False)
class Compared:
    """All pictures held against each other by content and thumbnails, once.

    Attributes
    ----------
    content : int array of shape (N,)
        Rows with equal numbers are the same file, byte for byte.
    firsts : int array
        The first row of each content.
    i, j : int arrays of shape (M,)
        Rows of the pairs that may be near copies.
    is_near : bool array of shape (M,)
        The thumbnails alone decide so.
    similarity : float array of shape (M,)
    """

    content: Indices
    firsts: Indices
    i: Indices
    j: Indices
    is_near: Mask
    similarity: Floats

    def copies(self, final: Floats | None = None) -> Duplicates:
        """The copies that thumbnails show; with final features, ``(N, F)``, the crops that these
        show too."""
        rows = np.setdiff1d(np.arange(len(self.content)), self.firsts, assume_unique=True)
        exact = [Pair(int(self.firsts[self.content[row]]), int(row), "exact", 1.0) for row in rows]
        is_near = self.is_near
        if final is not None and len(final) >= MIN_FEATURE_ROWS:
            is_near = is_near | self._shown_by(final)
        near = [
            Pair(int(min(a, b)), int(max(a, b)), "near", round(float(min(s, 1)), 4))
            for a, b, s in zip(
                self.i[is_near], self.j[is_near], self.similarity[is_near], strict=True
            )
        ]
        pairs = (*exact, *sorted(near))
        ends = np.array([pair[:2] for pair in pairs], np.intp).reshape(-1, 2)
        return Duplicates(connected(len(self.content), ends), self.content, pairs)

    def _shown_by(self, final: Floats) -> Mask:
        """Crops for which thumbnails and features speak together, (M,)."""
        found = np.zeros(len(self.i), np.bool_)
        hopeful = np.flatnonzero(~self.is_near & (self.similarity >= CROPPED))
        if len(hopeful):
            cosine = _cosine(final, self.i[hopeful], self.j[hopeful])
            found[hopeful] = self.similarity[hopeful] + FEATURE_WEIGHT * cosine >= CROPPED_SUM
        return found


def compare(digests: Sequence[bytes], thumbs: Bytes) -> Compared:
    """Hold all pictures against each other; the arguments are those of `find_duplicates`."""
    content, firsts = _same_content(digests)
    return Compared(content, firsts, *_near_pairs(np.asarray(thumbs), firsts))


def across_splits(duplicates: Duplicates, splits: npt.NDArray[np.object_]) -> list[Indices]:
    """Clusters that are in several splits, each as its rows. Rows without a split do not count.

    Examples
    --------
    >>> unit = np.array([0, 1, 0, 1])
    >>> across_splits(Duplicates(unit, unit), np.array(["train", "train", "val", "train"], object))
    [array([0, 2])]
    """
    return [rows for rows in duplicates.clusters() if len(set(splits[rows]) - {None}) > 1]


def leaked(duplicates: Duplicates, splits: npt.NDArray[np.object_], reported: str) -> Mask:
    """Which images of the reported split have a copy in another split: those a score may repeat.

    Examples
    --------
    >>> unit = np.array([0, 1, 0, 1])
    >>> splits = np.array(["train", "test", "test", "test"], object)
    >>> leaked(Duplicates(unit, unit), splits, "test")
    array([False, False,  True, False])
    """
    is_reported = splits == reported
    is_elsewhere = ~is_reported & (splits != None)  # noqa: E711  (element by element)
    seen = np.zeros(len(duplicates.unit) + 1, dtype=np.bool_)
    seen[duplicates.unit[is_elsewhere]] = True
    return np.asarray(is_reported & seen[duplicates.unit])


def conflicting(duplicates: Duplicates, labels: npt.NDArray[np.object_]) -> list[Indices]:
    """Clusters whose images have different labels, each as its rows. No label is no conflict.

    Examples
    --------
    >>> unit = np.array([0, 0, 1, 1])
    >>> conflicting(Duplicates(unit, unit), np.array(["ant", "bee", "ant", "ant"], object))
    [array([0, 1])]
    """
    return [rows for rows in duplicates.clusters() if len(set(labels[rows]) - {None}) > 1]


# ---- clusters -------------------------------------------------------------------------------


def _same_content(digests: Sequence[bytes]) -> tuple[Indices, Indices]:
    """The number of each row's content, (N,), and the first row that has each content."""
    number_of: dict[bytes, int] = {}
    content = np.array(
        [number_of.setdefault(digest, len(number_of)) for digest in digests], np.intp
    )
    return content, np.unique(content, return_index=True)[1]


def _groups_of_several(group: Indices) -> list[Indices]:
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    sizes = np.diff(starts, append=len(group))
    several = np.flatnonzero(sizes > 1)
    return [order[starts[n] : starts[n] + sizes[n]] for n in several]


def connected(n_rows: int, ends: Indices) -> Indices:
    """What pairs of rows ``(P, 2)`` connect has one number, from 0 by the first rows, (N,).

    Examples
    --------
    >>> connected(5, np.array([[0, 2], [2, 4]]))
    array([0, 1, 0, 2, 0])
    """
    unit = np.arange(n_rows)
    while len(ends):
        smaller = unit[ends].min(axis=1)
        before = unit.copy()
        np.minimum.at(unit, ends[:, 0], smaller)
        np.minimum.at(unit, ends[:, 1], smaller)
        unit = unit[unit]
        if np.array_equal(unit, before):
            break
    return np.unique(unit, return_inverse=True)[1].reshape(-1)


# ---- near duplicates ------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Looks:
    """The images to compare: one per content, with enough contrast to tell one from another."""

    thumbs: Bytes  # (n, P)
    mean: Floats  # (n,)
    contrast: Floats  # (n,)


def _near_pairs(thumbs: Bytes, firsts: Indices) -> tuple[Indices, Indices, Mask, Floats]:
    """Pairs of rows that may be near copies, whether they are by their thumbnails, and their
    similarity; of exact copies the first. (M,) each."""
    mean, contrast = _light(thumbs)
    rows = firsts[contrast[firsts] >= MIN_CONTRAST]
    looks = _Looks(thumbs[rows], mean[rows], contrast[rows])

    propose = _all_pairs if len(rows) <= MAX_ALL_PAIRS else _pairs_by_hash
    i, j, is_mirrored = (np.concatenate(part) for part in zip(*propose(looks), strict=True))
    keep = _same_light(looks, i, j)
    i, j, is_mirrored = i[keep], j[keep], is_mirrored[keep]

    is_near, similarity = _judge_frames(looks, i, j, is_mirrored)
    rest = np.flatnonzero(~is_near)
    similarity[rest] = _aligned_correlation(looks.thumbs, i[rest], j[rest], is_mirrored[rest])
    is_near[rest] = similarity[rest] >= CROPPED_ALONE
    return rows[i], rows[j], is_near, similarity


def _light(thumbs: Bytes) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each thumbnail in grey levels, (N,) each."""
    mean, contrast = np.empty((2, len(thumbs)), np.float32)
    for part in _chunks(len(thumbs)):
        grey = thumbs[part].astype(np.float32)
        mean[part], contrast[part] = grey.mean(axis=1), grey.std(axis=1)
    return mean, contrast


def _chunks(n: int) -> list[slice]:
    return [slice(at, at + CHUNK) for at in range(0, n, CHUNK)]


def _unit_length(thumbs: Bytes | Floats) -> Floats:
    """Thumbnails without mean and of length 1, so that a product of two is their correlation."""
    grey = thumbs.astype(np.float32)
    grey -= grey.mean(axis=1, keepdims=True)
    grey /= np.maximum(np.linalg.norm(grey, axis=1, keepdims=True), 1e-6)
    return grey


def _mirrored_where(is_mirrored: Mask, thumbs: Array) -> Array:
    mirrored = thumbs.reshape(-1, THUMB_PX, THUMB_PX)[:, :, ::-1].reshape(thumbs.shape)
    return np.where(is_mirrored[:, None], mirrored, thumbs)


def _row_products(first: Floats, second: Floats) -> Floats:
    return np.asarray(np.einsum("mp,mp->m", first, second))


def _same_light(looks: _Looks, i: Indices, j: Indices) -> Mask:
    """Copies keep brightness and contrast, which correlation ignores."""
    change = np.abs(looks.mean[i] - looks.mean[j])
    ratio = np.abs(np.log(looks.contrast[i] / looks.contrast[j]))
    return np.asarray((change <= MAX_BRIGHTNESS_CHANGE) & (ratio <= MAX_CONTRAST_CHANGE))


def _judge_frames(looks: _Looks, i: Indices, j: Indices, is_mirrored: Mask) -> tuple[Mask, Floats]:
    """Whether the thumbnails differ by no more than re-encoding or resizing does; (M,) each."""
    correlation = np.empty(len(i), np.float32)
    for part in _chunks(len(i)):
        second = _mirrored_where(is_mirrored[part], looks.thumbs[j[part]])
        correlation[part] = _row_products(_unit_length(looks.thumbs[i[part]]), _unit_length(second))
    contrast = np.sqrt(looks.contrast[i] * looks.contrast[j])
    left = contrast * np.sqrt(np.maximum(0, 1 - correlation**2))  # grey levels
    is_noise = left <= NOISE_LEVELS + NOISE_SHARE * contrast
    is_near = (correlation >= SAME_FRAME) | ((correlation >= NOISY_FRAME) & is_noise)
    return is_near, correlation


# ---- crops ----------------------------------------------------------------------------------


def _cosine(final: Floats, i: Indices, j: Indices) -> Floats:
    """Of the standardised features of the pairs (i, j), (M,)."""
    features, cosine = Standardised(final), np.empty(len(i), np.float32)
    for part in _chunks(len(i)):
        used, place = np.unique(np.concatenate([i[part], j[part]]), return_inverse=True)
        first, second = place.reshape(2, -1)
        z = features[used]
        cosine[part] = _row_products(z[first], z[second])
    return cosine


def _aligned_correlation(thumbs: Bytes, i: Indices, j: Indices, is_mirrored: Mask) -> Floats:
    """Best correlation of one thumbnail with a crop of the other, whichever is the crop, (M,)."""
    best = np.empty(len(i), np.float32)
    for part in _chunks(len(i)):
        first = thumbs[i[part]].astype(np.float32)
        second = _mirrored_where(is_mirrored[part], thumbs[j[part]].astype(np.float32))
        best[part] = np.maximum(_best_crop(first, second), _best_crop(second, first))
    return best


def _best_crop(whole: Floats, part: Floats) -> Floats:
    """Best correlation of `part` with nine crops of `whole`: corners, edges, centre. (M,)."""
    target = _unit_length(part)
    best = np.zeros(len(whole), np.float32)
    for top in _CROP_MATRICES:
        for left in _CROP_MATRICES:
            crop = _unit_length(_crop(whole, top, left))
            np.maximum(best, _row_products(crop, target), out=best)
    return best


def _crop(thumbs: Floats, top: Floats, left: Floats) -> Floats:
    squares = thumbs.reshape(-1, THUMB_PX, THUMB_PX)
    return np.asarray((top @ squares @ left.T).reshape(thumbs.shape))


def _crop_matrix(place: float) -> Floats:
    """Rows of a thumbnail to rows of its crop, (16, 16), by Keys' cubic interpolation.

    Keys, R. (1981), Cubic convolution interpolation, IEEE Trans. ASSP 29(6). Linear interpolation
    loses a fifth of the crops of fine-grained pictures.
    """
    centres = (np.arange(THUMB_PX) + 0.5) * CROPPED_SIDE - 0.5
    centres += place * (1 - CROPPED_SIDE) * THUMB_PX
    matrix = np.zeros((THUMB_PX, THUMB_PX), np.float32)
    for row, centre in enumerate(centres):
        for source in range(int(np.floor(centre)) - 1, int(np.floor(centre)) + 3):
            inside = min(max(source, 0), THUMB_PX - 1)
            matrix[row, inside] += _keys(abs(centre - source))
    return matrix


def _keys(x: float) -> float:
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


_CROP_MATRICES = tuple(_crop_matrix(place) for place in (0.0, 0.5, 1.0))


# ---- proposals ------------------------------------------------------------------------------


def _all_pairs(looks: _Looks) -> Iterator[tuple[Indices, Indices, Mask]]:
    """Pairs i < j that may be copies, by comparing each image with each; and if mirrored."""
    unit = _unit_length(looks.thumbs)
    middle = _CROP_MATRICES[1]
    centre = _unit_length(_crop(looks.thumbs.astype(np.float32), middle, middle))
    for mirrored in (False, True):
        turn = np.full(len(unit), mirrored)
        other, other_centre = _mirrored_where(turn, unit), _mirrored_where(turn, centre)
        for at in range(0, len(unit) or 1, 512):
            block = slice(at, at + 512)
            may_be = unit[block] @ other[at:].T >= NOISY_FRAME
            may_be |= unit[block] @ other_centre[at:].T >= CENTRE_CROPPED
            may_be |= centre[block] @ other[at:].T >= CENTRE_CROPPED
            i, j = np.nonzero(np.triu(may_be, 1))
            yield i + at, j + at, np.full(len(i), mirrored)


def _pairs_by_hash(looks: _Looks) -> Iterator[tuple[Indices, Indices, Mask]]:
    """Pairs that agree in one of 12 keys of 24 bits, each with the next few of the same key.

    Charikar, M. (2002), Similarity estimation techniques from rounding algorithms, STOC. Bits are
    signs of random projections of the low frequencies, made equally strong.
    """
    is_turned, waves = _waves(looks.thumbs)
    i, j = np.divmod(np.unique(np.concatenate([*_key_pairs(waves)])), len(waves))
    yield i, j, is_turned[i] != is_turned[j]


def _waves(thumbs: Bytes) -> tuple[Mask, Floats]:
    """Standardised low cosine frequencies, (n, 63), each image mirrored so that its right half
    is the brighter one; and which ones were mirrored, (n,)."""
    k, x = np.arange(N_FREQUENCIES)[:, None], np.arange(THUMB_PX)
    cosines = np.cos(np.pi * k * (2 * x + 1) / (2 * THUMB_PX))
    basis = np.einsum("ay,bx->yxab", cosines, cosines).reshape(THUMB_PX**2, -1)[:, 1:]
    slope = np.tile(x - (THUMB_PX - 1) / 2, THUMB_PX).astype(np.float32)

    is_turned = np.empty(len(thumbs), np.bool_)
    waves = arrays.zeros((len(thumbs), basis.shape[1]), np.float32)
    for part in _chunks(len(thumbs)):
        unit = _unit_length(thumbs[part])
        is_turned[part] = unit @ slope < 0
        waves[part] = _mirrored_where(is_turned[part], unit) @ basis.astype(np.float32)
    waves -= waves.mean(axis=0)
    waves /= np.maximum(waves.std(axis=0), 1e-6)
    return is_turned, waves


def _key_pairs(waves: Floats) -> Iterator[Indices]:
    """For each key the pairs of `_neighbours`."""
    rng = np.random.default_rng(0)
    weights = (1 << np.arange(KEY_BITS)).astype(np.uint32)
    for _ in range(N_KEYS):
        plane = rng.standard_normal((waves.shape[1], KEY_BITS), np.float32)
        key = np.concatenate([(waves[part] @ plane > 0) @ weights for part in _chunks(len(waves))])
        yield _neighbours(key)


def _neighbours(key: npt.NDArray[np.uint32]) -> Indices:
    """Pairs i < j of rows with equal keys that stand within 4 places when sorted, as i * n + j."""
    order = np.argsort(key, kind="stable")
    ranked = key[order]
    steps = []
    for step in range(1, N_NEXT + 1):
        same = np.flatnonzero(ranked[:-step] == ranked[step:])
        steps.append(order[same] * len(key) + order[same + step])
    return np.concatenate(steps)
