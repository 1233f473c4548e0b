"""Whether a graph says of some pictures what PyTorch says of them, in full precision and bf16."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.features.agreement import Agreement, agreement
from regraft.features.engine import EngineInfo, Tap, run_on_cores
from regraft.features.openvino_engine import OpenVINOEngine


class DisagreementError(Exception):
    """The graph's numbers are not PyTorch's."""


class OnlyInFullPrecisionError(Exception):
    """The graph is PyTorch's, but what bf16 makes of it is not."""

    def __init__(self, reason: str, check: dict[str, Any]) -> None:
        super().__init__(reason)
        self.check = check


def check_graph(
    folder: Path,
    info: EngineInfo,
    columns: Sequence[Tap],
    pixels: NDArray[np.uint8],
    wanted: NDArray[np.float32],
) -> dict[str, Any]:
    """Whether the graph in `folder` says of these pictures what is wanted; how far it is from that.

    It runs in fp32 first, whatever the engine's precision: there a wrong weight, channel or tap
    stands out by a factor of a hundred, while bf16 would hide it in its rounding. What bf16 itself
    does wrong is large, and told as well.

    Returns
    -------
    dict
        `Agreement` as a dict, by precision.

    Raises
    ------
    DisagreementError, OnlyInFullPrecisionError
    """
    check = {"fp32": asdict(_agreement_in("fp32", folder, info, columns, pixels, wanted))}
    if info.precision != "fp32":
        check[info.precision] = in_own_precision(folder, info, columns, pixels, wanted, check)
    return check


def in_own_precision(
    folder: Path,
    info: EngineInfo,
    columns: Sequence[Tap],
    pixels: NDArray[np.uint8],
    wanted: NDArray[np.float32],
    check: dict[str, Any],
) -> dict[str, Any]:
    """The part of `check_graph` that less than full precision has to pass, after `check`."""
    try:
        return asdict(_agreement_in(info.precision, folder, info, columns, pixels, wanted))
    except Exception as error:  # a processor that cannot, or a kernel that is missing
        reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        raise OnlyInFullPrecisionError(reason[0][:160], check) from error


def features_in(
    precision: str, folder: Path, info: EngineInfo, pixels: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """What the graph in `folder` says of pictures in this arithmetic.

    Raises
    ------
    DisagreementError
        OpenVINO computes in another one on this processor.
    """
    # No blob is kept: it would not be found again once the folder has its name.
    engine = OpenVINOEngine(folder, replace(info, precision=precision), keeps_blob=False)
    if engine.precision != precision:
        raise DisagreementError(f"OpenVINO computes in {engine.precision} on this processor")
    return run_on_cores(engine, pixels, batch_size=1)


def _agreement_in(
    precision: str,
    folder: Path,
    info: EngineInfo,
    columns: Sequence[Tap],
    pixels: NDArray[np.uint8],
    wanted: NDArray[np.float32],
) -> Agreement:
    found = agreement(features_in(precision, folder, info, pixels), wanted, columns, precision)
    if problem := found.problem():
        raise DisagreementError(f"it disagrees with PyTorch in {precision}: {problem}")
    return found
