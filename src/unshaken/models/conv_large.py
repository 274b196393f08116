"""The network of xVAT's SVHN, CIFAR-10 and CIFAR-100 experiments."""

from __future__ import annotations

from unshaken import checks
from unshaken.models.convolution import ConvolutionalNetwork, block, halve


def conv_large(channels: int = 3, classes: int = 10, dropout: float = 0.5) -> ConvolutionalNetwork:
    """The thirteen-layer network *conv-large*, ``(N, channels, H, W) -> (N, classes)``.

    =================================  =====================
    layers                             output for 32×32
    =================================  =====================
    3 × [3×3 convolution 128]          (N, 128, 32, 32)
    2×2 max pooling, dropout           (N, 128, 16, 16)
    3 × [3×3 convolution 256]          (N, 256, 16, 16)
    2×2 max pooling, dropout           (N, 256, 8, 8)
    3×3 convolution 512, no padding    (N, 512, 6, 6)
    1×1 convolution 256                (N, 256, 6, 6)
    1×1 convolution 128                (N, 128, 6, 6)
    global average pooling             (N, 128)
    dense                              (N, classes)
    =================================  =====================

    Batch norm and LeakyReLU with slope 0.1 follow each convolution. The paper's table leaves batch
    norm out; the published program of VAT, whose network it takes, has it, with other constants
    (running statistics decay by 0.99, epsilon 1e-6) than torch's, which stand here (0.9, 1e-5).
    He's normal initialization by fan-in for that slope, zero bias of the dense layer
    (:func:`initialize`). 3.1 million parameters.

    Args:
        channels: channels of the images.
        classes: number of classes.
        dropout: the probability that a value is set to zero, after each max pooling.

    Raises:
        ValueError: for an argument out of range; from a call, for images of other channels or of
            less than 12×12 pixels, which the convolution without padding cannot take.

    Source: xVAT, section 6.2, Table 6; after Miyato et al., Virtual adversarial training, 2018, and
    Laine & Aila, Temporal ensembling for semi-supervised learning, 2017.
    """
    checks.integer(channels, "channels")
    checks.number(dropout, "dropout", low=0.0, high=1.0)
    layers = [
        *block(channels, 128, 3),
        *block(128, 128, 3),
        *block(128, 128, 3),
        *halve(dropout),
        *block(128, 256, 3),
        *block(256, 256, 3),
        *block(256, 256, 3),
        *halve(dropout),
        *block(256, 512, 3, valid=True),
        *block(512, 256, 1),
        *block(256, 128, 1),
    ]
    return ConvolutionalNetwork(
        "conv_large", layers, channels=channels, width=128, classes=classes, smallest=12
    )
