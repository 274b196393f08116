"""A network for small images, which a CPU trains in minutes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn

from unshaken import checks
from unshaken.models.convolution import ConvolutionalNetwork, block

WIDTHS = (16, 32, 64, 64)
HALVED = ((), (1,), (0, 1), (0, 1, 3))
"""Which of the four convolutions have stride 2, by how often the image is halved."""


def conv_tiny(
    channels: int = 1,
    classes: int = 10,
    size: Sequence[int] = (28, 28),
    dropout: float = 0.0,
) -> ConvolutionalNetwork:
    """Four convolutions for small images, ``(N, channels, H, W) -> (N, classes)``.

    =====================  ================  ==============  ==============
    layers                 output for 28×28  for 16×16       for 8×8
    =====================  ================  ==============  ==============
    5×5 convolution 16     (N, 16, 14, 14)   (N, 16, 8, 8)   (N, 16, 8, 8)
    3×3 convolution 32     (N, 32, 7, 7)     (N, 32, 4, 4)   (N, 32, 4, 4)
    3×3 convolution 64     (N, 64, 7, 7)     (N, 64, 4, 4)   (N, 64, 4, 4)
    3×3 convolution 64     (N, 64, 4, 4)     (N, 64, 4, 4)   (N, 64, 4, 4)
    flatten                (N, 1024)         (N, 1024)       (N, 1024)
    dense                  (N, classes)      (N, classes)    (N, classes)
    =====================  ================  ==============  ==============

    A convolution with stride 2 halves the image, rounding up: until the smaller side has at most 4
    pixels, three times at most, in the first, the second and the last of them (the first two; the
    second). Batch norm and LeakyReLU with slope 0.1 follow each convolution. He's normal
    initialization by fan-in for that slope, zero bias of the dense layer. 71,000 parameters for
    these sizes, one channel and ten classes.

    Args:
        channels: channels of the images.
        classes: number of classes.
        size: height and width of the images in pixels; it takes no others.
        dropout: the probability that a value of the last feature map is set to zero.

    Raises:
        TypeError: if a number is of a wrong type, or ``size`` is one number.
        ValueError: for an argument out of range; from a call, for images of other channels or of
            another size.

    Source: ours; no paper.
    """
    checks.integer(channels, "channels")
    if isinstance(size, int):
        raise TypeError(f"size must be (height, width) in pixels, got {size}")
    sides = tuple(checks.integer(length, "each entry of size") for length in size)
    if len(sides) != 2:
        raise ValueError(
            f"conv_tiny takes images; size must be (height, width), got {sides}; use mlp otherwise"
        )
    strides = [2 if i in HALVED[_halvings(min(sides))] else 1 for i in range(len(WIDTHS))]
    checks.number(dropout, "dropout", low=0.0, high=1.0)
    layers: list[nn.Module] = []
    before = channels
    for kernel, width, stride in zip((5, 3, 3, 3), WIDTHS, strides, strict=True):
        layers += block(before, width, kernel, stride=stride)
        before = width
    layers += [nn.Dropout(dropout)] if dropout else []
    last = [math.ceil(length / math.prod(strides)) for length in sides]
    return ConvolutionalNetwork(
        "conv_tiny",
        layers,
        channels=channels,
        width=before * math.prod(last),
        classes=classes,
        smallest=1,
        size=sides,
    )


def _halvings(side: int) -> int:
    return min(len(HALVED) - 1, max(0, math.ceil(math.log2(side / 4))))
