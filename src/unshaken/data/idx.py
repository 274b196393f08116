"""MNIST and its relatives: four IDX files, gzipped or not."""

from __future__ import annotations

import gzip
import math
import struct
from pathlib import Path

import numpy as np

from .checksums import MNIST, check_md5
from .errors import DataError, reading
from .raw import Array, Raw

__all__ = ["is_idx_folder", "mnist", "read_idx"]

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

_LARGEST = 1 << 40


def read_idx(path: Path, md5: str | None = None) -> Array:
    """The array in an IDX file, decompressed first where its name ends in ``.gz``.

    Args:
        path: the file.
        md5: the published MD5 of the decompressed file, or None to check the format only.

    Raises:
        DataError: the file is missing, damaged, or not an IDX file.
    """
    unpack = gzip.open if path.suffix == ".gz" else open
    with reading(path, "an IDX file"), unpack(path, "rb") as file:
        head = file.read(4)
        if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _TYPES:
            raise DataError(f"{path}: expected the magic number of IDX, got {head.hex(' ')!r}")
        dtype, axes = np.dtype(_TYPES[head[2]]), head[3]
        sizes = file.read(4 * axes)
        if axes == 0 or len(sizes) < 4 * axes:
            raise DataError(f"{path}: expected {axes} sizes after the magic number, got fewer")
        shape = struct.unpack(f">{axes}I", sizes)
        length = math.prod(shape) * dtype.itemsize
        if length > _LARGEST:
            raise DataError(f"{path}: expected sizes of at most {_LARGEST} bytes, got {shape}")
        # One byte more than there should be: a longer file is as wrong as a shorter one.
        content = file.read(length + 1)
    if len(content) != length:
        came = "more" if len(content) > length else f"{len(content)}"
        raise DataError(f"{path}: expected {length} bytes for the sizes {shape}, got {came}")
    if md5 is not None:
        check_md5(str(path), head + sizes + content, md5)
    return np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def is_idx_folder(folder: Path) -> bool:
    """Whether a folder holds the training images under one of the usual names."""
    return _find(folder, "train-images-idx3-ubyte") is not None


def mnist(folder: Path, verify: bool) -> Raw:
    """The four IDX files of MNIST, or of a set in its layout.

    Args:
        folder: holds ``train-images-idx3-ubyte`` and the others, each as it is or with ``.gz``.
        verify: whether they must be those of MNIST to the last bit; else any set in this layout.

    Raises:
        DataError: a file is missing, damaged, or does not fit the others.
    """
    arrays = []
    for name, md5 in MNIST.items():
        path = _find(folder, name)
        if path is None:
            raise DataError(f"{folder}: expected {name} or {name}.gz, got neither")
        array = read_idx(path, md5 if verify else None)
        axes = 3 if "images" in name else 1
        if array.dtype != np.uint8 or array.ndim != axes:
            raise DataError(
                f"{path}: expected bytes with {axes} axes, got {array.dtype} {array.shape}"
            )
        arrays.append(array)
    return Raw(
        arrays[0][:, None],
        arrays[1],
        arrays[2][:, None],
        arrays[3],
        classes=10 if verify else None,
        info={
            "source": "MNIST (LeCun, Cortes, Burges)" if verify else f"IDX files of {folder.name}",
            "license": "CC BY-SA 3.0" if verify else "not stated",
            "augmentation": "none",
            "note": "checksums of the published files verified" if verify else "",
        },
    )


def _find(folder: Path, name: str) -> Path | None:
    names = (name, f"{name}.gz", name.replace("-idx", ".idx"), name.replace("-idx", ".idx") + ".gz")
    return next((folder / n for n in names if (folder / n).is_file()), None)
