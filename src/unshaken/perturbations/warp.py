"""Resampling an image at moved positions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

PADDINGS = ("border", "zeros", "reflection")


def warp(x: Tensor, displacement: Tensor, padding: str = "border") -> Tensor:
    """``I'(p) = I(p + V_p)`` by (bi-, tri-)linear interpolation.

    Args:
        x: ``(N, C, *size)`` with 1, 2 or 3 spatial axes.
        displacement: ``(N, n, *size)`` in pixels; component j along axis j of ``size``.
        padding: what lies outside: ``"border"`` the edge value, ``"zeros"``, ``"reflection"``.

    Returns:
        The moved input, of ``x``'s shape and type; interpolated in float32 at least.

    Raises:
        ValueError: for more than 3 spatial axes.
    """
    axes = x.dim() - 2
    if not 1 <= axes <= 3:
        raise ValueError(
            f"warping needs 1 to 3 spatial axes, got {axes} (shape {tuple(x.shape)}); "
            "first-order movement works for any number"
        )
    working = x.dtype if x.dtype == torch.float64 else torch.float32
    image, moved = x.to(working), displacement.to(working)
    if axes == 1:
        image, moved = (
            image.unsqueeze(2),
            torch.stack((torch.zeros_like(moved[:, 0]), moved[:, 0]), 1),
        )
        moved = moved.unsqueeze(2)
    size = image.shape[2:]
    grid = []
    for j in reversed(range(len(size))):
        shape = [1] * (len(size) + 1)
        shape[j + 1] = size[j]
        position = torch.arange(size[j], dtype=working, device=x.device).reshape(shape)
        # grid_sample wants the axes in reverse order and positions scaled to [-1, 1].
        grid.append(
            (position + moved[:, j]) * (2 / max(size[j] - 1, 1)) - (1 if size[j] > 1 else 0)
        )
    sampled = F.grid_sample(
        image, torch.stack(grid, -1), mode="bilinear", padding_mode=padding, align_corners=True
    )
    return sampled.reshape(x.shape).to(x.dtype)
