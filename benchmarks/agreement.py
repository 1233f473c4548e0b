"""How far sound engines are from PyTorch, and planted faults, in both precisions.

    python benchmarks/agreement.py [NETWORK ...] [--faults]

Networks are timm's with random weights, but for `default`. An error is that of the worst tap, over
how much its pictures differ; in brackets the worst column (`features/agreement.py`). With
`--faults`, what the faults of tests/planted_faults.py reach instead.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from pathlib import Path

from measure import ROOT

sys.path.insert(0, str(ROOT / "tests"))
from planted_faults import FAULTS, compare, known_of, rows_in, sound, write_graph

NETWORKS = [
    "default", "test_resnet", "test_vit", "test_convnext", "test_efficientnet", "resnet18",
    "resnet50", "vgg11", "mobilenetv3_large_100", "mobilenetv4_conv_small", "mobilenetv2_100",
    "convnext_atto", "densenet121", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224",
    "vit_small_patch14_dinov2", "efficientnet_b0", "efficientnet_lite0", "regnety_002",
    "ghostnet_100", "mixer_s16_224", "repvgg_a0", "mobilevit_xxs", "inception_v3",
    "efficientnet_lite2",
]  # fmt: skip
PRECISIONS = ("fp32", "bf16")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--faults", action="store_true")
    given = parser.parse_args()
    warnings.simplefilter("ignore")  # of networks that timm built for training
    for name in given.networks:
        known = known_of(name if name == "default" else f"random:{name}")
        for fault, plant in (FAULTS if given.faults else {"": sound}).items():
            with tempfile.TemporaryDirectory() as folder:
                room = write_graph(known, plant(known), Path(folder))
                cells = [cell(known, room, precision) for precision in PRECISIONS]
            print("|", " | ".join([" ".join([name, fault]).strip(), *cells]), "|", flush=True)
        known_of.cache_clear()


def cell(known, room: Path, precision: str) -> str:
    found = compare(known, rows_in(precision, known, room), precision)
    refused = ", refused" if found.problem() else ""
    lost = ", lost" if found.lost else ""
    return f"{found.error:.1e} ({found.column_error:.1e}){lost}{refused}"


if __name__ == "__main__":
    main()
