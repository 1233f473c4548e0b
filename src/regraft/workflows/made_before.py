"""What a run would find made already: the pictures and views that it learns from, or all of it."""

from __future__ import annotations

import os
from dataclasses import replace

from regraft.choosing.past import Past
from regraft.machine import cache
from regraft.record.configuration import RunConfig
from regraft.training.methods import METHODS


def is_made(config: RunConfig, n_images: int) -> bool:
    """Whether what such a run keeps on disk was made, and is still there."""
    if not METHODS[config.method].trains:
        return True
    if _of_pictures(config, n_images) not in Past.read().made:
        return False
    kind = "activations" if METHODS[config.method].has_views else "pixels"
    return cache.folder_of(kind).is_dir() and any(cache.folder_of(kind).iterdir())


def is_repeated(config: RunConfig, n_images: int) -> bool:
    """Whether this very training was made before, and its engine is still there."""
    is_known = _of_training(config, n_images) in Past.read().made
    return is_known and is_made(config, n_images) and cache.folder_of("engines").is_dir()


def note(past: Past, config: RunConfig, n_images: int) -> None:
    """A run that trained, and left both."""
    past.note_made(_of_pictures(config, n_images))
    past.note_made(_of_training(config, n_images))


def _of_pictures(config: RunConfig, n_images: int) -> str:
    """Of what a run keeps, whatever its number of epochs."""
    training = {k: v for k, v in (config.training or {}).items() if k != "epochs"} or None
    one = replace(config, data=os.path.realpath(config.data), training=training)
    return f"{one.digest} {n_images}"


def _of_training(config: RunConfig, n_images: int) -> str:
    one = replace(config, data=os.path.realpath(config.data))
    return f"{one.digest} {n_images} repeated"
