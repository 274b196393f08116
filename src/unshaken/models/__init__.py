"""The papers' networks, and :func:`build`, which makes one by name or by import path."""

from unshaken.models.conv_large import conv_large
from unshaken.models.conv_small import conv_small
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
    "generator",
    "mlp",
    "moons_mlp",
    "source",
    "stack",
    "unstack",
]
