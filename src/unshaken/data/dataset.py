"""What a data set is: tensors for training and testing, and what is known of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from .errors import DataError
from .normalization import Standardization
from .paged import Paged
from .whitening import Whitening

__all__ = ["Dataset"]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training and test examples, in memory or, where they are too many, mapped from files.

    Inputs have the shape ``(N, C, *size)`` (signals, images, volumes; channels first) or
    ``(N, D)`` (plain vectors) and the type float32; labels the shape ``(N,)``, the type int64 and
    values ``0 .. classes - 1``.

    Attributes:
        name: what the set was loaded as.
        x_train: ``(N, C, *size)`` or ``(N, D)``, all training examples whose label is known; a
            tensor, or a :class:`~unshaken.data.paged.Paged` that is indexed like one.
        y_train: ``(N,)``.
        x_test: ``(M, C, *size)`` or ``(M, D)``.
        y_test: ``(M,)``.
        classes: number of classes, at least 2.
        x_unlabeled: ``(U, C, *size)`` or ``(U, D)``, further examples without a label, or None.
        info: ``source``, ``license``, ``preprocessing``, ``augmentation`` and ``note`` in words.
        plane: ``(2, D)`` for sets that live in a plane (moons, circles):
            ``x = points @ plane``; its rows are orthonormal, so ``points = x @ plane.T``.
        normalization: what took the raw values (pixels in [0, 1]) to ``x_train``; None where the
            values are as they came.

    Raises:
        DataError: a shape, type, length or label does not fit, or an input is not finite.
    """

    name: str
    x_train: Tensor | Paged
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor
    classes: int
    x_unlabeled: Tensor | Paged | None = None
    info: Mapping[str, str] = field(default_factory=dict)
    plane: Tensor | None = None
    normalization: Standardization | Whitening | None = None

    def __post_init__(self) -> None:
        if self.classes < 2:
            raise DataError(f"{self.name}: expected at least 2 classes, got {self.classes}")
        shape = tuple(self.x_train.shape[1:])
        for title, x in self._inputs():
            _check_inputs(f"{self.name}: {title}", x, shape)
        for title, x, y in (
            ("train", self.x_train, self.y_train),
            ("test", self.x_test, self.y_test),
        ):
            _check_labels(f"{self.name}: y_{title}", y, len(x), self.classes)
        if self.plane is not None and tuple(self.plane.shape) != (2, *shape):
            raise DataError(
                f"{self.name}: plane: expected the shape (2, D) with inputs of shape (D,), got "
                f"{tuple(self.plane.shape)} and {shape}"
            )

    def _inputs(self) -> list[tuple[str, Tensor | Paged]]:
        named: list[tuple[str, Tensor | Paged]] = [
            ("x_train", self.x_train),
            ("x_test", self.x_test),
        ]
        return named if self.x_unlabeled is None else [*named, ("x_unlabeled", self.x_unlabeled)]

    @property
    def size(self) -> tuple[int, ...]:
        """The sizes of the lattice, ``(H, W)`` for images; empty for plain vectors."""
        return tuple(self.x_train.shape[2:])

    @property
    def channels(self) -> int:
        """The number of channels, or of features for plain vectors."""
        return self.x_train.shape[1]

    @property
    def features(self) -> int:
        """The number of values of one example, all channels and positions together."""
        return self.x_train[0].numel()

    @cached_property
    def x_all(self) -> Tensor | Paged:
        """``x_train`` followed by ``x_unlabeled``: what ``Split.unlabeled`` indexes.

        An index below ``len(x_train)`` is a training example, any other one is an example
        without a label. Without ``x_unlabeled`` this is ``x_train`` itself, not a copy.
        """
        if self.x_unlabeled is None:
            return self.x_train
        if isinstance(self.x_train, Paged) and isinstance(self.x_unlabeled, Paged):
            return self.x_train.followed_by(self.x_unlabeled)
        return torch.cat([self.x_train[:], self.x_unlabeled[:]])

    def __repr__(self) -> str:
        unlabeled = 0 if self.x_unlabeled is None else len(self.x_unlabeled)
        return (
            f"Dataset({self.name!r}, {tuple(self.x_train.shape[1:])}, {self.classes} classes, "
            f"{len(self.x_train)} train, {len(self.x_test)} test, {unlabeled} unlabeled)"
        )


def _check_inputs(title: str, x: Tensor | Paged, shape: tuple[int, ...]) -> None:
    if x.dtype != torch.float32:
        raise DataError(f"{title}: expected float32, got {x.dtype}")
    if x.ndim < 2 or 0 in x.shape:
        raise DataError(
            f"{title}: expected a non-empty (N, C, *size) or (N, D), got {tuple(x.shape)}"
        )
    if tuple(x.shape[1:]) != shape:
        raise DataError(
            f"{title}: expected examples of shape {shape} as in x_train, got {tuple(x.shape[1:])}"
        )
    bad = _first_bad_row(x) if isinstance(x, Tensor) else None
    if bad is not None:
        raise DataError(
            f"{title}: expected finite values in float32, got NaN or infinity in example {bad}"
        )


def _first_bad_row(x: Tensor, rows: int = 4096) -> int | None:
    # In pieces: isfinite of a whole set would take a quarter of its memory once more.
    for start in range(0, len(x), rows):
        finite = x[start : start + rows].isfinite()
        if not finite.all():
            return start + int((~finite.flatten(1).all(1)).nonzero()[0])
    return None


def _check_labels(title: str, y: Tensor, examples: int, classes: int) -> None:
    if y.dtype != torch.int64 or y.ndim != 1:
        raise DataError(f"{title}: expected int64 of shape (N,), got {y.dtype} {tuple(y.shape)}")
    if len(y) != examples:
        raise DataError(f"{title}: expected {examples} labels, one per example, got {len(y)}")
    low, high = int(y.min()), int(y.max())
    if low < 0 or high >= classes:
        wrong = low if low < 0 else high
        raise DataError(f"{title}: expected labels 0 .. {classes - 1}, got {wrong}")
