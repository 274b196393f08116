"""A network of timm, which knows nothing of unshaken: VAT and VMT on one clean pass."""

from collections.abc import Callable

import torch
from torch import nn

import unshaken
from unshaken import fields
from unshaken.data import load


def resnet(classes: int) -> nn.Module:
    """A small ResNet for gray images, not pretrained."""
    import timm

    return timm.create_model("resnet18", pretrained=False, num_classes=classes, in_chans=1)


def main(make: Callable[[int], nn.Module] = resnet, steps: int = 20) -> dict[str, float]:
    torch.manual_seed(0)
    data = load("digits")
    x, y = data.x_train[:256], data.y_train[:256]
    objective = unshaken.Objective(
        make(data.classes), unshaken.VAT(radius=0.5), unshaken.VMT(fields.Shift(), weight=0.1)
    )
    optimizer = torch.optim.Adam(objective.parameter_groups(lr=1e-3))
    first: dict[str, float] = {}
    for step in range(steps):
        rows = torch.arange(32 * step, 32 * (step + 1)) % len(x)
        optimizer.zero_grad()
        objective(x[rows], y[rows]).backward()
        optimizer.step()
        first = first or {f"first {k}": v.item() for k, v in objective.report.items()}
    return first | {f"last {k}": v.item() for k, v in objective.report.items()}


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name}: {value:.4g}")
