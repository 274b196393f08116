"""Seconds per epoch that the papers report, to stand beside ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Reported:
    """One column of a paper's table.

    Attributes:
        source: paper and table.
        examples: how many examples an epoch has.
        seconds: per epoch, by method.
    """

    source: str
    examples: int
    seconds: Mapping[str, float]


REPORTED: Mapping[str, Reported] = {
    "conv_small": Reported(
        "VMT, Table 3, CIFAR-10",
        50_000,
        {
            "baseline": 27.23,
            "at-l2": 55.48,
            "vat": 59.95,
            "vmt-shift": 37.55,
            "vmt-rotation": 37.57,
            "vmt-scale": 37.59,
            "vmt-all": 37.68,
        },
    ),
    "conv_large": Reported(
        "xVAT, Table 3, CIFAR-10",
        50_000,
        {"vat": 51.3, "xvat-transductive": 34.1, "xvat": 33.6},
    ),
    "mnist_mlp": Reported(
        "VMT, Table 5, MNIST",
        60_000,
        {"baseline": 3.635, "at-l2": 6.170, "vat": 7.122, "vmt-shift": 5.950},
    ),
    "sinusoids_mlp": Reported(
        "VMT, Table 5, synthetic data",
        1000,
        {"baseline": 0.183, "at-l2": 0.288, "vat": 0.329, "vmt-shift": 0.279},
    ),
}
"""By the preset with the papers' network. Batch and hardware are theirs."""
