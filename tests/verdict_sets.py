"""Ten made-up sets whose results should and should not be trusted: shifted, leaking, tiny; sound.

Each is a function that writes an image folder with splits (or without), the same for the same name.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from conftest import INK, SHAPES, draw_photo

Random = np.random.Generator
Picture = Callable[[str, str, Random], Image.Image]
SIZES = {"train": 40, "test": 30}


def write(
    folder: Path,
    picture: Picture,
    classes: tuple[str, ...] = ("discs", "squares", "stripes"),
    sizes: Mapping[str, int] = SIZES,
) -> Path:
    """``folder/<split>/<class>/``, drawn by ``picture(class, split, random)``."""
    random = np.random.default_rng(zlib.crc32(folder.name.encode()))
    for split, n in sizes.items():
        for name in classes:
            room = folder / split / name
            room.mkdir(parents=True)
            for i in range(n):
                picture(name, split, random).save(room / f"{i:03d}.jpg", quality=90)
    return folder


def plain(name: str, split: str, random: Random) -> Image.Image:
    """A shape before a pattern of its own, so that no two pictures pass for copies."""
    pattern = Image.fromarray(random.integers(0, 255, (4, 5, 3)).astype(np.uint8))
    drawn = draw_photo(name, random)
    return Image.blend(drawn, pattern.resize(drawn.size, Image.Resampling.BICUBIC), 0.3)


# -- Not to be trusted, or with care --


def blurred(folder: Path) -> Path:
    """The test was taken out of focus."""

    def picture(name: str, split: str, random: Random) -> Image.Image:
        drawn = plain(name, split, random)
        return drawn.filter(ImageFilter.GaussianBlur(14)) if split == "test" else drawn

    return write(folder, picture)


def recoloured(folder: Path) -> Path:
    """In train every class has a colour of its own; in the test any has any."""
    classes = ("discs", "squares", "crosses")

    def picture(name: str, split: str, random: Random) -> Image.Image:
        code = classes.index(name) if split == "train" else int(random.integers(3))
        return in_colour(name, INK[code], random)

    return write(folder, picture, classes)


def in_colour(name: str, ink: tuple[int, int, int], random: Random) -> Image.Image:
    """A small shape of one colour on a ground of nearly the same."""
    ground = tuple((3 * value + 180) // 4 for value in ink)
    image = Image.new("RGB", (96, 96), ground)
    left, top, side = *random.integers(4, 50, 2).tolist(), int(random.integers(28, 40))
    SHAPES[name](ImageDraw.Draw(image), [left, top, left + side, top + side], ink)
    noise = random.normal(0, 10, (96, 96, 3))
    return Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))


def from_another_source(folder: Path) -> Path:
    """Train are drawings on an even ground, the test thin outlines on a busy one."""

    def picture(name: str, split: str, random: Random) -> Image.Image:
        drawn = draw_photo(name, random)
        if split == "train":
            return drawn
        edges = ImageOps.invert(drawn.convert("L").filter(ImageFilter.FIND_EDGES))
        size = (drawn.height // 6, drawn.width // 6, 3)
        busy = Image.fromarray(random.integers(0, 255, size, dtype=np.uint8).astype(np.uint8))
        return Image.blend(edges.convert("RGB"), busy.resize(drawn.size), 0.8)

    return write(folder, picture)


def leaking(folder: Path) -> Path:
    """Half of the test are train images, saved again."""
    write(folder, plain)
    for room in (folder / "train").iterdir():
        for i, file in enumerate(sorted(room.iterdir())[:15]):
            to = folder / "test" / room.name / f"{i:03d}.jpg"
            Image.open(file).save(to, quality=60)
    return folder


def tiny(folder: Path) -> Path:
    """A class of which four images are tested."""
    write(folder, plain, ("discs", "squares"))
    return write(folder, plain, ("stripes",), {"train": 12, "test": 4})


def mislabelled(folder: Path) -> Path:
    """A third of all labels, of train and test alike, are another class's."""
    classes = ("discs", "squares", "stripes")

    def picture(name: str, split: str, random: Random) -> Image.Image:
        others = [other for other in classes if other != name]
        is_wrong = random.random() < 1 / 3
        return plain(str(random.choice(others)) if is_wrong else name, split, random)

    return write(folder, picture, classes)


def guessed(folder: Path) -> Path:
    """Labels that have nothing to do with the pictures."""
    shapes = ("discs", "squares", "stripes")

    def picture(name: str, split: str, random: Random) -> Image.Image:
        return plain(shapes[int(random.integers(3))], split, random)

    return write(folder, picture, ("ants", "bees"))


# -- Sound --


def shapes(folder: Path) -> Path:
    """Three shapes, of any colour, place and size."""
    return write(folder, plain)


def two_shapes(folder: Path) -> Path:
    """As many images as ants and bees have: 153 in the test."""
    write(folder, plain, ("triangles",), {"train": 60, "test": 70})
    return write(folder, plain, ("crosses",), {"train": 60, "test": 83})


def undivided(folder: Path) -> Path:
    """Without splits: a fifth is set aside."""
    return write(folder, plain, ("discs", "stripes"), {"": 150})


def digits(folder: Path) -> Path:
    """Handwritten digits, four of them, on paper of any colour."""
    from sklearn.datasets import load_digits

    found = load_digits()
    wanted = ("0", "1", "4", "6")
    images = {name: iter(found.images[found.target == int(name)]) for name in wanted}

    def picture(name: str, split: str, random: Random) -> Image.Image:
        ink = Image.fromarray((next(images[name]) * (255 / 16)).astype(np.uint8))
        paper = Image.fromarray(random.integers(120, 255, (4, 4, 3)).astype(np.uint8))
        drawn = paper.resize((96, 96), Image.Resampling.BICUBIC)
        drawn.paste((20, 20, 60), mask=ink.resize((96, 96), Image.Resampling.BICUBIC))
        return drawn

    return write(folder, picture, wanted, {"train": 60, "test": 40})


def uneven(folder: Path) -> Path:
    """One class has twice as many images as the other, in both splits."""
    write(folder, plain, ("stripes",), {"train": 60, "test": 60})
    return write(folder, plain, ("squares",), {"train": 30, "test": 30})


UNSOUND = (blurred, recoloured, from_another_source, leaking, tiny, mislabelled, guessed)
SOUND = (shapes, two_shapes, undivided, digits, uneven)
