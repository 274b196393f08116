"""Small networks that the tests of the core share; smooth where a derivative is compared."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import torch
from torch import Tensor, nn

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
POOLS = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}


def mlp(shape: tuple[int, ...], classes: int = 3, width: int = 8) -> nn.Sequential:
    """A smooth network without any state."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(prod(shape), width),
        nn.Tanh(),
        nn.Linear(width, width),
        nn.Tanh(),
        nn.Linear(width, classes),
    )


def normalized(
    shape: tuple[int, ...], classes: int = 3, width: int = 8, dropout: float = 0.0
) -> nn.Sequential:
    """A smooth network with batch norm, and dropout where asked for."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(prod(shape), width, bias=False),
        nn.BatchNorm1d(width),
        nn.Tanh(),
        nn.Dropout(dropout),
        nn.Linear(width, classes),
    )


def convolutional(channels: int, dimensions: int, classes: int = 3) -> nn.Sequential:
    """A smooth convolutional network for inputs of any size with 1 to 3 spatial axes."""
    convolution = CONVOLUTIONS[dimensions]
    return nn.Sequential(
        convolution(channels, 5, 3, padding=1),
        nn.Tanh(),
        convolution(5, 6, 3, padding=1),
        nn.Tanh(),
        POOLS[dimensions](2),
        nn.Flatten(),
        nn.Linear(6 * 2**dimensions, classes),
    )


def dense(channels: int = 1, classes: int = 3) -> nn.Sequential:
    """One prediction for each position: ``(N, C, H, W) -> (N, classes, H, W)``."""
    return nn.Sequential(
        nn.Conv2d(channels, 5, 3, padding=1), nn.Tanh(), nn.Conv2d(5, classes, 3, padding=1)
    )


class Linear(nn.Module):
    """``logits = W vec(x) + b``: every derivative is known by hand."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(len(weight), dtype=weight.dtype))

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight.T + self.bias


class Functional(nn.Module):
    """A function as a module without parameters."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def batch(
    shape: tuple[int, ...], count: int = 4, classes: int = 3, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    """Standard normal inputs and labels that use every class."""
    return torch.randn(count, *shape, dtype=dtype), torch.arange(count) % classes


def gradients(value: Tensor, module: nn.Module) -> list[Tensor]:
    """The gradient of a scalar in every parameter, zeros where it does not reach."""
    parameters = list(module.parameters())
    found = torch.autograd.grad(value, parameters, allow_unused=True, retain_graph=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]


def assert_same(found: list[Tensor], expected: list[Tensor], tolerance: float = 1e-12) -> None:
    """Two lists of tensors agree up to ``tolerance`` of the largest entry of all."""
    assert len(found) == len(expected)
    scale = max(1.0, *(float(e.detach().abs().max()) for e in expected))
    for got, want in zip(found, expected, strict=True):
        assert got.shape == want.shape
        assert float((got - want).detach().abs().max()) <= tolerance * scale


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """The cosine between two batches, one for each example."""
    a, b = a.detach().flatten(1).double(), b.detach().flatten(1).double()
    return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
