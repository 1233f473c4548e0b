"""The demo's data: the handwritten digits that scikit-learn carries, as an image folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from regraft.errors import UsageError

SIDE_PX = 64


def write_digits(folder: str | Path) -> Path:
    """Write 1,797 digits (8x8 grey, enlarged to 64x64 without smoothing) as PNG, a folder a class.

    Alpaydin and Kaynak (1998), Optical Recognition of Handwritten Digits, UCI; scikit-learn
    carries the test part. Returns the folder of the images.
    """
    from sklearn.datasets import load_digits

    root = Path(folder) / "digits"
    if os.path.lexists(folder) and not Path(folder).is_dir():
        raise UsageError(f"{str(folder)!r} is a file, not a folder", cure="--folder OTHER")
    if root.exists() and not (root / "0").is_dir():
        raise UsageError(f"{str(root)!r} exists and is not the demo's", cure="--folder OTHER")
    digits = load_digits()
    try:
        _write(root, digits)
    except OSError as error:
        raise UsageError(
            f"the images cannot be written to {str(root)!r}: {error.strerror}",
            cure="--folder OTHER, a folder that can be made",
        ) from error
    return root


def _write(root: Path, digits: Any) -> None:
    from PIL import Image

    for number, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        file = root / str(label) / f"{number:04d}.png"
        if file.exists():
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        grey = np.round(image * (255 / 16)).astype(np.uint8)
        Image.fromarray(grey).resize((SIDE_PX, SIDE_PX), Image.Resampling.NEAREST).save(file)
