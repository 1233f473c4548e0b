"""What a network costs a bill: multiply-adds before and after each stage, and bytes for backward.

Those of the packaged backbones stand here (`tests/test_choosing.py` holds them against
`backbones/cost.py`), so that a bill needs no PyTorch; of other networks rough ones are taken from
their size, until this machine's own past runs say better.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from regraft.backbones import catalog
from regraft.features.engine import EngineInfo

# A convolutional network of ImageNet makes about 85 multiply-adds with each of its weights at 224
# pixels, and keeps about 4 bytes for the backward pass with each weight.
_MULTIPLY_ADDS_PER_WEIGHT, _KEPT_PER_WEIGHT, _USUAL_PX = 85, 17, 224


@dataclass(frozen=True)
class NetworkCost:
    """Of one picture at the network's own size.

    Attributes
    ----------
    input_px : int
    multiply_adds, n_parameters, kept_bytes : int
        `kept_bytes`: what the backward pass through all layers needs of the forward pass.
    before : mapping of str to int
        Multiply-adds before a stage.
    kept_from : mapping of str to int
        As `kept_bytes`, if layers from a stage on learn.
    """

    input_px: int
    multiply_adds: int
    n_parameters: int
    kept_bytes: int
    before: Mapping[str, int] = field(default_factory=dict)
    kept_from: Mapping[str, int] = field(default_factory=dict)

    def share_before(self, stage: str | None) -> float:
        """Of all multiply-adds; 0 where the stage is not known.

        Examples
        --------
        >>> round(PACKAGED["default"].share_before("blocks.5"), 2)
        0.63
        """
        return self.before.get(stage or "", 0) / max(1, self.multiply_adds)

    def area(self, side: int | None) -> float:
        """Of pictures of that side over the network's own.

        Examples
        --------
        >>> cost_of("default").area(112), cost_of("default").area(None)
        (0.25, 1.0)
        """
        return (side or self.input_px) ** 2 / self.input_px**2


PACKAGED = {
    "default": NetworkCost(
        224, 385_187_552, 4_652_008, 79_651_340,
        {"blocks.1": 20_873_216, "blocks.2": 75_815_936, "blocks.3": 113_748_992,
         "blocks.4": 157_260_992, "blocks.5": 243_268_928, "blocks.6": 334_427_744},
        {"blocks.1": 68_601_472, "blocks.2": 37_903_488, "blocks.3": 25_731_008,
         "blocks.4": 17_877_888, "blocks.5": 8_764_160, "blocks.6": 2_050_816},
    ),
    "lite1": NetworkCost(
        240, 600_185_232, 5_416_680, 119_614_540,
        {"blocks.1": 23_961_600, "blocks.2": 116_582_400, "blocks.3": 182_808_000,
         "blocks.4": 251_010_000, "blocks.5": 387_392_400, "blocks.6": 534_278_544},
        {"blocks.1": 106_931_008, "blocks.2": 58_562_944, "blocks.3": 39_129_856,
         "blocks.4": 27_377_856, "blocks.5": 13_078_336, "blocks.6": 2_669_056},
    ),
    "lite2": NetworkCost(
        260, 859_736_272, 6_092_072, 152_040_364,
        {"blocks.1": 28_121_600, "blocks.2": 136_822_400, "blocks.3": 238_770_512,
         "blocks.4": 346_586_912, "blocks.5": 547_564_448, "blocks.6": 764_441_840},
        {"blocks.1": 137_156_352, "blocks.2": 80_400_608, "blocks.3": 54_391_232,
         "blocks.4": 37_531_616, "blocks.5": 17_768_032, "blocks.6": 3_584_064},
    ),
}  # fmt: skip


def cost_of(backbone: str, info: EngineInfo | None = None, n_parameters: int = 0) -> NetworkCost:
    """Of a backbone by its name, or roughly by its size; of several, of all of them together.

    Parameters
    ----------
    info : EngineInfo, optional
        Of its engine, where it is built: says the size of its input.
    n_parameters : int
        Where it is known.
    """
    parts = catalog.names_in(backbone)
    if len(parts) > 1:
        return _together([cost_of(part) for part in parts])
    name = catalog.ALIASES.get(backbone, backbone)
    if name in PACKAGED:
        return PACKAGED[name]
    side = min(info.preprocess.input_px) if info else _USUAL_PX
    n_parameters = n_parameters or 25_000_000
    scale = (side / _USUAL_PX) ** 2
    return NetworkCost(
        side,
        round(_MULTIPLY_ADDS_PER_WEIGHT * scale * n_parameters),
        n_parameters,
        round(_KEPT_PER_WEIGHT * scale * n_parameters),
    )


def is_packaged(backbone: str) -> bool:
    """Whether the network, or each of several, comes along: its costs are known, and its engine is
    built without PyTorch.

    Examples
    --------
    >>> is_packaged("default"), is_packaged("default+lite2"), is_packaged("default+resnet18")
    (True, True, False)
    """
    return all(catalog.ALIASES.get(name, name) in PACKAGED for name in catalog.names_in(backbone))


def _together(costs: list[NetworkCost]) -> NetworkCost:
    return NetworkCost(
        max(cost.input_px for cost in costs),
        sum(cost.multiply_adds for cost in costs),
        sum(cost.n_parameters for cost in costs),
        sum(cost.kept_bytes for cost in costs),
    )
