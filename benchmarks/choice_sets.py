"""Sets of pictures that are made or unpacked, the same bytes each time, for `choice.py`.

What they are for is variety: drawings, glyphs, textures, sounds, counts; 2 to 200 classes, 3 to
300 images a class, balanced and not. The photographs are those of ``../shared/data``.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Pictures = Iterator[tuple[str, Image.Image]]
EMOJI, EMOJI_GOOGLE = "emoji-datasource-16.0.0.tgz", "emoji-datasource-google-16.0.0.tgz"


def write(folder: Path, packages: Path, only: Collection[str] = ()) -> list[Path]:
    """One folder a set, ``<set>/<class>/<number>.png``; those that are there already are kept."""
    made = []
    for maker in MAKERS:
        place = folder / maker.__name__
        if only and maker.__name__ not in only:
            continue
        if not place.exists():
            try:
                pictures = maker(packages) if maker in FROM_PACKAGES else maker()
                _save(place.with_suffix(".part"), pictures)
            except FileNotFoundError as error:
                print(f"left out: {maker.__name__} needs {error.filename} (npm pack)")
                continue
            place.with_suffix(".part").rename(place)
        made.append(place)
    return made


def _save(place: Path, pictures: Pictures) -> None:
    for number, (label, picture) in enumerate(pictures):
        (place / label).mkdir(parents=True, exist_ok=True)
        picture.convert("RGB").save(place / label / f"{number:05d}.png")


def digits() -> Pictures:
    """Handwritten digits of 8 x 8 pixels, all that there are of scikit-learn's first 900."""
    from sklearn.datasets import load_digits

    found = load_digits()
    for picture, label in zip(found.images[:900], found.target, strict=False):
        pixels = Image.fromarray(255 - (picture * 15.9).astype(np.uint8))
        yield str(label), pixels.resize((96, 96), Image.Resampling.BICUBIC)


def fonts() -> Pictures:
    """Which font a word is set in."""
    rng = np.random.default_rng(1)
    for path in _fonts():
        for _ in range(24):
            word = "".join(rng.choice(list("abdefghijklmnoprstuwxyz"), 6)).capitalize()
            yield path.stem, _written(word, path, 40, rng, size=(224, 96))


def letters() -> Pictures:
    """Which of 52 letters, in any font, turned a little and blurred."""
    rng = np.random.default_rng(2)
    for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz":
        for path in rng.choice(np.array(_fonts(), object), 16, replace=False):
            picture = _written(letter, path, 64, rng, size=(96, 96))
            label = f"{'upper' if letter.isupper() else 'lower'}_{letter}"
            yield label, picture.rotate(float(rng.normal(0, 12)), fillcolor="white")


def symbols() -> Pictures:
    """Which of 200 symbols of one font, five times each: few images of many classes."""
    rng = np.random.default_rng(3)
    path = next(path for path in _fonts() if path.stem == "DejaVuSans")
    for code in range(0x2600, 0x2600 + 200):
        for _ in range(5):
            picture = _written(chr(code), path, 72, rng, size=(112, 112))
            picture = picture.rotate(float(rng.normal(0, 15)), fillcolor="white")
            yield f"{code:x}", picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0, 2))))


def shapes() -> Pictures:
    """Regular polygons of 3 to 8 corners, stars, circles, rings: any size, colour, place."""
    rng = np.random.default_rng(4)
    for kind in ("3", "4", "5", "6", "7", "8", "star", "circle", "ring"):
        for _ in range(45):
            yield f"shape_{kind}", _shape(kind, rng)


def counts() -> Pictures:
    """How many discs, 1 to 9."""
    rng = np.random.default_rng(5)
    for n in range(1, 10):
        for _ in range(40):
            picture = Image.new("RGB", (160, 160), _colour(rng, 150, 256))
            draw = ImageDraw.Draw(picture)
            places: list[np.ndarray] = []
            while len(places) < n:
                place = rng.uniform(18, 142, 2)
                if all(np.hypot(*(place - other)) > 32 for other in places):
                    places.append(place)
                    radius = rng.uniform(7, 14)
                    draw.ellipse([*(place - radius), *(place + radius)], fill=_colour(rng, 0, 140))
            yield str(n), picture


