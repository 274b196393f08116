"""What a movement field family is: a basis, and nothing else."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor


class Field(ABC):
    """A family of movement fields ``V = Σ_k a_k B_k`` on an n-dimensional lattice.

    Subclass it and write :meth:`basis`; the worst unit field and its rate follow for every basis.
    """

    @abstractmethod
    def basis(self, size: Sequence[int]) -> Tensor:
        """``(K, n, *size)``, float64: component j moves along axis j, in pixels.

        Raises:
            ValueError: if the family does not exist on a lattice of that many axes.
        """

    def spaced_basis(self, size: Sequence[int], spacing: Sequence[float]) -> Tensor:
        """The basis, in pixels, where a pixel measures ``spacing[j]`` along axis j.

        :meth:`basis` unless overridden: right for families that span the same movements when an
        axis is stretched, which all here but :class:`Rotation` do.
        """
        return self.basis(size)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({arguments})"

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return False
        mine, theirs = vars(self), vars(other)
        return mine.keys() == theirs.keys() and all(_same(mine[k], theirs[k]) for k in mine)

    def __hash__(self) -> int:
        return hash(repr(self))


def _same(a: object, b: object) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return torch.equal(a, b)
    return bool(a == b)


def centered(size: Sequence[int]) -> list[Tensor]:
    """``p_j − c_j`` for each axis j, about the center ``c = (d − 1) / 2``, of shape ``size``."""
    axes = [torch.arange(d, dtype=torch.float64) - (d - 1) / 2 for d in size]
    return list(torch.meshgrid(*axes, indexing="ij"))


def unit(fields: Tensor) -> Tensor:
    """Each field scaled to ``mean_p |V_p|² = 1`` (VMT eq. 2); a zero field stays zero."""
    square = fields.square().sum(1).flatten(1).mean(1)
    scale = torch.where(square > 0, square, 1).rsqrt()
    return fields * scale.reshape(-1, *[1] * (fields.dim() - 1))


def dimensions(size: Sequence[int], name: str, least: int = 1) -> int:
    """The number of axes of ``size``, at least ``least``."""
    if len(size) < least:
        axes = "axis" if len(size) == 1 else "axes"
        raise ValueError(
            f"{name} needs inputs (N, C, *size) with at least {least} spatial "
            f"{'axis' if least == 1 else 'axes'}, got {len(size)} spatial {axes} "
            f"(size {tuple(size)})"
        )
    return len(size)
