"""Networks that make inputs from noise, for the methods that train a classifier against one."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn

from unshaken import checks


def generator(channels: int, size: Sequence[int], latent: int = 100) -> nn.Sequential:
    """Noise ``(N, latent)`` to inputs ``(N, channels, *size)``.

    Images whose sides are multiples of 8, from 16 on, with 3 channels or more get transposed
    convolutions (Radford et al. 2016), other inputs two hidden layers of 500 units (the MNIST
    network of Salimans et al. 2016). Batch norm stands in front of each activation; the last layer
    is linear, so that inputs normalized in any way can be made.

    Args:
        channels: channels of an input; all its numbers if ``size`` is empty.
        size: its spatial axes.
        latent: numbers of noise.

    Raises:
        TypeError, ValueError: an argument is no integer of 1 or more.
    """
    checks.integer(channels, "channels")
    size = tuple(checks.integer(length, "each entry of size") for length in size)
    checks.integer(latent, "latent")
    if channels >= 3 and len(size) == 2 and all(n % 8 == 0 and n >= 16 for n in size):
        return _convolutional(channels, (size[0] // 8, size[1] // 8), latent)
    layers: list[nn.Module] = []
    width = latent
    for _ in range(2):
        layers += [nn.Linear(width, 500, bias=False), nn.BatchNorm1d(500), nn.Softplus()]
        width = 500
    last = nn.Linear(width, channels * math.prod(size))
    return nn.Sequential(*layers, last, nn.Unflatten(1, (channels, *size)))


def _convolutional(channels: int, smallest: tuple[int, int], latent: int) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Linear(latent, 256 * math.prod(smallest), bias=False),
        nn.Unflatten(1, (256, *smallest)),
        nn.BatchNorm2d(256),
        nn.ReLU(),
    ]
    for inputs, outputs in ((256, 128), (128, 64)):
        layers += [
            nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers, nn.ConvTranspose2d(64, channels, 4, 2, 1))


def latent_of(network: nn.Module) -> int:
    """How many numbers of noise a network takes: the inputs of its first linear layer.

    Raises:
        ValueError: it has none.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            return layer.in_features
    raise ValueError("generator must begin with a torch.nn.Linear that takes the noise")


__all__ = ["generator", "latent_of"]
