"""Pictures that show nothing: noise, waves, checks and clouds, the same ones on every machine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regraft.images.pictures import InMemory

N_PICTURES = 24
# Small, so that they cost next to nothing; what an engine is shown is larger.
SIDE_PX = 96


def pictures() -> list[InMemory]:
    """What no classifier of photographs has a class for, as tables of images take it.

    Examples
    --------
    >>> found = pictures()
    >>> len(found), found[0].picture.shape, found[0].picture.dtype.name
    (24, (96, 96, 3), 'uint8')
    """
    rng = np.random.default_rng(0)
    kinds = (_noise, _waves, _checks, _clouds)
    return [InMemory(kinds[n % len(kinds)](rng), n) for n in range(N_PICTURES)]


def _noise(rng: np.random.Generator) -> NDArray[np.uint8]:
    return rng.integers(0, 256, (SIDE_PX, SIDE_PX, 3), np.uint8)


def _waves(rng: np.random.Generator) -> NDArray[np.uint8]:
    rows, columns = np.mgrid[:SIDE_PX, :SIDE_PX]
    wave = np.sin(columns * rng.uniform(0.1, 1.5) + rows * rng.uniform(0, 1))
    return _inked(127 + 120 * wave, rng)


def _checks(rng: np.random.Generator) -> NDArray[np.uint8]:
    rows, columns = np.mgrid[:SIDE_PX, :SIDE_PX] // rng.integers(3, 20)
    return _inked((rows + columns) % 2 * 255, rng)


def _clouds(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Noise that was made smooth: each frequency as strong as its wavelength is long."""
    frequency = np.hypot(np.fft.fftfreq(SIDE_PX)[:, None], np.fft.rfftfreq(SIDE_PX))
    frequency[0, 0] = np.inf
    waves = np.fft.rfft2(rng.standard_normal((SIDE_PX, SIDE_PX))) / frequency
    cloud = np.fft.irfft2(waves, (SIDE_PX, SIDE_PX))
    return _inked(127 + 60 * cloud / cloud.std(), rng)


def _inked(grey: NDArray[np.floating | np.integer], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A grey picture in a colour by chance."""
    coloured = grey[..., None] * rng.uniform(0.2, 1, 3)
    found: NDArray[np.uint8] = np.clip(coloured, 0, 255).astype(np.uint8)
    return found
