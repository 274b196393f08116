"""The first weights of every network here."""

from __future__ import annotations

from typing import Literal

from torch import nn

Nonlinearity = Literal["relu", "leaky_relu", "tanh"]
SLOPE = 0.1  # of LeakyReLU for negative inputs, in both convolutional networks


def initialize(network: nn.Module, output: nn.Linear, nonlinearity: Nonlinearity) -> None:
    """He's normal initialization by fan-in, zero biases; drawn from torch's default generator.

    A weight in front of an activation has the variance ``gain² / fan_in``, which keeps the scale
    of the signal from layer to layer: gain² = 2 for ReLU, 2 / (1 + SLOPE²) for LeakyReLU, 25/9 for
    tanh. No activation follows ``output``: its gain is 1.

    Args:
        network: the network whose linear and convolutional layers are set, in place.
        output: its last layer.
        nonlinearity: the activation that follows every other layer.

    Source: He et al., Delving deep into rectifiers, 2015, eq. 10 and 14.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(
                layer.weight,
                a=SLOPE,
                nonlinearity="linear" if layer is output else nonlinearity,
            )
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
