"""Fully connected networks: the papers' choice for sinusoids, MNIST and the moons."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import get_args

from torch import nn

from unshaken import checks
from unshaken.models.initialization import SLOPE, Nonlinearity, initialize


def mlp(
    widths: Sequence[int],
    *,
    batch_norm: bool = True,
    activation: Nonlinearity = "relu",
    dropout: float = 0.0,
) -> nn.Sequential:
    """A multilayer perceptron ``(N, *) -> (N, widths[-1])``.

    ======  ==========================================  ===================
    layer   operation                                   output
    ======  ==========================================  ===================
    first   flatten                                     (N, widths[0])
    hidden  linear → batch norm → activation → dropout  (N, widths[i])
    last    linear                                      (N, widths[-1])
    ======  ==========================================  ===================

    He's normal initialization by fan-in, zero biases (:func:`initialize`): it also suits the
    networks without batch norm. With batch norm the hidden linear layers have no bias: the
    normalization would cancel it and no gradient would reach it.

    Args:
        widths: the number of inputs, of units of each hidden layer, and of classes.
        batch_norm: whether batch norm stands in front of each activation.
        activation: ``"relu"``, ``"leaky_relu"`` (slope 0.1) or ``"tanh"``.
        dropout: the probability that a hidden unit is set to zero in training.

    Raises:
        TypeError: if a width is not an integer.
        ValueError: if there are fewer than two widths, one is below 1, or an option is unknown.

    Source: VMT section 4 (100-128-128-2 for sinusoids, 784-1200-600-300-150-10 for MNIST, batch
    norm and ReLU after each hidden layer); xVAT section 6.2 (the same network for MNIST).

    Example:
        >>> from unshaken.models import mlp
        >>> mnist = mlp([784, 1200, 600, 300, 150, 10])
    """
    if isinstance(widths, int) or len(widths) < 2:
        raise ValueError(
            "widths must hold the number of inputs, of any hidden units, and of classes, "
            f"such as [784, 300, 10]; got {widths!r}"
        )
    sizes = [checks.integer(width, f"widths[{i}]") for i, width in enumerate(widths)]
    checks.choice(activation, "activation", get_args(Nonlinearity))
    checks.number(dropout, "dropout", low=0.0, high=1.0)
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in pairwise(sizes[:-1]):
        layers.append(nn.Linear(inputs, outputs, bias=not batch_norm))
        if batch_norm:
            layers.append(nn.BatchNorm1d(outputs))
        layers.append(_activation(activation))
        if dropout:
            layers.append(nn.Dropout(dropout))
    last = nn.Linear(sizes[-2], sizes[-1])
    network = nn.Sequential(*layers, last)
    initialize(network, last, activation)
    return network


def _activation(name: Nonlinearity) -> nn.Module:
    if name == "leaky_relu":
        return nn.LeakyReLU(SLOPE)
    return nn.Tanh() if name == "tanh" else nn.ReLU()
