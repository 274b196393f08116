"""ZCA whitening: decorrelate the values of an example while staying near the picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .errors import DataError
from .statistics import read_tensors, save_tensors

__all__ = ["Whitening"]


@dataclass(frozen=True, eq=False)
class Whitening:
    """The map x -> (x - mean) Z with the symmetric whitening matrix Z of the training set.

    With the covariance U diag(S) U^T of the D values of an example,

        regularizer="inside":   Z = U diag((S + epsilon)^(-1/2)) U^T      (the default)
        regularizer="outside":  Z = U diag(S^(-1/2) + epsilon) U^T

    The first damps directions whose variance is below epsilon. The second, which published
    programs also use, damps nothing: a direction of nearly no variance is blown up to variance 1.

    Attributes:
        mean: ``(D,)``.
        matrix: ``(D, D)``, Z.
        inverse: ``(D, D)``, Z^(-1), to look at whitened images.
        epsilon: in the square of the unit of x (inside) or its inverse (outside).
        regularizer: where epsilon stands.

    Source: Bell and Sejnowski (1997); Krizhevsky (2009), appendix A.
    """

    mean: Tensor
    matrix: Tensor
    inverse: Tensor
    epsilon: float
    regularizer: str

    @classmethod
    def fit(cls, x: Tensor, *, epsilon: float = 1e-6, regularizer: str = "inside") -> Whitening:
        """Whitening of ``x`` ``(N, C, *size)`` or ``(N, D)``, D the values of one example.

        The covariance (divided by N) and its eigenvectors are computed in float64.

        Raises:
            ValueError: an argument is out of its range.
            DataError: the covariance is singular and nothing inside the root makes up for it.
        """
        if regularizer not in ("inside", "outside"):
            raise ValueError(f"regularizer: expected 'inside' or 'outside', got {regularizer!r}")
        if not epsilon >= 0:
            raise ValueError(f"epsilon: expected a number >= 0, got {epsilon!r}")
        flat = x.flatten(1)
        pieces = flat.split(4096)
        zero = torch.zeros(flat.shape[1], dtype=torch.float64, device=x.device)
        mean = sum((p.double().sum(0) for p in pieces), zero) / len(flat)
        covariance = torch.zeros(len(mean), len(mean), dtype=torch.float64, device=x.device)
        for piece in pieces:
            centered = piece.double() - mean
            covariance.addmm_(centered.T, centered, alpha=1 / len(flat))
        values, vectors = torch.linalg.eigh(covariance)
        inside = values + epsilon if regularizer == "inside" else values
        # Rounding leaves eigenvalues of about this size where the exact ones are zero.
        floor = float(values.max().clamp(min=0)) * len(mean) * torch.finfo(torch.float64).eps
        if float(inside.min()) <= floor:
            raise DataError(
                f"normalize='zca': expected a covariance of full rank, got a smallest eigenvalue "
                f"of {float(values.min()):.1e}; use regularizer='inside' with epsilon > {floor:.1e}"
            )
        scale = inside.rsqrt() + (epsilon if regularizer == "outside" else 0.0)
        matrix = (vectors * scale) @ vectors.T
        inverse = (vectors / scale) @ vectors.T
        return cls(mean.to(x.dtype), matrix.to(x.dtype), inverse.to(x.dtype), epsilon, regularizer)

    def apply(self, x: Tensor) -> Tensor:
        """``(x - mean) Z``, in the shape of x ``(N, C, *size)`` or ``(N, D)``."""
        return ((self._flat(x) - self.mean.to(x)) @ self.matrix.to(x)).view(x.shape)

    def invert(self, x: Tensor) -> Tensor:
        """``x Z^(-1) + mean``: back to the raw values."""
        return (self._flat(x) @ self.inverse.to(x) + self.mean.to(x)).view(x.shape)

    def _flat(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        if flat.shape[1] != len(self.mean):
            raise DataError(
                f"Whitening: expected examples of {len(self.mean)} values, got x {tuple(x.shape)}"
            )
        return flat

    def words(self) -> str:
        """What it does, for a report."""
        return "ZCA-whitened with the statistics of another training set"

    def save(self, path: Path | str) -> None:
        """Write the statistics as a safetensors file."""
        tensors = {"mean": self.mean, "matrix": self.matrix, "inverse": self.inverse}
        settings = {"epsilon": repr(self.epsilon), "regularizer": self.regularizer}
        save_tensors(path, "whitening", tensors, **settings)

    @classmethod
    def read(cls, path: Path | str) -> Whitening:
        """Read what :meth:`save` wrote.

        Raises:
            DataError: the file is missing, damaged or holds something else.
        """
        tensors, metadata = read_tensors(path, "whitening", ("mean", "matrix", "inverse"))
        try:
            epsilon = float(metadata["epsilon"])
            return cls(**tensors, epsilon=epsilon, regularizer=metadata["regularizer"])
        except (KeyError, ValueError) as error:
            raise DataError(f"{path}: expected epsilon and regularizer, got {metadata}") from error
