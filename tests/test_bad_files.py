"""R1: every file of the battery has the expected outcome, and a rejected one says why."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bad_files import Case, make_battery
from regraft.errors import DecodeError
from regraft.images.decode import Decoded, decode
from regraft.images.geometry import Preprocess
from regraft.images.reading import read_file


@pytest.fixture(scope="module")
def battery(make_room: Callable[[str], Path]) -> list[Case]:
    return make_battery(make_room("battery"))


def outcome_of(path: Path) -> Decoded | DecodeError:
    try:
        return decode(read_file(path), min_side_px=384)
    except DecodeError as error:
        return error


def test_the_battery_has_at_least_sixty_files_of_different_names(battery: list[Case]) -> None:
    assert len({case.path for case in battery}) == len(battery) >= 60


def test_every_file_has_its_expected_outcome(battery: list[Case]) -> None:
    wrong = []
    for case in battery:
        result = outcome_of(case.path)
        as_expected = (
            result.rule != "" and result.cure != "" and case.reason_contains in result.rule
            if isinstance(result, DecodeError)
            else True
        )
        kind = "rejected" if isinstance(result, DecodeError) else "ok"
        if kind != case.outcome or not as_expected:
            wrong.append((case.name, case.outcome, case.reason_contains, result))
    assert wrong == []


def test_reasons_are_one_short_line(battery: list[Case]) -> None:
    for case in battery:
        if isinstance(result := outcome_of(case.path), DecodeError):
            assert len(result.rule.splitlines()) == 1, case.name
            assert len(result.rule) < 160, case.name


def test_every_accepted_file_passes_the_geometry(battery: list[Case]) -> None:
    preprocess = Preprocess()
    for case in battery:
        if isinstance(result := outcome_of(case.path), Decoded):
            assert result.pixels.dtype == np.uint8
            assert result.pixels.flags.c_contiguous
            assert preprocess(result.pixels).shape == (224, 224, 3), case.name


@pytest.mark.parametrize("n_bytes", [6, 8, 12, 20])
@pytest.mark.parametrize("kind", ["GIF", "BMP", "PNG", "TIFF", "WEBP", "PPM", "JPEG"])
def test_what_is_wrong_is_said_of_the_file_and_not_of_our_code(kind: str, n_bytes: int) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (9, 7), (200, 40, 90)).save(stream, kind)
    with pytest.raises(DecodeError) as caught:
        decode(stream.getvalue()[:n_bytes])
    for inner in ("unpack", "buffer", "index out of range", "NoneType", "attribute", "subscript"):
        assert inner not in caught.value.rule, caught.value.rule
