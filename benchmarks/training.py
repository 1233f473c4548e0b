"""An epoch of each method beside the plain loop that does the same work, on ants and bees.

    python benchmarks/training.py [--rounds 3] [--only ResNet-18]

The plain loop is the tutorials': PyTorch in fp32, batches of 4, pictures decoded and augmented in
the same process; frozen layers are run again for every picture in every epoch. Only training
passes are timed, no evaluation and no start-up. Runs are interleaved.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from statistics import median

from measure import PYTHON, REGRAFT, SHARED, fresh, last_json, needs_shared, timed

PLAIN = """
import json, sys, time
import torch
from torch import nn
from torchvision import datasets, transforms
from regraft.backbones import catalog, network
data, backbone, first = sys.argv[1:4]
loaded = network.load(catalog.resolve(backbone), offline=True)
net = loaded.network.requires_grad_(True)
if first == "head":
    net.requires_grad_(False)
elif first != "all":
    for name, parameter in net.named_parameters():
        if name.startswith(first):
            break
        parameter.requires_grad_(False)
net.reset_classifier(2)
views = transforms.Compose([transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(),
                            transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)])
images = datasets.ImageFolder(data, views)
loader = torch.utils.data.DataLoader(images, batch_size=4, shuffle=True)
optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], 1e-3, momentum=0.9)
net.train()
start = time.perf_counter()
for x, y in loader:
    loss = nn.functional.cross_entropy(net(x), y)
    optimizer.zero_grad(); loss.backward(); optimizer.step()
print(json.dumps({"seconds": time.perf_counter() - start, "images": len(images)}))
"""


def plain(backbone: str, first: str) -> float:
    """Images per second of the plain loop in one epoch."""
    done = subprocess.run(
        [PYTHON, "-W", "ignore", "-c", PLAIN, str(DATA / "train"), backbone, first],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return float(found["images"] / found["seconds"])


def regraft(*options: str) -> float:
    """Images per second of the best epoch but the first (which warms memory up)."""
    run = timed([*REGRAFT, "train", DATA, "--json", *options], cache=CACHE, cwd=fresh())
    epochs = last_json(run["out"])["training"]["epochs"]
    return float(median(epoch["images_per_second"] for epoch in epochs[1:]))


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--only", default="", metavar="TEXT", help="pairs whose name has it")
args = parser.parse_args()
needs_shared()
DATA, CACHE = SHARED / "data/hymenoptera_data", fresh()

PAIRS = {
    "head, tutorial recipe": (
        ("default", "head"), ("--method", "head", "--recipe", "tutorial", "--epochs", "4")
    ),
    "partial from blocks.6": (
        ("default", "blocks.6"),
        ("--method", "partial", "--split-point", "blocks.6", "--epochs", "4", "--views", "2"),
    ),
    "full, 224 px": (("default", "all"), ("--method", "full", "--epochs", "3")),
    "full, 224 px, ResNet-18": (
        ("random:resnet18", "all"),
        ("--method", "full", "--epochs", "3", "--backbone", "random:resnet18"),
    ),
}  # fmt: skip
for name, (theirs, ours) in PAIRS.items():
    if args.only not in name:
        continue
    regraft(*ours)  # engines and activations are there afterwards
    rates = [(plain(*theirs), regraft(*ours)) for _ in range(args.rounds)]
    slow, fast = median(a for a, _ in rates), median(b for _, b in rates)
    ratios = sorted(b / a for a, b in rates)
    print(
        f"{name}: plain loop {slow:.1f} images/s, Regraft {fast:.1f}; ratio {median(ratios):.1f} "
        f"({ratios[0]:.1f} to {ratios[-1]:.1f}, n = {len(ratios)})",
        flush=True,
    )
sys.exit(0)