def textures() -> Pictures:
    """Filtered noise whose classes differ by slope, direction and grain only."""
    rng = np.random.default_rng(6)
    fy, fx = np.meshgrid(np.fft.fftfreq(144), np.fft.rfftfreq(144), indexing="ij")
    radius, angle = np.hypot(fx, fy) + 1e-3, np.arctan2(fy, fx)
    for slope in (0.8, 1.1, 1.4):
        for direction in (0.0, 0.6, 1.2):
            for wave in (0.0, 0.12):
                for _ in range(26):
                    turn = direction + rng.normal(0, 0.12)
                    power = radius**-slope * np.exp(1.2 * np.cos(2 * (angle - turn)))
                    power = power * (1 + 6 * np.exp(-(((radius - wave) / 0.03) ** 2)) * (wave > 0))
                    noise = np.fft.rfft2(rng.standard_normal((144, 144)))
                    field = np.fft.irfft2(noise * power, s=(144, 144))
                    field = (field - field.mean()) / field.std()
                    grey = np.clip(128 + rng.uniform(30, 60) * field, 0, 255).astype(np.uint8)
                    yield f"t{slope}_{direction}_{wave}", Image.fromarray(grey)


def sounds() -> Pictures:
    """Spectrograms of eight kinds of sound in noise, three times as many of some as of others."""
    rng = np.random.default_rng(7)
    t = np.arange(16_384) / 16_000
    kinds: dict[str, Callable[[float], np.ndarray]] = {
        "tone": lambda f: np.sin(2 * np.pi * f * t),
        "rising": lambda f: np.sin(2 * np.pi * (f * t + 900 * t**2)),
        "falling": lambda f: np.sin(2 * np.pi * ((f + 1_900) * t - 900 * t**2)),
        "vibrato": lambda f: np.sin(2 * np.pi * f * t + 18 * np.sin(2 * np.pi * 6 * t)),
        "beats": lambda f: np.sin(2 * np.pi * f * t) * (1 + np.sin(2 * np.pi * 9 * t)),
        "harmonics": lambda f: sum(np.sin(np.pi * k * f * t) / k for k in range(1, 9)),
        "clicks": lambda f: 8.0 * (np.sin(2 * np.pi * (f / 120) * t) > 0.995),
        "noise": lambda f: 0.0 * t,
    }
    for place, (kind, wave) in enumerate(kinds.items()):
        for _ in range(75 if place % 2 else 25):
            sound = wave(float(rng.uniform(400, 2_400))) * rng.uniform(0.15, 0.7)
            frames = np.lib.stride_tricks.sliding_window_view(
                sound + rng.standard_normal(len(t)), 512
            )[::128]
            power = np.log(np.abs(np.fft.rfft(frames * np.hanning(512), axis=1)) ** 2 + 1e-3)
            grey = np.clip((power.T[::-1] + 2) * 24, 0, 255).astype(np.uint8)
            yield kind, Image.fromarray(grey).resize((160, 160))


def scratches() -> Pictures:
    """Plates with a faint scratch (40) and without (320): two classes, one of them rare."""
    rng = np.random.default_rng(8)
    for number in range(360):
        grain = rng.normal(0, 1, (160, 160)).cumsum(axis=1)
        grain -= grain.mean(axis=1, keepdims=True)
        picture = Image.fromarray(np.clip(140 + 2.5 * grain, 0, 255).astype(np.uint8))
        if number < 40:
            start = rng.uniform(30, 130, 2)
            turn, length = rng.uniform(0, np.pi), rng.uniform(25, 60)
            end = start + length * np.array([np.cos(turn), np.sin(turn)])
            ImageDraw.Draw(picture).line([*start, *end], fill=int(rng.uniform(190, 235)), width=2)
        picture = picture.filter(ImageFilter.GaussianBlur(0.8))
        yield "scratched" if number < 40 else "whole", picture


def gestures() -> Pictures:
    """Drawn by one line: loops, waves, spirals, zigzags of two handednesses; 12 images each."""
    rng = np.random.default_rng(9)
    s = np.linspace(0, 1, 200)
    for kind in ("loop", "wave", "spiral", "zigzag", "arc", "hook"):
        for hand in (1, -1):
            for _ in range(12):
                turn, n = rng.normal(0, 0.25), rng.uniform(2.2, 3.4)
                x, y = {
                    "loop": (s + 0.25 * np.cos(2 * np.pi * s), 0.4 * np.sin(2 * np.pi * s)),
                    "wave": (s, 0.2 * np.sin(2 * np.pi * n * s)),
                    "spiral": (s * np.cos(2 * np.pi * n * s), s * np.sin(2 * np.pi * n * s)),
                    "zigzag": (s, 0.3 * np.abs((n * s) % 2 - 1) + 0.2 * s),
                    "arc": (np.cos(np.pi * s), s**2),
                    "hook": (np.minimum(s, 0.7), np.maximum(s - 0.7, 0) * 1.6 - 0.3 * s),
                }[kind]
                line = np.stack([x, hand * y]) + 0.01 * rng.standard_normal((2, 200)).cumsum(1) / 4
                line = (
                    np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ line
                )
                line -= line.mean(axis=1, keepdims=True)
                line = 80 + 60 * line / np.abs(line).max() * rng.uniform(0.7, 1)
                picture = Image.new("RGB", (160, 160), "white")
                draw = ImageDraw.Draw(picture)
                draw.line([*map(tuple, line.T)], fill=_colour(rng, 0, 120), width=3)
                yield f"{kind}_{'a' if hand > 0 else 'b'}", picture


