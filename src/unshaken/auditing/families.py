"""The movements that an audit makes: exact, each in the unit that people think in."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor

from unshaken.autograd import normalize
from unshaken.perturbations import Movement
from unshaken.perturbations.derivative import momentum
from unshaken.perturbations.fields import Affine, Elastic, Field, Rotation, Scale, Shift


class Family(ABC):
    """Movements of one kind, each a direction ``(K,)`` of length 1 and a degree.

    Attributes:
        name: as the command line knows it.
        unit: of the degree.
        axes: which numbers of spatial axes it is defined for.
        shortest: pixels that every axis must have.
    """

    name: str
    unit: str
    axes: Sequence[int] = (1, 2, 3)
    shortest: int = 1

    def __init__(self, size: Sequence[int], padding: str = "border") -> None:
        self.size = tuple(size)
        self.movement = Movement(self.field(), padding=padding)
        """The same family to first order."""

    @abstractmethod
    def field(self) -> Field:
        """The basis of the family."""

    @abstractmethod
    def largest(self) -> float:
        """How far an audit looks unless told."""

    @property
    def freedom(self) -> int:
        """K, the length of a direction."""
        return self.movement.geometry(torch.zeros(1, 1, *self.size)).whitener.shape[1]

    def displacement(self, x: Tensor, direction: Tensor, degree: Tensor) -> Tensor:
        """``V`` in pixels, ``(N, n, *size)``: the input moves to ``I(p + V_p)``.

        Args:
            x: inputs ``(N, C, *size)``.
            direction: ``(N, K)`` of length 1.
            degree: ``(N,)`` in :attr:`unit`.
        """
        unit = self.movement.displacement(x, self.movement.from_unit(x, direction))
        return unit * degree.reshape(-1, *[1] * (unit.dim() - 1)).to(unit.dtype)

    def steepest(self, x: Tensor, g: Tensor) -> Tensor:
        """Directions ``(N, K)`` along which a gradient ``g`` in x rises most, to first order."""
        s = self.movement.pull_back(x.to(g.dtype), g)
        return _unit(self.movement.to_unit(x, s))

    def pixels(self, degree: float) -> float:
        """The root mean square displacement at a degree, in pixels."""
        return degree


class _Shift(Family):
    """``V = degree · direction`` in pixels, everywhere the same."""

    name, unit = "shift", "pixels"

    def field(self) -> Field:
        return Shift()

    def largest(self) -> float:
        return max(1.0, min(self.size) / 4)


class _Rotation(Family):
    """A rotation about the center by ``degree`` degrees; in 3-D the direction is its axis."""

    name, unit = "rotation", "degrees"
    axes = (2, 3)

    def field(self) -> Field:
        return Rotation()

    def largest(self) -> float:
        return 60.0

    @property
    def freedom(self) -> int:
        return len(_planes(len(self.size)))

    def pixels(self, degree: float) -> float:
        squares = [(d * d - 1) / 12 for d in self.size]
        # Only what lies across the axis moves; the mean over axes of a volume.
        across = sum(squares) * (1 if len(squares) == 2 else 2 / 3)
        return 2 * math.sin(math.radians(min(degree, 180.0)) / 2) * math.sqrt(across)

    def displacement(self, x: Tensor, direction: Tensor, degree: Tensor) -> Tensor:
        p, n = _centered(self.size, direction), len(self.size)
        angle = torch.deg2rad(degree).to(direction.dtype)
        generators = torch.stack([_generator(n, *plane) for plane in _planes(n)]).to(direction)
        turned = torch.linalg.matrix_exp(
            torch.einsum("nk,kij->nij", direction * angle.unsqueeze(1), generators)
        )
        moved = turned @ p.reshape(n, -1) - p.reshape(n, -1)
        return moved.reshape(len(x), n, *self.size)

    def steepest(self, x: Tensor, g: Tensor) -> Tensor:
        p, n = _centered(self.size, g), len(self.size)
        m = momentum(x.to(g.dtype), g, "zero").flatten(2)
        rates = [
            (m * (_generator(n, *plane).to(g) @ p.reshape(n, -1))).sum((1, 2))
            for plane in _planes(n)
        ]
        return _unit(torch.stack(rates, 1))


class _Scale(Family):
    """Sampled ``degree`` per cent further from the center, or nearer to it, alike on all axes."""

    name, unit = "scale", "per cent"

    def field(self) -> Field:
        return Scale()

    def largest(self) -> float:
        return 50.0

    @property
    def freedom(self) -> int:
        return 1

    def pixels(self, degree: float) -> float:
        return degree / 100 * math.sqrt(sum((d * d - 1) / 12 for d in self.size))

    def displacement(self, x: Tensor, direction: Tensor, degree: Tensor) -> Tensor:
        p = _centered(self.size, direction)
        factor = direction[:, 0] * degree.to(direction.dtype) / 100
        return factor.reshape(-1, *[1] * (p.dim() - 1)) * p

    def steepest(self, x: Tensor, g: Tensor) -> Tensor:
        m = momentum(x.to(g.dtype), g, "zero")
        return _unit((m * _centered(self.size, g)).flatten(1).sum(1, keepdim=True))


class _Affine(Family):
    """Any linear map and shift, ``degree`` its root mean square displacement in pixels."""

    name, unit = "affine", "pixels"

    def field(self) -> Field:
        return Affine()

    def largest(self) -> float:
        return max(1.0, min(self.size) / 8)


class _Elastic(Family):
    """Smooth deformations of 4 cosine modes along each axis, ``degree`` in pixels (RMS).

    Random ones begin to fold at about a twentieth of the shorter side, and most do at a twelfth.
    """

    name, unit = "elastic", "pixels"
    shortest = 2

    def field(self) -> Field:
        return Elastic(min(4, min(self.size)))

    def largest(self) -> float:
        return min(self.size) / 20


FAMILIES: dict[str, type[Family]] = {
    each.name: each for each in (_Shift, _Rotation, _Scale, _Affine, _Elastic)
}


def families_for(names: Sequence[str] | None, size: Sequence[int], padding: str) -> list[Family]:
    """The families of these names, all that suit the inputs unless names are given.

    Raises:
        ValueError: a name is unknown, or its family needs other inputs.
    """
    n = len(size)
    if names is None:
        suits = [each for each in FAMILIES.values() if n in each.axes]
        return [each(size, padding) for each in suits if min(size) >= each.shortest]
    found = []
    for name in names:
        if name not in FAMILIES:
            raise ValueError(f"families must be among {', '.join(FAMILIES)}, got {name!r}")
        if n not in FAMILIES[name].axes:
            raise ValueError(
                f"families: {name} needs {' or '.join(map(str, FAMILIES[name].axes))} spatial "
                f"axes, got inputs of size {tuple(size)}"
            )
        if min(size) < FAMILIES[name].shortest:
            raise ValueError(
                f"families: {name} needs at least {FAMILIES[name].shortest} pixels along each "
                f"axis, got inputs of size {tuple(size)}"
            )
        found.append(FAMILIES[name](size, padding))
    return found


def _centered(size: Sequence[int], like: Tensor) -> Tensor:
    """``p − c``: ``(1, n, *size)``."""
    lines = [torch.arange(d, dtype=like.dtype, device=like.device) - (d - 1) / 2 for d in size]
    return torch.stack(torch.meshgrid(*lines, indexing="ij")).unsqueeze(0)


def _planes(n: int) -> list[tuple[int, int]]:
    return list(combinations(range(n), 2))


def _generator(n: int, i: int, j: int) -> Tensor:
    """Of the rotations in the plane (i, j): ``(V_i, V_j) = (−p_j, p_i)``."""
    matrix = torch.zeros(n, n)
    matrix[i, j], matrix[j, i] = -1.0, 1.0
    return matrix


def _unit(s: Tensor) -> Tensor:
    """Each row at length 1; a row without a direction takes the first axis."""
    found = normalize(s)
    still = (found == 0).all(1)
    found[still, 0] = 1.0
    return found
