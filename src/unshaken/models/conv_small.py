"""The network of VMT's CIFAR-10 experiments."""

from __future__ import annotations

from unshaken import checks
from unshaken.models.convolution import ConvolutionalNetwork, block, halve


def conv_small(channels: int = 3, classes: int = 10, dropout: float = 0.5) -> ConvolutionalNetwork:
    """The nine-layer network *conv-small*, ``(N, channels, H, W) -> (N, classes)``.

    ===========================  =====================
    layers                       output for 32×32
    ===========================  =====================
    3 × [3×3 convolution 64]     (N, 64, 32, 32)
    2×2 max pooling, dropout     (N, 64, 16, 16)
    3 × [3×3 convolution 128]    (N, 128, 16, 16)
    2×2 max pooling, dropout     (N, 128, 8, 8)
    3×3 convolution 128          (N, 128, 8, 8)
    2 × [1×1 convolution 128]    (N, 128, 8, 8)
    global average pooling       (N, 128)
    dense                        (N, classes)
    ===========================  =====================

    Batch norm and LeakyReLU with slope 0.1 follow each convolution. 3×3 convolutions keep the
    image's size by zero padding, as the paper's table gives no other. He's normal initialization
    by fan-in for that slope, zero bias of the dense layer (:func:`initialize`).

    Args:
        channels: channels of the images.
        classes: number of classes.
        dropout: the probability that a value is set to zero, after each max pooling.

    Raises:
        ValueError: for an argument out of range; from a call, for images of other channels or of
            less than 4×4 pixels.

    Source: VMT, appendix A, Table 4; after Salimans et al., Improved techniques for training GANs,
    2016.
    """
    checks.integer(channels, "channels")
    checks.number(dropout, "dropout", low=0.0, high=1.0)
    layers = [
        *block(channels, 64, 3),
        *block(64, 64, 3),
        *block(64, 64, 3),
        *halve(dropout),
        *block(64, 128, 3),
        *block(128, 128, 3),
        *block(128, 128, 3),
        *halve(dropout),
        *block(128, 128, 3),
        *block(128, 128, 1),
        *block(128, 128, 1),
    ]
    return ConvolutionalNetwork(
        "conv_small", layers, channels=channels, width=128, classes=classes, smallest=4
    )
