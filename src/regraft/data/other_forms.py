"""Files that hold images in a form that is not read, and the way to one that is."""

from __future__ import annotations

import os
from collections.abc import Iterable

_ARRAYS = (
    "holds arrays and no image files: write each image to a file in the folder of its class, "
    "DATA/<class>/1.png (Image.fromarray(array).save(path))"
)
_VIDEO = (
    "is a video: write out some frames, ffmpeg -i FILE -r 1 DATA/<class>/FILE-%05d.jpg, and name "
    "those of one video as a group in a manifest"
)
_DOCUMENT = "is a document: write out the pictures in it, pdfimages -all FILE DATA/<class>/NAME"
_VOLUME = (
    "holds a volume: write its slices as pictures, and name those of one volume as a group in a "
    "manifest"
)
_MODEL = "is a model and holds no images"
_WAYS = {
    **dict.fromkeys((".7z", ".rar"), "is not unpacked here: unpack it, and give the folder"),
    **dict.fromkeys((".gz", ".bz2", ".xz"), "is packed: unpack it, and give what it holds"),
    **dict.fromkeys(
        """.mat .npz .npy .h5 .hdf5 .pkl .pickle .bin .tfrec .tfrecord .lmdb .mdb
        .rec""".split(),  # noqa: SIM905
        _ARRAYS,
    ),
    **dict.fromkeys(".avi .mp4 .mov .mkv .webm .mpg .mpeg .wmv .m4v".split(), _VIDEO),  # noqa: SIM905
    ".pdf": _DOCUMENT,
    **dict.fromkeys(".keras .tflite .pb .onnx .pt .pth .mlmodel".split(), _MODEL),  # noqa: SIM905
    ".parquet": "may list paths, or hold the images themselves: give it instead of the folder, and "
    "it is read, or the line is said that writes the images to files",
}


def way_from(path: str) -> str:
    """What a file is and what to do with it; '' if nothing is known of such files.

    Examples
    --------
    >>> way_from("photos.rar"), way_from("notes.md")
    ('is not unpacked here: unpack it, and give the folder', '')
    """
    name = os.path.basename(path).lower()
    if name.endswith("ubyte") or name.startswith(("data_batch", "test_batch")):
        return _ARRAYS  # MNIST's and CIFAR's own files
    if name.endswith(".nii.gz"):
        return _VOLUME
    return _WAYS.get(os.path.splitext(name)[1], "")


def may_hold_images(path: str) -> bool:
    """Whether a file that is no image holds what could be images: frames, slices, arrays.

    Not of forms in which models are kept as well, such as HDF5 and pickles.

    Examples
    --------
    >>> may_hold_images("ants/walk.MOV"), may_hold_images("notes.md")
    (True, False)
    """
    is_array = path.lower().endswith((".npy", ".npz", ".tfrec", ".tfrecord"))
    return is_array or way_from(path) in (_VIDEO, _DOCUMENT, _VOLUME)


def ways_from(paths: Iterable[str]) -> str:
    """The way from the first of some files of which one is known; '' if none is."""
    return next((f"{path!r} {way}" for path in paths if (way := way_from(path))), "")
