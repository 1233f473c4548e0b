"""The resize of the pass: its cost, and how far pixels, features and answers are from timm's.

Photographs are those of a folder, 400 of them by default; needs timm, for its own transform.

    python benchmarks/resize.py ../shared/data/hymenoptera_data
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from timm.data import create_transform

from regraft.backbones import catalog
from regraft.features import engines
from regraft.features.engine import run_on_cores
from regraft.images import resize
from regraft.images.decode import decode
from regraft.images.geometry import Preprocess
from regraft.images.pictures import content_of, decoded_for

N_IMAGES = 400
BY = (resize.PILLOW, resize.FAST)


def main(folder: Path) -> None:
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    files = files[:: max(1, len(files) // N_IMAGES)][:N_IMAGES]
    built = engines.locate(catalog.resolve("default"))
    preprocess = built.info.preprocess
    pixels = [decoded_for(content_of(str(file)), preprocess).pixels for file in files]
    print(
        f"{len(files)} photographs of {folder.name}, {preprocess.interpolation}, to 224 of 256 px"
    )
    for by in BY * 2:
        resize.resizer = lambda by=by: by  # type: ignore[assignment]
        alone = core_ms(lambda: list(map(preprocess, pixels))) / len(pixels)
        print(f"{by:18} {alone:.2f} core-ms; on two threads {of_two(preprocess, pixels):.2f}x")

    shown = {by: shown_by(by, preprocess, files) for by in BY}
    shown["timm"] = np.stack([by_timm(preprocess, file) for file in files])
    X = {by: run_on_cores(built.engine(), found, batch_size=1) for by, found in shown.items()}
    classes = [file.parent.name for file in files]
    timms = left_out(X["timm"], classes)
    for by in BY:
        difference = np.abs(shown[by].astype(int) - shown["timm"])
        print(
            f"{by:18} from timm's: pixels {difference.mean():.2f} of 255 on average, at most "
            f"{difference.max()}; final features {relative(X[by], X['timm'], built.info):.4f} "
            f"of how much pictures differ; "
            f"right, left out, {left_out(X[by], classes):.4f} (timm's {timms:.4f})"
        )


def core_ms(do: Callable[[], Any]) -> float:
    start = time.thread_time()
    do()
    return 1000 * (time.thread_time() - start)


def of_two(preprocess: Preprocess, pixels: list[Any]) -> float:
    """How much faster two threads are: 2 if neither waits for Python's lock."""

    def wall(n_threads: int) -> float:
        parts = [pixels[i::n_threads] for i in range(n_threads)]
        threads = [
            threading.Thread(target=lambda part=part: list(map(preprocess, part))) for part in parts
        ]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.perf_counter() - start

    return wall(1) / wall(2)


def shown_by(by: str, preprocess: Preprocess, files: list[Path]) -> Any:
    resize.resizer = lambda: by  # type: ignore[assignment]
    return np.stack(
        [preprocess(decoded_for(content_of(str(file)), preprocess).pixels) for file in files]
    )


def by_timm(preprocess: Preprocess, file: Path) -> Any:
    """timm's evaluation transform of the picture, decoded whole."""
    transform = create_transform(
        (3, *preprocess.input_px), interpolation=preprocess.interpolation, crop_pct=0.875,
        normalize=False,
    )  # fmt: skip
    whole = Image.fromarray(decode(file.read_bytes()).pixels)
    return transform(whole).numpy().transpose(1, 2, 0)


def relative(found: Any, wanted: Any, info: Any) -> float:
    """Root mean square of the final features' difference, over their spread."""
    final = slice(info.taps[-1].start, info.taps[-1].stop)
    a, b = found[:, final], wanted[:, final]
    return float(np.sqrt(((a - b) ** 2).mean() / b.var(axis=0).mean()))


def left_out(X: Any, classes: list[str]) -> float:
    """Accuracy of ridge on final features, every picture left out in turn."""
    from sklearn.linear_model import RidgeClassifier
    from sklearn.model_selection import cross_val_predict

    rows = X[:, -1280:] / np.linalg.norm(X[:, -1280:], axis=1, keepdims=True)
    answers = cross_val_predict(RidgeClassifier(alpha=0.1), rows, classes, cv=20)
    return float(np.mean(answers == np.array(classes)))


if __name__ == "__main__":
    default = Path(__file__).resolve().parents[2] / "shared" / "data" / "hymenoptera_data"
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else default)
