"""The network of the moons: two classes of points in the plane, carried to 100 dimensions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unshaken.models.mlp import mlp


def moons_mlp(
    embedding: Tensor | None = None, hidden: int = 100, *, dropout: float = 0.0
) -> nn.Sequential:
    """A network with one trained hidden layer: ``(N, 100) -> (N, 2)``, or ``(N, 2) -> (N, 2)``.

    ==========================  ===================================
    layer                       output
    ==========================  ===================================
    ``points @ embedding``      (N, 100), with ``embedding`` only
    linear → ReLU               (N, hidden)
    linear                      (N, 2)
    ==========================  ===================================

    No batch norm: 16 labeled points are no sample to normalize by. He's normal initialization by
    fan-in, zero biases (:func:`initialize`).

    Args:
        embedding: the fixed matrix ``(2, 100)``. With it the network takes points of the plane, and
            keeps the matrix as a buffer, saved but never trained. Without it the network takes
            points that are already carried to 100 dimensions.
        hidden: units of the hidden layer.
        dropout: the probability that a hidden unit is set to zero in training.

    Raises:
        TypeError: if ``embedding`` is no floating-point tensor, or ``hidden`` no integer.
        ValueError: if ``embedding`` is not a matrix, or a number is out of range.

    Source: xVAT section 4.1, "2-100 (fixed)-100-2"; after Miyato et al., Distributional smoothing
    with virtual adversarial training, 2016. We read the fixed layer as linear.
    """
    if embedding is None:
        return mlp([100, hidden, 2], batch_norm=False, dropout=dropout)
    fixed = FixedLinear(embedding)
    trained = mlp([fixed.matrix.shape[1], hidden, 2], batch_norm=False, dropout=dropout)
    return nn.Sequential(fixed, *trained)


class FixedLinear(nn.Module):
    """``x @ matrix``, ``(N, d) -> (N, D)``, with a matrix ``(d, D)`` that is never trained.

    Raises:
        TypeError: if ``matrix`` is no floating-point tensor.
        ValueError: if it does not have two axes.
    """

    matrix: Tensor

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        if not isinstance(matrix, Tensor) or not matrix.is_floating_point():
            got = matrix.dtype if isinstance(matrix, Tensor) else type(matrix).__name__
            raise TypeError(f"embedding must be a floating-point tensor (2, 100), got {got}")
        if matrix.dim() != 2:
            raise ValueError(f"embedding must have shape (2, 100), got {tuple(matrix.shape)}")
        self.register_buffer("matrix", matrix.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """``x @ matrix``."""
        return torch.matmul(x, self.matrix)

    def extra_repr(self) -> str:
        """The two sizes, as nn.Linear shows them."""
        return f"in_features={self.matrix.shape[0]}, out_features={self.matrix.shape[1]}"