def emoji(packages: Path) -> Pictures:
    """Kinds of emoji (Google's drawings): some 95 classes of 3 to 60 pictures."""
    with tarfile.open(packages / EMOJI_GOOGLE) as pack:
        known = json.load(pack.extractfile("package/emoji.json"))  # type: ignore[arg-type]
        kinds = [entry["subcategory"] for entry in known]
        for entry in known:
            kind = entry["subcategory"]
            if not entry["has_img_google"] or kinds.count(kind) < 5 or kind == "country-flag":
                continue
            name = f"package/img/google/64/{entry['image']}"
            yield kind, _on_white(Image.open(io.BytesIO(pack.extractfile(name).read())))  # type: ignore[union-attr]


def drawers(packages: Path) -> Pictures:
    """Which of 200 emoji, drawn by four houses: four pictures of many classes."""
    with tarfile.open(packages / EMOJI) as pack:
        known = json.load(pack.extractfile("package/emoji.json"))  # type: ignore[arg-type]
        houses = ("apple", "facebook", "google", "twitter")
        whole = [e for e in known if all(e[f"has_img_{house}"] for house in houses)]
        picked = np.random.default_rng(10).permutation(len(whole))[:200]
        for house in houses:
            sheet = Image.open(
                io.BytesIO(pack.extractfile(f"package/img/{house}/sheets/32.png").read())  # type: ignore[union-attr]
            ).convert("RGBA")
            for place in picked:
                left, top = whole[place]["sheet_x"] * 34 + 1, whole[place]["sheet_y"] * 34 + 1
                tile = sheet.crop((left, top, left + 32, top + 32))
                yield whole[place]["unified"], _on_white(tile.resize((96, 96), Image.BICUBIC))


MAKERS = (
    digits, fonts, letters, symbols, shapes, counts, textures, sounds, scratches, gestures,
    emoji, drawers,
)  # fmt: skip
FROM_PACKAGES = (emoji, drawers)


def _fonts() -> list[Path]:
    """DejaVu and STIX, which matplotlib brings."""
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts/ttf"
    return sorted(p for p in folder.glob("*.ttf") if p.stem.startswith(("DejaVu", "STIXGen", "cm")))


def _written(text: str, path: Path, px: int, rng: np.random.Generator, size: tuple[int, int]):
    picture = Image.new("RGB", size, "white")
    font = ImageFont.truetype(str(path), int(px * rng.uniform(0.75, 1.1)))
    x, y = size[0] / 2 + rng.normal(0, 4), size[1] / 2 + rng.normal(0, 4)
    ImageDraw.Draw(picture).text((x, y), text, _colour(rng, 0, 110), font, anchor="mm")
    return picture


def _shape(kind: str, rng: np.random.Generator) -> Image.Image:
    picture = Image.new("RGB", (160, 160), _colour(rng, 0, 256))
    draw, fill = ImageDraw.Draw(picture), _colour(rng, 0, 256)
    centre, radius, turn = rng.uniform(60, 100, 2), rng.uniform(25, 50), rng.uniform(0, 2 * np.pi)
    if kind in ("circle", "ring"):
        draw.ellipse([*(centre - radius), *(centre + radius)], fill=fill)
        if kind == "ring":
            inner = radius * rng.uniform(0.4, 0.8)
            draw.ellipse([*(centre - inner), *(centre + inner)], fill=_colour(rng, 0, 256))
    else:
        n = 10 if kind == "star" else int(kind)
        angles = turn + 2 * np.pi * np.arange(n) / n
        radii = np.where(np.arange(n) % 2, radius * 0.45, radius) if kind == "star" else radius
        corners = centre[:, None] + radii * np.stack([np.cos(angles), np.sin(angles)])
        draw.polygon([*map(tuple, corners.T)], fill=fill)
    noise = rng.normal(0, 12, (160, 160, 3))
    return Image.fromarray(np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8))


def _colour(rng: np.random.Generator, low: int, high: int) -> tuple[int, int, int]:
    red, green, blue = rng.integers(low, high, 3)
    return int(red), int(green), int(blue)


def _on_white(picture: Image.Image) -> Image.Image:
    picture = picture.convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture)
