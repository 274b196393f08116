"""Random translations and flips of a whole batch, on the device where it is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import checks, draws

__all__ = ["Augmentation", "augment"]


def augment(
    x: Tensor,
    shift: int = 2,
    flip: bool = True,
    generator: torch.Generator | None = None,
    *,
    padding: str = "zeros",
) -> Tensor:
    """Move each example by its own whole number of pixels and mirror half of them.

    The papers' augmentation: each axis by an integer uniform in ``-shift .. shift``, and for
    images whose mirror image has the same class a flip along the last axis with probability 1/2.

    Args:
        x: ``(N, C, *size)``, any number of axes; on any device.
        shift: the largest translation, in pixels.
        flip: whether to mirror along the last axis.
        generator: draws the numbers; on the CPU or on x's device. A CPU generator gives the same
            numbers for every device. None for those of :mod:`unshaken.draws`: PyTorch's global
            one, and inside a training step that does not depend on the number of processes.
        padding: what moves in at the border: "zeros" (the papers; gray where pixels are
            centered) or "edge" (the border's value).

    Returns:
        A new tensor like x.

    Raises:
        ValueError: an argument is out of its range, or x has no axis to move along.
    """
    if x.ndim < 3 or 0 in x.shape:
        raise ValueError(f"x: expected a batch (N, C, *size), not empty, got {tuple(x.shape)}")
    if shift < 0:
        raise ValueError(f"shift: expected a number of pixels >= 0, got {shift}")
    if padding not in ("zeros", "edge"):
        raise ValueError(f"padding: expected 'zeros' or 'edge', got {padding!r}")
    count, axes = len(x), x.ndim - 2
    if generator is None:
        drawn = draws.uniform((count, axes + 1), torch.float32, x.device)
    else:
        drawn = torch.rand(count, axes + 1, generator=generator, device=generator.device)
    drawn = drawn.to(x.device)
    # Below 2 shift + 1 after rounding too: an odd number times 1 - 2^-24 rounds down.
    moves = (drawn[:, :axes] * (2 * shift + 1)).long().T - shift
    mirrored = drawn[:, axes] < (0.5 if flip else 0.0)

    # One gather for all: the source position of each target position along each axis.
    index: list[Tensor] = [_along(torch.arange(count, device=x.device), 0, x.ndim)]
    index.append(_along(torch.arange(x.shape[1], device=x.device), 1, x.ndim))
    for axis in range(axes):
        length = x.shape[2 + axis]
        target = torch.arange(length, device=x.device).expand(count, length)
        if axis == axes - 1:
            target = torch.where(mirrored[:, None], length - 1 - target, target)
        source = target - moves[axis][:, None]
        # With zeros the picture has a frame of width shift; at an edge the border repeats.
        source = source + shift if padding == "zeros" else source.clamp(0, length - 1)
        shape = [1] * x.ndim
        shape[0], shape[2 + axis] = count, length
        index.append(source.view(shape))
    return (F.pad(x, [shift] * (2 * axes)) if padding == "zeros" else x)[tuple(index)]


def _along(values: Tensor, axis: int, axes: int) -> Tensor:
    shape = [1] * axes
    shape[axis] = len(values)
    return values.view(shape)


@dataclass(frozen=True)
class Augmentation:
    """:func:`augment` with its options, as a run applies it to every training batch.

    Attributes:
        shift: the largest translation along each axis, in pixels.
        flip: whether half of the examples are mirrored along the last axis.
        padding: "zeros" or "edge".

    Raises:
        ValueError, TypeError: an option is not what it should be.
    """

    shift: int = 0
    flip: bool = False
    padding: str = "zeros"

    def __post_init__(self) -> None:
        checks.integer(self.shift, "augment: shift", low=0)
        checks.choice(self.flip, "augment: flip", (True, False))
        checks.choice(self.padding, "augment: padding", ("zeros", "edge"))
        if not self.shift and not self.flip:
            raise ValueError("augment must name a shift >= 1 or flip, got neither")

    def __call__(self, x: Tensor) -> Tensor:
        return augment(x, self.shift, self.flip, padding=self.padding)

    def __str__(self) -> str:
        parts = []
        if self.shift:
            border = "" if self.padding == "zeros" else ", the border repeated"
            parts.append(f"shifts of up to {self.shift} pixels along each axis{border}")
        if self.flip:
            parts.append("mirrored left to right with probability 1/2")
        return "; ".join(parts)
