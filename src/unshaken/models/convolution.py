"""What the convolutional networks share: their block of layers, and the check of their input."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from unshaken import checks
from unshaken.models.initialization import SLOPE, initialize


def block(
    inputs: int, outputs: int, kernel: int, *, valid: bool = False, stride: int = 1
) -> list[nn.Module]:
    """Convolution → batch norm → LeakyReLU(0.1).

    The convolution has no bias: batch norm would cancel it and no gradient would reach it.

    Args:
        inputs: number of input channels.
        outputs: number of output channels.
        kernel: side of the square kernel in pixels, odd.
        valid: without padding, so that the image shrinks by ``kernel − 1``; else it keeps its size.
        stride: pixels from one output to the next; 2 halves the image, rounding up.
    """
    padding = 0 if valid else kernel // 2
    return [
        nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(SLOPE),
    ]


def halve(dropout: float) -> list[nn.Module]:
    """2×2 max pooling with stride 2, then dropout of single values."""
    return [nn.MaxPool2d(2), nn.Dropout(dropout)]


class ConvolutionalNetwork(nn.Module):
    """Blocks, global average pooling and one dense layer: ``(N, C, H, W) -> (N, classes)``.

    Where images have one size, the last feature map is flattened in place of the pooling.

    Args:
        name: what error messages call it.
        layers: from the image to the last feature map ``(N, width, h, w)``.
        channels: channels C of the image.
        width: numbers that the dense layer takes: channels of the last feature map, or, where
            images have one size, all its values.
        classes: number of classes.
        smallest: the least height and width, in pixels, that the layers can take.
        size: the only height and width of images, in pixels; None for any.

    Raises:
        ValueError: from a call, if the input is not of shape ``(N, channels, H, W)`` with H and W
            at least ``smallest`` and as in ``size``.
    """

    def __init__(
        self,
        name: str,
        layers: Sequence[nn.Module],
        *,
        channels: int,
        width: int,
        classes: int,
        smallest: int,
        size: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.channels = channels
        self.smallest = smallest
        self.size = size
        self.features = nn.Sequential(*layers)
        pooling = [nn.AdaptiveAvgPool2d(1)] if size is None else []
        self.pool = nn.Sequential(*pooling, nn.Flatten())
        self.dense = nn.Linear(width, checks.integer(classes, "classes"))
        initialize(self, self.dense, "leaky_relu")

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(N, classes)`` of images ``(N, C, H, W)``."""
        self.check(x.shape)
        logits: Tensor = self.dense(self.pool(self.features(x)))
        return logits

    def check(self, shape: Sequence[int]) -> None:
        """Raises ValueError unless inputs of this shape, ``(N, C, H, W)``, fit."""
        if len(shape) != 4 or shape[1] != self.channels:
            raise ValueError(
                f"{self.name} takes images of shape (N, {self.channels}, H, W), got "
                f"{tuple(shape)}; set channels= to those of the images, and use mlp for other data"
            )
        if min(shape[2:]) < self.smallest:
            raise ValueError(
                f"{self.name} takes images of at least {self.smallest}×{self.smallest} pixels, got "
                f"{shape[2]}×{shape[3]}; enlarge them, or use mlp"
            )
        if self.size is not None and tuple(shape[2:]) != self.size:
            raise ValueError(
                f"this {self.name} takes images of {self.size[0]}×{self.size[1]} pixels, got "
                f"{shape[2]}×{shape[3]}; set size= to that of the images"
            )
