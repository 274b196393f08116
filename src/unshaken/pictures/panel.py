"""What one method does to some examples: the input of the pictures of worst perturbations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

Array = torch.Tensor | NDArray[Any]
Kind = Literal["additive", "movement", "mask"]
KINDS: tuple[Kind, ...] = ("additive", "movement", "mask")


def array(values: Array) -> NDArray[np.float64]:
    """A torch tensor, on any device, of any type and with or without gradient, or a numpy array,
    as a float64 numpy array.
    """
    if isinstance(values, torch.Tensor):
        return np.asarray(values.detach().to("cpu", torch.float64).numpy())
    return np.asarray(values, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Panel:
    """One method's perturbation of N examples.

    Attributes:
        method: the method's name.
        kind: "additive" x + r, "movement" I'(p) = I(p + V(p)), or "mask" x ⊙ z.
        clean: the inputs (N, C, *size); also (N, D) for vectors.
        perturbed: the perturbed inputs, shaped like `clean`.
        displacement: V in pixels, (N, n, *size), axis 0 of the n along the rows; for "movement".
        mask: z in [0, 1], (N, 1, *size) or (N, *size); for "mask".
        value: what the method maximized, one number per example, (N,).
        note: a few words under the method's name, for instance its radius and its unit.
    """

    method: str
    kind: Kind
    clean: Array
    perturbed: Array
    displacement: Array | None
    mask: Array | None
    value: Array
    note: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        shape = tuple(self.clean.shape)
        if len(shape) < 2:
            raise ValueError(f"clean must have the shape (N, C, *size) or (N, D), got {shape}")
        if shape[0] < 1:
            raise ValueError(f"clean must hold at least one example, got the shape {shape}")
        if tuple(self.perturbed.shape) != shape:
            raise ValueError(
                f"perturbed must be shaped like clean, {shape}, got {tuple(self.perturbed.shape)}"
            )
        if tuple(self.value.shape) != shape[:1]:
            raise ValueError(
                f"value must have the shape {shape[:1]}, got {tuple(self.value.shape)}"
            )
        if self.kind == "movement":
            self._check("displacement", self.displacement, (shape[0], len(shape) - 2, *shape[2:]))
        if self.kind == "mask":
            if self.mask is not None and tuple(self.mask.shape) == (shape[0], *shape[2:]):
                return
            one = (shape[0], 1, *shape[2:]) if len(shape) > 2 else shape
            self._check("mask", self.mask, one)

    def _check(self, name: str, values: Array | None, shape: tuple[int, ...]) -> None:
        if values is None:
            raise ValueError(f'a panel of kind "{self.kind}" needs {name}, got None')
        if tuple(values.shape) != shape:
            raise ValueError(f"{name} must have the shape {shape}, got {tuple(values.shape)}")

    @property
    def dimensions(self) -> int:
        """How many axes the lattice has; a plain vector counts as one."""
        return max(len(self.clean.shape) - 2, 1)

    def image(self, which: Literal["clean", "perturbed"], i: int) -> NDArray[np.float64]:
        """Example i as (C, *size) with at most two axes: a volume by its middle slice."""
        return _slice(array(getattr(self, which)[i]), len(self.clean.shape) - 2)

    def field(self, i: int) -> NDArray[np.float64]:
        """The displacement of example i, (n, *size) with n at most 2; of a volume the two
        components within its middle slice.
        """
        if self.displacement is None:
            raise ValueError(f"the panel of {self.method!r} has no displacement")
        whole = array(self.displacement[i])
        field: NDArray[np.float64] = _slice(whole, len(whole))[-2:]
        return field

    def kept(self, i: int) -> NDArray[np.float64]:
        """The mask of example i, (*size) with at most two axes."""
        if self.mask is None:
            raise ValueError(f"the panel of {self.method!r} has no mask")
        mask = array(self.mask[i])
        n = self.dimensions
        kept: NDArray[np.float64] = _slice(mask.reshape(1, *mask.shape[-n:]), n)[0]
        return kept


def _slice(values: NDArray[np.float64], dimensions: int) -> NDArray[np.float64]:
    if dimensions == 0:
        return values[None]
    middle = [size // 2 for size in values.shape[1 : max(dimensions - 1, 1)]]
    flat: NDArray[np.float64] = values[(slice(None), *middle)]
    return flat
