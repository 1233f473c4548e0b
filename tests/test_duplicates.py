"""Copies of a picture are found, other pictures are left alone, whatever the order of the rows."""

import io
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from regraft.checks import duplicates, near_copies, thumbnails
from regraft.checks.duplicates import (
    Duplicates,
    across_splits,
    conflicting,
    find_duplicates,
    leaked,
)
from regraft.images.facts import THUMB_PX


def picture(seed, size=(160, 120)):
    """A smooth background with some blobs: nearly all energy in low frequencies, as in photos."""
    rng = np.random.default_rng(seed)
    field = rng.normal(0, 1, (6, 8, 3)).cumsum(axis=0).cumsum(axis=1)
    field = (field - field.min()) / np.ptp(field) * 255
    image = Image.fromarray(field.astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
    for left, top, side in rng.integers(10, 90, (6, 3)):
        image.paste(tuple(rng.integers(0, 256, 3).tolist()), (left, top, left + side, top + side))
    return image


def thumb(image):
    small = image.convert("L").resize(
        (THUMB_PX, THUMB_PX), Image.Resampling.BILINEAR, reducing_gap=3.0
    )
    return np.asarray(small, np.uint8).ravel()


def reencoded(image, quality):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


def cropped(image, rng):
    width, height = (round(side * 0.95) for side in image.size)
    left, top = rng.randint(0, image.width - width), rng.randint(0, image.height - height)
    return image.crop((left, top, left + width, top + height))


CHANGES = {
    "q50": (0.95, lambda image, rng: reencoded(image, 50)),
    "q90": (0.95, lambda image, rng: reencoded(image, 90)),
    "half": (0.80, lambda image, rng: image.resize((80, 60))),
    "double": (0.80, lambda image, rng: image.resize((320, 240))),
    "mirrored": (0.80, lambda image, rng: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
    "cropped": (0.80, cropped),
}


@pytest.fixture(scope="module")
def pictures():
    return [picture(seed) for seed in range(100)]


@pytest.fixture(scope="module")
def thumbs(pictures):
    return np.stack([thumb(image) for image in pictures])


def named(n, prefix="row"):
    return [f"{prefix}{row}".encode() for row in range(n)]


def fake_features(rng, n):
    return rng.normal(0, 1, (n, 64)).astype(np.float32)


@pytest.mark.parametrize("kind", CHANGES)
def test_planted_copies_are_found(kind, pictures, thumbs):
    least, change = CHANGES[kind]
    rng = random.Random(0)
    planted = np.stack([thumb(change(image, rng)) for image in pictures])
    final = fake_features(np.random.default_rng(0), 100)
    noisy = final + 0.3 * fake_features(np.random.default_rng(1), 100)

    found = find_duplicates(
        named(200), np.concatenate([thumbs, planted]), np.concatenate([final, noisy])
    )

    assert (found.unit[:100] == found.unit[100:]).mean() >= least


def test_different_pictures_are_no_copies(thumbs):
    assert find_duplicates(named(100), thumbs).pairs == ()


def test_hashes_propose_the_same_copies(thumbs, pictures, monkeypatch):
    monkeypatch.setattr(near_copies, "MAX_ALL_PAIRS", 10)
    mirrored = [image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for image in pictures[:50]]
    again = [reencoded(image, 75) for image in pictures[50:]]
    planted = np.stack([thumb(image) for image in mirrored + again])
    found = find_duplicates(named(200), np.concatenate([thumbs, planted]))
    assert (found.unit[:100] == found.unit[100:]).mean() >= 0.9
    assert len(found.unit) - len(np.unique(found.unit)) <= 100


@pytest.mark.parametrize("level", [0, 128, 255])
def test_blank_pictures_are_no_copies_of_each_other(level):
    noise = np.random.default_rng(0).integers(-1, 2, (20, 256))
    blanks = np.clip(level + noise, 0, 255).astype(np.uint8)
    found = find_duplicates(named(20), blanks)
    np.testing.assert_array_equal(found.unit, np.arange(20))


def test_blank_pictures_with_the_same_bytes_are_exact_copies():
    found = find_duplicates([b"a", b"a"], np.zeros((2, 256), np.uint8))
    assert [pair.kind for pair in found.pairs] == ["exact"]
    assert found.clusters()[0].tolist() == found.exact_clusters()[0].tolist() == [0, 1]


def test_a_much_brighter_picture_is_no_copy(thumbs):
    grey = thumbs[0] // 2
    assert find_duplicates(named(2), np.stack([grey, grey + 40])).pairs == ()


@pytest.mark.parametrize("n", [0, 1])
def test_no_pictures_and_one_picture(n):
    found = find_duplicates(named(n), np.zeros((n, 256), np.uint8))
    assert found.unit.tolist() == list(range(n))
    assert found.clusters() == []


def test_a_chain_of_copies_is_one_unit():
    unit = duplicates.connected(6, np.array([(4, 5), (3, 4), (2, 3), (0, 2)]))
    assert unit.tolist() == [0, 1, 0, 0, 0, 0]


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(24)))
def test_order_of_the_rows_plays_no_part(order):
    base = np.stack([thumb(picture(seed, (40, 30))) for seed in range(10)])
    mirrored = base.reshape(10, THUMB_PX, THUMB_PX)[:, :, ::-1].reshape(10, -1)
    several = np.concatenate([base, base[:4], mirrored])
    digests = named(10) + named(4) + named(10, "mirrored")
    unit = find_duplicates(digests, several).unit
    shuffled = find_duplicates([digests[row] for row in order], several[list(order)]).unit
    together = unit[list(order)]
    np.testing.assert_array_equal(together[:, None] == together, shuffled[:, None] == shuffled)


def test_leaks_and_conflicts_are_told_by_row():
    unit = np.array([0, 0, 1, 1, 2])
    found = Duplicates(unit, unit)
    splits = np.array(["train", "test", "test", "test", None], object)
    labels = np.array(["ant", "bee", "ant", None, "ant"], object)
    assert [rows.tolist() for rows in across_splits(found, splits)] == [[0, 1]]
    assert leaked(found, splits, "test").tolist() == [False, True, False, False, False]
    assert [rows.tolist() for rows in conflicting(found, labels)] == [[0, 1]]


def test_the_thumbnail_is_the_one_of_the_facts():
    assert thumbnails.THUMB_PX == THUMB_PX
