"""What a reader brings from its files, and how that becomes a data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .dataset import Dataset
from .errors import DataError
from .normalization import Standardization
from .paged import Paged
from .whitening import Whitening

__all__ = ["NORMALIZATIONS", "Raw", "finish", "labels_of"]

Array = NDArray[Any]

NORMALIZATIONS = ("none", "unit", "centered", "standard", "zca")
"""Names of the normalizations that :func:`load` knows."""


@dataclass(frozen=True)
class Raw:
    """Arrays as a file holds them, channels first, before any normalization.

    Attributes:
        scale: what the raw values are divided by to lie in [0, 1] (255 for bytes); None for
            values with a unit of their own, which stay as they are.
        classes: the number of classes where the format fixes it; None to take it from the labels.
    """

    x_train: Array
    y_train: Array
    x_test: Array
    y_test: Array
    x_unlabeled: Array | None = None
    scale: float | None = 255.0
    classes: int | None = None
    info: Mapping[str, str] = field(default_factory=dict)
    plane: Tensor | None = None


def finish(
    raw: Raw, name: str, source: str, normalize: str | Standardization | Whitening | None
) -> Dataset:
    """Check the arrays, normalize them and make the :class:`Dataset`.

    Args:
        raw: what the reader brought.
        name: the data set's name.
        source: the file or folder, as messages name it.
        normalize: one of :data:`NORMALIZATIONS`, or the statistics of another set; None for
            "centered" where the values have a scale and "none" elsewhere.

    Raises:
        DataError: an array is not what it should be.
        ValueError: the normalization is unknown.
    """
    if normalize is None:
        normalize = "none" if raw.scale is None else "centered"
    given = None if isinstance(normalize, str) else normalize
    if isinstance(normalize, str) and normalize not in NORMALIZATIONS:
        raise ValueError(
            f"normalize: expected one of {', '.join(NORMALIZATIONS)}, got {normalize!r}"
        )
    y_train, y_test, classes = _labels(raw, source)
    inputs = {
        "x_train": raw.x_train,
        "x_test": raw.x_test,
        **({} if raw.x_unlabeled is None else {"x_unlabeled": raw.x_unlabeled}),
    }
    divisor = 1.0 if normalize == "none" or raw.scale is None else raw.scale
    tensors = {key: _values(f"{source}: {key}", x, divisor) for key, x in inputs.items()}
    shape = tuple(tensors["x_train"].shape[1:])
    for key, x in tensors.items():
        if tuple(x.shape[1:]) != shape:
            raise DataError(
                f"{source}: {key}: expected examples of shape {shape} as in x_train, got "
                f"{tuple(x.shape[1:])}"
            )
    normalization = given or _fit(str(normalize), tensors["x_train"], source)
    if normalize in ("unit", "centered"):
        for key, x in tensors.items():
            if isinstance(x, Paged):
                continue
            low, high = float(x.min()), float(x.max())
            if low < 0 or high > 1:
                raise DataError(
                    f"{source}: {key}: normalize={normalize!r} expected values in [0, 1], "
                    f"got {low:g} .. {high:g}"
                )
    if normalization is not None and normalize != "unit":
        for key, x in tensors.items():
            if isinstance(x, Paged):
                tensors[key] = x.normalized(normalization)
                continue
            # Piece by piece and in place: a whitened copy would double a large set's memory.
            for piece in x.split(4096):
                piece.copy_(normalization.apply(piece))
    x_test = tensors["x_test"]
    return Dataset(
        name=name,
        y_train=y_train,
        y_test=y_test,
        classes=classes,
        info={**raw.info, "preprocessing": _words(normalize, raw)},
        plane=raw.plane,
        normalization=normalization,
        x_train=tensors["x_train"],
        x_test=x_test if isinstance(x_test, Tensor) else x_test[:],
        x_unlabeled=tensors.get("x_unlabeled"),
    )


def labels_of(title: str, y: Array, classes: int | None = None) -> Tensor:
    """Labels as int64 of shape (N,): whole numbers from 0, below ``classes`` where it is given.

    Raises:
        DataError: anything else.
    """
    if y.ndim != 1 or y.dtype.kind not in "biuf":
        raise DataError(f"{title}: expected whole numbers of shape (N,), got {y.dtype} {y.shape}")
    if len(y) == 0:
        raise DataError(f"{title}: expected at least one label, got none")
    if y.dtype.kind == "f":
        wrong = y[~np.isfinite(y) | (y != np.floor(y))]
        if len(wrong):
            raise DataError(f"{title}: expected whole numbers, got {wrong[0]:g}")
    low, high = y.min(), y.max()
    if low < 0:
        raise DataError(
            f"{title}: expected labels from 0 on, got {low:g}; examples without a label belong "
            "into x_unlabeled"
        )
    if classes is not None and high >= classes:
        raise DataError(f"{title}: expected labels 0 .. {classes - 1}, got {high:g}")
    return torch.from_numpy(y.astype(np.int64))


def _labels(raw: Raw, source: str) -> tuple[Tensor, Tensor, int]:
    y_train = labels_of(f"{source}: y_train", raw.y_train, raw.classes)
    for title, x, y in (
        ("train", raw.x_train, raw.y_train),
        ("test", raw.x_test, raw.y_test),
    ):
        if x.ndim == 0 or len(x) != len(y):
            raise DataError(
                f"{source}: expected as many labels as examples, got x_{title} {x.shape} and "
                f"y_{title} {y.shape}"
            )
    # Distinct labels first: counting 0 .. max would take the memory that one wild label asks for.
    present = torch.unique(y_train)
    if len(present) < 2:
        raise DataError(
            f"{source}: y_train: expected at least 2 classes, got the label {int(present[0])} only"
        )
    classes = raw.classes or int(present[-1]) + 1
    if raw.classes is None and len(present) < classes:
        missing = int((present != torch.arange(len(present))).nonzero()[0])
        raise DataError(
            f"{source}: y_train: expected every label of 0 .. {classes - 1}, got none of {missing}"
        )
    return y_train, labels_of(f"{source}: y_test", raw.y_test, classes), classes


def _values(title: str, x: Array, divisor: float) -> Tensor | Paged:
    """In memory, or where the file is mapped still there."""
    if not isinstance(x, np.memmap):
        return _float(title, x, divisor)
    _float(title, x[:1], divisor)
    return Paged([x], divisor)


def _float(title: str, x: Array, divisor: float) -> Tensor:
    if x.dtype.kind not in "biuf":
        raise DataError(f"{title}: expected numbers (uint8 or floating point), got {x.dtype}")
    if x.ndim < 2 or 0 in x.shape:
        raise DataError(f"{title}: expected a non-empty (N, C, *size) or (N, D), got {x.shape}")
    with np.errstate(over="ignore"):
        tensor = torch.from_numpy(x.astype(np.float32))
    if x.dtype.kind == "f" and not tensor.isfinite().all():
        row = int((~tensor.isfinite().flatten(1).all(1)).nonzero()[0])
        raise DataError(
            f"{title}: expected finite values in float32, got NaN or infinity in example {row}"
        )
    return tensor if divisor == 1.0 else tensor.div_(divisor)


def _fit(normalize: str, x: Tensor | Paged, source: str) -> Standardization | Whitening | None:
    if normalize == "none":
        return None
    if normalize in ("unit", "centered"):
        mean = torch.tensor([0.5 if normalize == "centered" else 0.0])
        return Standardization(mean, torch.ones(1))
    if isinstance(x, Paged) and normalize == "zca":
        raise DataError(
            f"{source}: normalize='zca' needs x_train in memory, but it is larger than the limit "
            "(UNSHAKEN_MEMORY)"
        )
    try:
        if isinstance(x, Paged) or normalize == "standard":
            return Standardization.fit(x)
        return Whitening.fit(x)
    except DataError as error:
        raise DataError(f"{source}: {error}") from error


def _words(normalize: str | Standardization | Whitening, raw: Raw) -> str:
    scaled = "" if raw.scale is None or normalize == "none" else f"divided by {raw.scale:g}, "
    words = {
        "none": "values as they came",
        "unit": f"{scaled}in [0, 1]",
        "centered": f"{scaled}minus 0.5",
        "standard": f"{scaled}standardized per channel with the training set's mean and deviation",
        "zca": f"{scaled}ZCA-whitened with the training set's statistics",
    }
    told = words[normalize] if isinstance(normalize, str) else f"{scaled}{normalize.words()}"
    before = raw.info.get("preprocessing")
    return f"{before}; {told}" if before else told
