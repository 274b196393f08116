"""What a quick audit of a large network costs: ResNet-50 on 500 images of 224 x 224.

    UNSHAKEN_DATA=/path/to/data OMP_NUM_THREADS=1 python benchmarks/large_audit.py [--examples N]

The cost of an audit depends on the network's size, and a little on how many answers change. The
images are CIFAR-10's test images, enlarged. The network is ResNet-50 (He et al. 2015; stride in the
3 x 3 convolutions) as it is initialized; batch norm has the statistics of 64 training images, and
a linear read-out fitted by ridge regression to 512 of them gives answers that differ.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import unshaken
from unshaken.comparison.environment import environment
from unshaken.comparison.folder import write_json
from unshaken.data import load

PATH = Path(__file__).parent / "results" / "large_audit.json"
SIZE, BATCH, SETTLE, FIT, RIDGE = 224, 16, 64, 512, 1.0


class Bottleneck(nn.Module):
    """Three convolutions beside a short cut; the output has four times ``width`` channels."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        out = 4 * width
        self.body = nn.Sequential(
            *conv(channels, width, 1), nn.ReLU(), *conv(width, width, 3, stride), nn.ReLU()
        )
        self.last = nn.Sequential(*conv(width, out, 1))
        same = channels == out and stride == 1
        self.short = nn.Identity() if same else nn.Sequential(*conv(channels, out, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.last(self.body(x)) + self.short(x))


def conv(channels: int, out: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(channels, out, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(out),
    ]


def resnet_50(classes: int) -> nn.Sequential:
    layers: list[nn.Module] = [*conv(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    channels = 64
    for width, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for k in range(count):
            layers.append(Bottleneck(channels, width, stride if k == 0 else 1))
            channels = 4 * width
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]
    return nn.Sequential(*layers, *head)


def enlarged(x: Tensor) -> Tensor:
    return F.interpolate(x, size=(SIZE, SIZE), mode="bilinear")


@torch.no_grad()
def settle(model: nn.Sequential, x: Tensor, y: Tensor, classes: int) -> None:
    """Give batch norm its statistics and fit the read-out."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # a plain mean over the batches
    model.train()
    for part in x[:SETTLE].split(BATCH):
        model[:-1](enlarged(part))
    model.eval()
    h = torch.cat([model[:-1](enlarged(part)) for part in x.split(BATCH)])
    centre, goal = h.mean(0), F.one_hot(y, classes).float()
    kernel = (h - centre) @ (h - centre).T
    kernel.diagonal().add_(RIDGE * kernel.diagonal().mean())
    weight = (h - centre).T @ torch.linalg.solve(kernel, goal - goal.mean(0))
    readout = model[-1]
    assert isinstance(readout, nn.Linear)
    readout.weight.copy_(weight.T)
    readout.bias.copy_(goal.mean(0) - centre @ weight)


def megabytes() -> float:
    """The most memory that this process has held so far."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def measure(examples: int) -> dict[str, Any]:
    torch.manual_seed(0)
    data = load("cifar10")
    model = resnet_50(data.classes)
    chosen = torch.randperm(len(data.x_train))[:FIT]
    settle(model, data.x_train[chosen], data.y_train[chosen], data.classes)
    x, y = enlarged(data.x_test[:examples]), data.y_test[:examples]
    passed = 0

    def count(_: nn.Module, inputs: tuple[Tensor]) -> None:
        nonlocal passed
        passed += len(inputs[0])

    model.register_forward_pre_hook(count)
    before, begin, cpu = megabytes(), time.monotonic(), time.process_time()

    def told(what: str, done: int, total: int) -> None:
        spent = time.process_time() - cpu
        print(f"{what}: {done}/{total} examples, {spent:.0f} CPU-s", flush=True)

    found = unshaken.audit(model, (x, y), quick=True, batch_size=BATCH, progress=told)
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "examples": examples,
        "size": SIZE,
        "batch size": BATCH,
        "threads": torch.get_num_threads(),
        "seconds": time.monotonic() - begin,
        "CPU seconds": time.process_time() - cpu,
        "passes": passed / examples,
        "memory before, MB": before,
        "most memory, MB": megabytes(),
        "inputs, MB": x.numel() * x.element_size() / 2**20,
        "right, %": 100 * float((found.predictions == y).double().mean()),
        "curves": {
            name: {
                "unit": curve.unit,
                "degrees": curve.degrees,
                "worst": curve.worst,
                "random": curve.random,
                "unchanged, %": curve.unchanged,
            }
            for name, curve in found.curves.items()
        },
        "environment": environment(1, torch.get_num_threads()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--examples", type=int, default=500, help="how many images")
    parser.add_argument("--json", type=Path, default=PATH, help="where the result goes")
    options = parser.parse_args()
    result = measure(options.examples)
    write_json(options.json, result)
    print({k: v for k, v in result.items() if k not in ("curves", "environment")})


if __name__ == "__main__":
    main()
