"""The derivative of a sampled signal along its axes (VMT eq. 16)."""

from __future__ import annotations

import torch
from torch import Tensor

BORDERS = ("zero", "one-sided", "replicate", "circular")


def central_difference(x: Tensor, axis: int, border: str = "zero") -> Tensor:
    """``(I_{p+1} − I_{p−1}) / 2`` along one axis, of ``x``'s shape.

    At the two border positions of that axis: ``"zero"`` gives 0 (the default of this project),
    ``"one-sided"`` the forward or backward difference; ``"replicate"`` and ``"circular"`` continue
    the signal by its edge value or periodically.
    """
    length = x.shape[axis]
    if border == "circular":
        return (x.roll(-1, axis) - x.roll(1, axis)) / 2
    inner = (
        (x.narrow(axis, 2, length - 2) - x.narrow(axis, 0, length - 2)) / 2 if length > 2 else None
    )
    first = last = torch.zeros_like(x.narrow(axis, 0, 1))
    if length > 1 and border in ("one-sided", "replicate"):
        share = 1.0 if border == "one-sided" else 0.5
        first = (x.narrow(axis, 1, 1) - x.narrow(axis, 0, 1)) * share
        last = (x.narrow(axis, length - 1, 1) - x.narrow(axis, length - 2, 1)) * share
    pieces = [first] if length == 1 else [first, last] if inner is None else [first, inner, last]
    return torch.cat(pieces, axis)


def spatial_axes(x: Tensor) -> range:
    """The axes of ``(N, C, *size)`` along which things move."""
    return range(2, x.dim())


def along_field(x: Tensor, field: Tensor, border: str) -> Tensor:
    """``∇I · V`` for images ``(N, C, *size)`` and fields ``(N, n, *size)``: ``(N, C, *size)``."""
    total: Tensor | None = None
    for j, axis in enumerate(spatial_axes(x)):
        part = central_difference(x, axis, border) * field[:, j].unsqueeze(1)
        total = part if total is None else total + part
    if total is None:
        raise ValueError(f"movement needs inputs (N, C, *size), got shape {tuple(x.shape)}")
    return total


def momentum(x: Tensor, g: Tensor, border: str) -> Tensor:
    """``m_j = Σ_c g_c ∂I_c/∂p_j``: ``(N, n, *size)``, all that any movement field needs of g."""
    return torch.stack(
        [(g * central_difference(x, axis, border)).sum(1) for axis in spatial_axes(x)], 1
    )
