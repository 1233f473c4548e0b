"""The demo's data: the handwritten digits that scikit-learn carries, as an image folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from regraft.errors import UsageError

SIDE_PX = 64


def write_digits(folder: str | Path) -> Path:
    """Write 1,797 digits (8x8 grey, enlarged to 64x64 without smoothing) as PNG, a folder a class.

    Alpaydin and Kaynak (1998), Optical Recognition of Handwritten Digits, UCI; scikit-learn
    carries the test part. Returns the folder of the images.
    """
    from PIL import Image
    from sklearn.datasets import load_digits

    root = Path(folder) / "digits"
    if root.exists() and not (root / "0").is_dir():
        raise UsageError(f"{str(root)!r} exists and is not the demo's", cure="--folder OTHER")
    digits = load_digits()
    for number, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        file = root / str(label) / f"{number:04d}.png"
        if file.exists():
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        grey = np.round(image * (255 / 16)).astype(np.uint8)
        Image.fromarray(grey).resize((SIDE_PX, SIDE_PX), Image.Resampling.NEAREST).save(file)
    return root
