"""The presets of augmentation: what each is for, and how it differs from the whole picture."""

from __future__ import annotations

from typing import Any

# What each preset is for, and how it differs from showing the whole picture.
PRESETS: dict[str, tuple[str, dict[str, Any]]] = {
    "none": (
        "the evaluation view: the centre of the picture, the same every time",
        {},
    ),
    "light": (
        "for fine-tuning on a few hundred to some thousand photographs: half of the picture or "
        "more, mirrored half of the time, light and colour a little different",
        {
            "scale": (0.5, 1.0),
            "ratio": (0.8, 1.25),
            "horizontal_flip": 0.5,
            "brightness": 0.2,
            "contrast": 0.2,
            "saturation": 0.2,
        },
    ),
    "standard": (
        "as the tutorials and most ImageNet recipes: any part from 8% of the area, squeezed by up "
        "to 4:3, mirrored half of the time",
        {"scale": (0.08, 1.0), "ratio": (3 / 4, 4 / 3), "horizontal_flip": 0.5},
    ),
    "strong": (
        "for long training: the standard, then one operation of TrivialAugment at a random "
        "strength, and a quarter of the views with a part replaced by noise",
        {
            "scale": (0.08, 1.0),
            "ratio": (3 / 4, 4 / 3),
            "horizontal_flip": 0.5,
            "trivial_augment": True,
            "erase": 0.25,
        },
    ),
    "orientation-free": (
        "for pictures without an up and down (from the air, through a microscope): any quarter "
        "turn, mirrored both ways, up to 15 degrees more, most of the picture, light a little "
        "different",
        {
            "scale": (0.6, 1.0),
            "ratio": (0.85, 1 / 0.85),
            "degrees": 15.0,
            "horizontal_flip": 0.5,
            "vertical_flip": 0.5,
            "quarter_turns": True,
            "brightness": 0.2,
            "contrast": 0.2,
            "saturation": 0.1,
        },
    ),
    "upright": (
        "for signs, digits and text, which a mirror makes into something else: never mirrored, up "
        "to 10 degrees turned, a little moved, squeezed and enlarged, light different",
        {
            "scale": (0.75, 1.0),
            "ratio": (0.9, 1 / 0.9),
            "degrees": 10.0,
            "brightness": 0.3,
            "contrast": 0.3,
        },
    ),
}
