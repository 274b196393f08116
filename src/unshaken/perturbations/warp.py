"""Resampling an image at moved positions."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

PADDINGS = ("border", "zeros", "reflection", "circular")


def warp(x: Tensor, displacement: Tensor, padding: str = "border") -> Tensor:
    """``I'(p) = I(p + V_p)`` by (bi-, tri-)linear interpolation.

    Args:
        x: ``(N, C, *size)`` with 1, 2 or 3 spatial axes.
        displacement: ``(N, n, *size)`` in pixels; component j along axis j of ``size``.
        padding: what lies outside: ``"border"`` the edge value, ``"zeros"``, ``"reflection"``, or
            ``"circular"`` the other side.

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
    if padding == "circular":
        return _around(image, moved).reshape(x.shape).to(x.dtype)
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


def _around(image: Tensor, moved: Tensor) -> Tensor:
    """Linear interpolation on a lattice whose opposite sides meet."""
    size, n = image.shape[2:], image.dim() - 2
    low, share = [], []
    for j in range(n):
        shape = [1] * (n + 1)
        shape[j + 1] = size[j]
        lattice = torch.arange(size[j], dtype=moved.dtype, device=moved.device).reshape(shape)
        position = lattice + moved[:, j]
        below = position.detach().floor()
        low.append(below.long())
        share.append(position - below)
    flat = image.flatten(2)
    total = torch.zeros_like(flat)
    for corner in product((0, 1), repeat=n):
        index = torch.zeros_like(low[0])
        weight = torch.ones_like(share[0])
        for j, upper in enumerate(corner):
            index = index * size[j] + (low[j] + upper) % size[j]
            weight = weight * (share[j] if upper else 1 - share[j])
        at = index.flatten(1).unsqueeze(1).expand(-1, flat.shape[1], -1)
        total = total + flat.gather(2, at) * weight.flatten(1).unsqueeze(1)
    return total.reshape(image.shape)
