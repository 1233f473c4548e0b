"""Pairs of pictures that may be one: proposed by their thumbnails, and judged by these.

Of few pictures each is compared with each; of many, those that agree in a hash of the thumbnail.
Thumbnails decide alone when they agree to within the noise of re-encoding. Thresholds were tuned on
photographs, aerial views and traffic signs with planted copies: benchmarks/duplicates.py.

n pictures, M pairs of rows, P pixels of a thumbnail (256), F final features.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from regraft.checks.standardised import Standardised
from regraft.checks.thumbnails import (
    CROP_MATRICES,
    THUMB_PX,
    Bytes,
    Floats,
    Mask,
    best_crop,
    chunks,
    crop,
    light,
    mirrored_where,
    row_products,
    unit_length,
)
from regraft.machine import arrays, mapped

Indices = npt.NDArray[np.intp]

MIN_CONTRAST = 2.0  # of a thumbnail, in grey levels: below, it shows nothing that could be compared
MAX_BRIGHTNESS_CHANGE = 12.0  # grey levels by which the means of two copies may differ
MAX_CONTRAST_CHANGE = 0.15  # |log| of the ratio of their contrasts

SAME_FRAME = 0.99  # correlation of thumbnails that are copies whatever else
NOISY_FRAME = 0.95  # the same if what is left is within the noise of re-encoding:
NOISE_LEVELS, NOISE_SHARE = 1.1, 0.0375  # grey levels, and share of the contrast

CROPPED_ALONE = 0.985  # aligned correlation that stands for a crop without any features
# Correlation with the central crop: worth aligning properly; of the few that hashes propose.
CENTRE_CROPPED, HASHED_CENTRE = 0.80, 0.70

CROPPED = 0.90  # aligned correlation that may stand for a crop, if the features agree

MAX_ALL_PAIRS = 10_000  # images that are compared each with each; above, hashes propose pairs
N_KEYS, KEY_BITS, N_FREQUENCIES, N_NEXT = 12, 24, 8, 4
MAX_OTHER_SIGNS = 20  # of the 63 of two copies; of two other pictures half of them differ
PAIRS_AT_ONCE = 2**21


@dataclass(frozen=True, eq=False)
class _Looks:
    """The images to compare: one per content, with enough contrast to tell one from another."""

    every_thumb: Bytes  # (N, P), of all images
    rows: Indices  # (n,)
    mean: Floats  # (n,)
    contrast: Floats  # (n,)

    def __len__(self) -> int:
        return len(self.rows)

    def thumbs(self, some: Indices | slice = slice(None)) -> Bytes:
        """Of some of them, read when they are asked for: of millions they lie on disk."""
        found: Bytes = self.every_thumb[self.rows[some]]
        mapped.let_go(self.every_thumb)  # rows here and there: each fills 64 KiB of memory
        return found


def near_pairs(thumbs: Bytes, firsts: Indices) -> tuple[Indices, Indices, Mask, Floats]:
    """Pairs of rows that may be near copies, whether they are by their thumbnails, and their
    similarity; of exact copies the first. (M,) each."""
    mean, contrast = light(thumbs)
    rows = firsts[contrast[firsts] >= MIN_CONTRAST]
    looks = _Looks(thumbs, rows, mean[rows], contrast[rows])

    propose = _all_pairs if len(looks) <= MAX_ALL_PAIRS else _pairs_by_hash
    found = [_judged(looks, *proposed) for proposed in propose(looks)]
    i, j, is_near, similarity = (np.concatenate(part) for part in zip(*found, strict=True))
    if len(found) > 1:  # the same pair may have been proposed again
        once = np.unique(i * len(looks) + j, return_index=True)[1]
        i, j, is_near, similarity = i[once], j[once], is_near[once], similarity[once]
    return rows[i], rows[j], is_near, similarity


def _judged(
    looks: _Looks, i: Indices, j: Indices, is_mirrored: Mask
) -> tuple[Indices, Indices, Mask, Floats]:
    """Of proposed pairs those that may be copies: what `near_pairs` gives, by places."""
    keep = _same_light(looks, i, j)
    i, j, is_mirrored = i[keep], j[keep], is_mirrored[keep]
    is_near, similarity = _judge_frames(looks, i, j, is_mirrored)
    rest = np.flatnonzero(~is_near)
    similarity[rest] = _aligned_correlation(looks, i[rest], j[rest], is_mirrored[rest])
    is_near[rest] = similarity[rest] >= CROPPED_ALONE
    may_be = is_near | (similarity >= CROPPED)
    return i[may_be], j[may_be], is_near[may_be], similarity[may_be]


def _same_light(looks: _Looks, i: Indices, j: Indices) -> Mask:
    """Copies keep brightness and contrast, which correlation ignores."""
    change = np.abs(looks.mean[i] - looks.mean[j])
    ratio = np.abs(np.log(looks.contrast[i] / looks.contrast[j]))
    return np.asarray((change <= MAX_BRIGHTNESS_CHANGE) & (ratio <= MAX_CONTRAST_CHANGE))


def _judge_frames(looks: _Looks, i: Indices, j: Indices, is_mirrored: Mask) -> tuple[Mask, Floats]:
    """Whether the thumbnails differ by no more than re-encoding or resizing does; (M,) each."""
    correlation = np.empty(len(i), np.float32)
    for part in chunks(len(i)):
        second = mirrored_where(is_mirrored[part], looks.thumbs(j[part]))
        correlation[part] = row_products(unit_length(looks.thumbs(i[part])), unit_length(second))
    contrast = np.sqrt(looks.contrast[i] * looks.contrast[j])
    left = contrast * np.sqrt(np.maximum(0, 1 - correlation**2))  # grey levels
    is_noise = left <= NOISE_LEVELS + NOISE_SHARE * contrast
    is_near = (correlation >= SAME_FRAME) | ((correlation >= NOISY_FRAME) & is_noise)
    return is_near, correlation


def cosine_of_pairs(final: Floats, i: Indices, j: Indices) -> Floats:
    """Of the standardised features of the pairs (i, j), (M,)."""
    features, cosine = Standardised(final), np.empty(len(i), np.float32)
    for part in chunks(len(i)):
        used, place = np.unique(np.concatenate([i[part], j[part]]), return_inverse=True)
        first, second = place.reshape(2, -1)
        z = features[used]
        cosine[part] = row_products(z[first], z[second])
    return cosine


def _aligned_correlation(looks: _Looks, i: Indices, j: Indices, is_mirrored: Mask) -> Floats:
    """Best correlation of one thumbnail with a crop of the other, whichever is the crop, (M,)."""
    best = np.empty(len(i), np.float32)
    for part in chunks(len(i)):
        first = looks.thumbs(i[part]).astype(np.float32)
        second = mirrored_where(is_mirrored[part], looks.thumbs(j[part]).astype(np.float32))
        best[part] = np.maximum(best_crop(first, second), best_crop(second, first))
    return best


def _all_pairs(looks: _Looks) -> Iterator[tuple[Indices, Indices, Mask]]:
    """Pairs i < j that may be copies, by comparing each image with each; and if mirrored."""
    i, j, is_mirrored = zip(*_compared(looks.thumbs()), strict=True)
    yield np.concatenate(i), np.concatenate(j), np.concatenate(is_mirrored)


def _compared(thumbs: Bytes) -> Iterator[tuple[Indices, Indices, Mask]]:
    """The same, some rows at a time."""
    unit = unit_length(thumbs)
    middle = CROP_MATRICES[1]
    centre = unit_length(crop(thumbs.astype(np.float32), middle, middle))
    for mirrored in (False, True):
        turn = np.full(len(unit), mirrored)
        other, other_centre = mirrored_where(turn, unit), mirrored_where(turn, centre)
        for at in range(0, len(unit) or 1, 512):
            block = slice(at, at + 512)
            may_be = unit[block] @ other[at:].T >= NOISY_FRAME
            may_be |= unit[block] @ other_centre[at:].T >= CENTRE_CROPPED
            may_be |= centre[block] @ other[at:].T >= CENTRE_CROPPED
            i, j = np.nonzero(np.triu(may_be, 1))
            yield i + at, j + at, np.full(len(i), mirrored)


def _pairs_by_hash(looks: _Looks) -> Iterator[tuple[Indices, Indices, Mask]]:
    """Pairs that agree in one of 12 keys of 24 bits, each with the next few of the same key; some
    million at a time.

    Charikar, M. (2002), Similarity estimation techniques from rounding algorithms, STOC. Bits are
    signs of random projections of the low frequencies, made equally strong. Of millions of pictures
    many agree in a key by chance; the signs of the frequencies themselves tell these.
    """
    is_turned, waves = _waves(looks)
    signs = _signs(waves)
    waiting: list[Indices] = [np.empty(0, np.intp)]
    for pairs in _key_pairs(waves):
        for part in chunks(len(pairs), PAIRS_AT_ONCE):
            i, j = np.divmod(pairs[part], len(waves))
            waiting.append(pairs[part][_n_other(signs[i], signs[j]) <= MAX_OTHER_SIGNS])
            if sum(map(len, waiting)) >= PAIRS_AT_ONCE:
                yield _worth_aligning(looks, waiting, is_turned)
                waiting.clear()
    yield _worth_aligning(looks, waiting, is_turned)


def _worth_aligning(
    looks: _Looks, pairs: list[Indices], is_turned: Mask
) -> tuple[Indices, Indices, Mask]:
    """Of pairs i * n + j, each once, those that look alike as they are, or as their centres."""
    i, j = np.divmod(np.unique(np.concatenate(pairs or [np.empty(0, np.intp)])), len(looks))
    keep = _same_light(looks, i, j)
    i, j = i[keep], j[keep]
    is_mirrored, middle = is_turned[i] != is_turned[j], CROP_MATRICES[1]
    may_be = np.empty(len(i), np.bool_)
    for part in chunks(len(i)):
        first = looks.thumbs(i[part]).astype(np.float32)
        second = mirrored_where(is_mirrored[part], looks.thumbs(j[part]).astype(np.float32))
        unit, other = unit_length(first), unit_length(second)
        found = row_products(unit, other) >= NOISY_FRAME
        found |= row_products(unit, unit_length(crop(second, middle, middle))) >= HASHED_CENTRE
        found |= row_products(unit_length(crop(first, middle, middle)), other) >= HASHED_CENTRE
        may_be[part] = found
    return i[may_be], j[may_be], is_mirrored[may_be]


def _signs(waves: Floats) -> Bytes:
    """``(n, 8)`` signs of the frequencies, as bits."""
    signs = arrays.zeros((len(waves), -(-waves.shape[1] // 8)), np.uint8)
    for part in chunks(len(waves)):
        signs[part] = np.packbits(waves[part] > 0, axis=1)
    return signs


def _n_other(first: Bytes, second: Bytes) -> npt.NDArray[np.intp]:
    """How many signs differ, (M,)."""
    return np.asarray(_N_BITS[first ^ second].sum(axis=1, dtype=np.intp))


_N_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1, dtype=np.uint8)


def _waves(looks: _Looks) -> tuple[Mask, Floats]:
    """Standardised low cosine frequencies, (n, 63), each image mirrored so that its right half
    is the brighter one; and which ones were mirrored, (n,)."""
    k, x = np.arange(N_FREQUENCIES)[:, None], np.arange(THUMB_PX)
    cosines = np.cos(np.pi * k * (2 * x + 1) / (2 * THUMB_PX))
    basis = np.einsum("ay,bx->yxab", cosines, cosines).reshape(THUMB_PX**2, -1)[:, 1:]
    slope = np.tile(x - (THUMB_PX - 1) / 2, THUMB_PX).astype(np.float32)

    is_turned = np.empty(len(looks), np.bool_)
    waves = arrays.zeros((len(looks), basis.shape[1]), np.float32)
    parts = chunks(len(looks))
    for part in parts:
        unit = unit_length(looks.thumbs(part))
        is_turned[part] = unit @ slope < 0
        waves[part] = mirrored_where(is_turned[part], unit) @ basis.astype(np.float32)
    mean = _mean(waves[part] for part in parts)
    for part in parts:
        waves[part] -= mean
    mean = _mean(waves[part] for part in parts)
    deviation = np.sqrt(_mean(np.square(waves[part] - mean) for part in parts))
    for part in parts:
        waves[part] /= np.maximum(deviation, 1e-6)
    return is_turned, waves


def _mean(parts: Iterable[Floats]) -> Floats:
    """Of the rows of all parts, with the bits of NumPy's own: it adds them one after another too,
    but would make a second matrix to find the deviation."""
    total, n = None, 0
    for rows in parts:
        n += len(rows)
        whole = rows if total is None else np.concatenate([total[None], rows])
        total = np.add.reduce(whole, axis=0)
    assert total is not None
    mean: Floats = np.true_divide(total, np.intp(n), dtype=np.float64).astype(total.dtype)
    return mean


def _key_pairs(waves: Floats) -> Iterator[Indices]:
    """For each key and step the pairs of `_neighbours`."""
    rng = np.random.default_rng(0)
    weights = (1 << np.arange(KEY_BITS)).astype(np.uint32)
    for _ in range(N_KEYS):
        plane = rng.standard_normal((waves.shape[1], KEY_BITS), np.float32)
        key = np.concatenate([(waves[part] @ plane > 0) @ weights for part in chunks(len(waves))])
        yield from _neighbours(key)


def _neighbours(key: npt.NDArray[np.uint32]) -> Iterator[Indices]:
    """Pairs i < j of rows with equal keys that stand within 4 places when sorted, as i * n + j."""
    order = np.argsort(key, kind="stable")
    ranked = key[order]
    for step in range(1, N_NEXT + 1):
        same = np.flatnonzero(ranked[:-step] == ranked[step:])
        yield order[same] * len(key) + order[same + step]
