"""SVHN's cropped digits from their MATLAB files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .checksums import SVHN, md5_of_file
from .errors import DataError, reading
from .matlab import read_matlab
from .raw import Array, Raw

__all__ = ["svhn"]


def svhn(folder: Path, verify: bool) -> Raw:
    """Images ``(3, 32, 32)`` and labels 0 .. 9 of ``train_32x32.mat`` and ``test_32x32.mat``.

    Args:
        folder: holds the two files.
        verify: whether they must be the published ones to the last bit.

    Raises:
        DataError: a file is missing, damaged, or does not hold what it should.
    """
    x_train, y_train = _read(folder / "train_32x32.mat", verify)
    x_test, y_test = _read(folder / "test_32x32.mat", verify)
    return Raw(
        x_train,
        y_train,
        x_test,
        y_test,
        classes=10,
        info={
            "source": "SVHN, cropped digits (Netzer et al. 2011)",
            "license": "for non-commercial use only",
            "augmentation": "papers: translation by up to 2 pixels",
            "note": "checksums of the published files verified" if verify else "",
        },
    )


def _read(path: Path, verify: bool) -> tuple[Array, Array]:
    with reading(path, "a MATLAB file with X and y"):
        if verify:
            md5_of_file(path, SVHN[path.name])
    images, labels = read_matlab(path, ("X", "y"))
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[:3] != (32, 32, 3):
        raise DataError(
            f"{path}: X: expected bytes of shape (32, 32, 3, N), got {images.dtype} {images.shape}"
        )
    if labels.dtype.kind not in "uif" or labels.shape != (images.shape[3], 1):
        raise DataError(
            f"{path}: y: expected numbers of shape ({images.shape[3]}, 1), got {labels.dtype} "
            f"{labels.shape}"
        )
    digits = labels[:, 0]
    if not np.isin(digits, np.arange(1, 11)).all():
        wrong = digits[~np.isin(digits, np.arange(1, 11))][0]
        raise DataError(f"{path}: y: expected 1 .. 10 (10 is the digit 0), got {wrong:g}")
    return np.ascontiguousarray(images.transpose(3, 2, 0, 1)), digits.astype(np.int64) % 10
