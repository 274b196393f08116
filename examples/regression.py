"""Regression: a squared error in place of the cross-entropy and of the KL divergence."""

import torch
from torch import nn

import unshaken
from unshaken.adversaries import PowerIteration
from unshaken.divergences import SquaredError
from unshaken.perturbations import Additive


def examples(count: int, seed: int, noise: float = 0.3) -> tuple[torch.Tensor, torch.Tensor]:
    """Ten inputs, of which two decide the answer ``(N, 1)``."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 10, generator=generator)
    y = torch.sin(2 * x[:, :1]) + x[:, 1:2]
    return x, y + noise * torch.randn(y.shape, generator=generator)


def main(steps: int = 200, weight: float = 3.0, seed: int = 0) -> float:
    torch.manual_seed(seed)
    x, y = examples(40, seed)
    unlabeled, _ = examples(1000, seed + 100)
    test, truth = examples(1000, seed + 200, noise=0.0)

    model = nn.Sequential(
        nn.Linear(10, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1)
    )
    smooth = unshaken.Regularizer(
        Additive(2), PowerIteration(radius=0.1), SquaredError(), weight, name="smooth"
    )
    terms = [smooth] if weight else []
    objective = unshaken.Objective(model, *terms, criterion=SquaredError(labeled=True))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(steps):
        u = unlabeled[torch.randint(len(unlabeled), (64,))]
        optimizer.zero_grad()
        objective(x, y, unlabeled=u).backward()
        optimizer.step()
    with torch.no_grad():
        return (model(test) - truth).square().mean().item()


if __name__ == "__main__":
    print(f"plain training: mean squared error {main(weight=0.0):.3f}")
    print(f"regularized:    {main():.3f}")
