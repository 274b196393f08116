"""The mask adversaries of xAT and xVAT, by the names that users know."""

from __future__ import annotations

from torch import Tensor, nn

from unshaken import checks
from unshaken.adversaries.base import Problem
from unshaken.adversaries.learned import Learned
from unshaken.adversaries.learned import Tabulated as Table
from unshaken.adversaries.steepest_mask import SteepestMask as Steepest

__all__ = ["Generator", "Steepest", "Table"]

_LAYERS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


class Generator(Learned):
    """The paper's inductive generator: one convolution with a 3-wide kernel and one output channel.

    ``log α = conv(x)``, of shape ``(N, 1, *size)`` (xVAT sections 2.2.3 and 6.2); for inputs
    ``(N, D)`` without spatial axes, ``dimensions=0``, one linear layer ``D -> D``.
    Initialized as PyTorch initializes these layers.

    Args:
        channels: channels of the input.
        dimensions: its number of spatial axes, 0 to 3.
        learning_rate: the paper's 1e-6 (Adam).
        estimator: how the divergence's gradient reaches ``log α``: ``"hard-concrete"``,
            ``"gumbel-softmax"``, ``"straight-through"`` or ``"reinforce"``.
    """

    def __init__(
        self,
        channels: int,
        dimensions: int = 2,
        learning_rate: float = 1e-6,
        estimator: str = "hard-concrete",
    ) -> None:
        channels = checks.integer(channels, "channels")
        checks.choice(dimensions, "dimensions", (0, 1, 2, 3))
        network: nn.Module = (
            nn.Linear(channels, channels)
            if dimensions == 0
            else _LAYERS[dimensions](channels, 1, kernel_size=3, padding=1)
        )
        super().__init__(network, learning_rate, estimator)
        self.channels = channels
        self.dimensions = dimensions

    def log_alpha(self, problem: Problem) -> Tensor:
        x = problem.x
        if x.dim() != self.dimensions + 2 or x.shape[1] != self.channels:
            raise ValueError(
                f"masks.Generator(channels={self.channels}, dimensions={self.dimensions}) needs "
                f"inputs with {self.channels} channels and {self.dimensions} spatial axes, got "
                f"shape {tuple(x.shape)}"
            )
        return super().log_alpha(problem)
