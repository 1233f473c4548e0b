"""The demo's data: handwritten digits, which come along, as an image folder."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regraft.errors import UsageError

# (1797, 8, 8) from 0 to 16, and what each shows.
FILE = Path(__file__).with_name("digits.npz")
SIDE_PX = 64


def write_digits(folder: str | Path) -> Path:
    """Write 1,797 digits (8x8 grey, enlarged to 64x64 without smoothing) as PNG, a folder a class.

    Alpaydin and Kaynak (1998), Optical Recognition of Handwritten Digits, UCI, CC BY 4.0: the test
    part, as scikit-learn carries it (`load_digits`). Returns the folder of the images.
    """
    root = Path(folder) / "digits"
    if os.path.lexists(folder) and not Path(folder).is_dir():
        raise UsageError(f"{str(folder)!r} is a file, not a folder", cure="--folder OTHER")
    if root.exists() and not (root / "0").is_dir():
        raise UsageError(f"{str(root)!r} exists and is not the demo's", cure="--folder OTHER")
    with np.load(FILE, allow_pickle=False) as digits:
        images, labels = digits["images"], digits["labels"]
    try:
        _write(root, images, labels)
    except OSError as error:
        raise UsageError(
            f"the images cannot be written to {str(root)!r}: {error.strerror}",
            cure="--folder OTHER, a folder that can be made",
        ) from error
    return root


def _write(root: Path, images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
    from PIL import Image

    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        file = root / str(label) / f"{number:04d}.png"
        if file.exists():
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        grey = np.round(image * (255 / 16)).astype(np.uint8)
        Image.fromarray(grey).resize((SIDE_PX, SIDE_PX), Image.Resampling.NEAREST).save(file)
