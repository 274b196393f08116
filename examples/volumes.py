"""A volume: balls and cubes in noise, with the worst rotation, shift and scale by half a voxel."""

import torch
from torch import nn

import unshaken
from unshaken import fields


def volumes(count: int, seed: int, size: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    """``(N, 1, size, size, size)`` and labels: 0 a ball, 1 a cube, of about the same volume."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(2, (count,), generator=generator)
    center = size / 2 - 0.5 + 2 * torch.rand(count, 3, 1, 1, 1, generator=generator) - 1
    axes = torch.meshgrid(*[torch.arange(size) - 0.0] * 3, indexing="ij")
    offset = torch.stack(axes) - center
    ball = offset.square().sum(1).sqrt() < 4.0
    cube = offset.abs().amax(1) < 3.2
    x = torch.where(y[:, None, None, None] == 0, ball, cube).float().unsqueeze(1)
    return x + 0.5 * torch.randn(x.shape, generator=generator), y


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv3d(1, 8, 3, padding=1),
        nn.BatchNorm3d(8),
        nn.LeakyReLU(0.1),
        nn.MaxPool3d(2),
        nn.Conv3d(8, 16, 3, padding=1),
        nn.BatchNorm3d(16),
        nn.LeakyReLU(0.1),
        nn.AdaptiveAvgPool3d(1),
        nn.Flatten(),
        nn.Linear(16, 2),
    )


def main(steps: int = 60) -> float:
    torch.manual_seed(0)
    x, y = volumes(128, 0)
    model = network()
    movement = unshaken.MAT(fields.Rotation(), fields.Shift(), fields.Scale(), radius=0.5)
    objective = unshaken.Objective(model, movement)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(steps):
        rows = torch.randint(len(x), (32,))
        optimizer.zero_grad()
        objective(x[rows], y[rows]).backward()
        optimizer.step()
    test, labels = volumes(200, 1)
    with torch.no_grad():
        wrong = model.eval()(test).argmax(1) != labels
    return 100 * wrong.float().mean().item()


if __name__ == "__main__":
    print(f"{main():.1f} % test error")
