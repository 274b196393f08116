"""Segmentation: a class for each pixel, few labeled images, VAT on the unlabeled ones.

Outputs are ``(N, C, H, W)`` and labels ``(N, H, W)``; divergences average over positions. Movements
would have to move the labels too, so the perturbation here is additive noise. Pixels that nobody
labeled hold 255, as in many data sets.
"""

import torch
from torch import nn

import unshaken


def scenes(count: int, seed: int, size: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """A disk (class 1) and a bar (class 2) in noise; where both are there is no label."""
    generator = torch.Generator().manual_seed(seed)
    center = 3 + (size - 6) * torch.rand(count, 2, 1, 1, generator=generator)
    row = 2 + (size - 4) * torch.rand(count, 1, 1, generator=generator)
    down, right = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    bar = (down - row).abs() < 1.5
    disk = (down - center[:, 0]).square() + (right - center[:, 1]).square() < 12
    y = torch.where(disk, 1, torch.where(bar, 2, 0))
    shade = torch.tensor([0.0, 1.0, 0.6])[y].unsqueeze(1)
    x = shade + 0.4 * torch.randn(shade.shape, generator=generator)
    return x, torch.where(disk & bar, 255, y)


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 5, padding=2),
        nn.BatchNorm2d(16),
        nn.LeakyReLU(0.1),
        nn.Conv2d(16, 16, 5, padding=2),
        nn.BatchNorm2d(16),
        nn.LeakyReLU(0.1),
        nn.Conv2d(16, 3, 1),
    )


def main(steps: int = 100, radius: float = 2.0) -> float:
    torch.manual_seed(0)
    x, y = scenes(8, 0)
    unlabeled, _ = scenes(200, 1)
    criterion = nn.CrossEntropyLoss(ignore_index=255)
    objective = unshaken.Objective(network(), unshaken.VAT(radius=radius), criterion=criterion)
    optimizer = torch.optim.Adam(objective.parameters(), lr=5e-3)
    for _ in range(steps):
        u = unlabeled[torch.randint(len(unlabeled), (16,))]
        optimizer.zero_grad()
        objective(x, y, unlabeled=u).backward()
        optimizer.step()
    test, truth = scenes(100, 2)
    with torch.no_grad():
        wrong = objective.model.eval()(test).argmax(1) != truth
    wrong = wrong[truth != 255]
    return 100 * wrong.float().mean().item()


if __name__ == "__main__":
    print(f"{main():.2f} % of the test pixels are wrong")
