"""The papers' networks, a small one, and :func:`build`: one by its name or import path."""

from unshaken.models.conv_large import conv_large
from unshaken.models.conv_small import conv_small
from unshaken.models.conv_tiny import conv_tiny
from unshaken.models.generators import generator
from unshaken.models.mlp import mlp
from unshaken.models.moons_mlp import moons_mlp
from unshaken.models.registry import NAMES, build, source
from unshaken.models.stacked import stack, unstack

__all__ = [
    "NAMES",
    "build",
    "conv_large",
    "conv_small",
    "conv_tiny",
    "generator",
    "mlp",
    "moons_mlp",
    "source",
    "stack",
    "unstack",
]
