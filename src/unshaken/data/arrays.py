"""Data of the user's own: ``.npz`` files, folders of ``.npy`` or CSV arrays, one CSV table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from .errors import DataError, reading
from .holdout import NOTE, holdout
from .paged import mapped, memory_limit
from .published import published_moons
from .raw import Array, Raw, finish
from .statistics import write_whole

__all__ = ["array_folder", "is_array_folder", "npz", "table", "write_arrays"]

_NEEDED = ("x_train", "y_train", "x_test", "y_test")
_LABELS = ("label", "class", "target", "y")


def write_arrays(
    path: Path | str,
    *,
    x_train: Tensor | Array,
    y_train: Tensor | Array,
    x_test: Tensor | Array,
    y_test: Tensor | Array,
    x_unlabeled: Tensor | Array | None = None,
) -> None:
    """Write an ``.npz`` file that ``load(path)`` reads, whole or not at all.

    Args:
        path: ends in ``.npz``.
        x_train: ``(N, C, *size)`` or ``(N, D)``; uint8 for pixels of 0 .. 255, which ``load``
            divides by 255, or floating point for values with a unit of their own. ``load`` takes
            ``(N, H, W, C)`` with 1, 3 or 4 channels, too, and uint8 of shape ``(N, H, W)``;
            floating point of shape ``(N, H, W)`` would be a signal of H channels.
        y_train: ``(N,)`` whole numbers 0 .. classes - 1.
        x_test: ``(M, C, *size)`` or ``(M, D)``.
        y_test: ``(M,)``.
        x_unlabeled: ``(U, C, *size)`` or ``(U, D)``, examples without a label.

    Raises:
        ValueError: the path does not end in ``.npz``.
        DataError: the arrays are not what ``load`` would accept.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"path: expected a name that ends in .npz, got {path.name!r}")
    given = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
    if x_unlabeled is not None:
        given["x_unlabeled"] = x_unlabeled
    arrays: dict[str, Any] = {
        key: value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
        for key, value in given.items()
    }
    finish(_raw(arrays, str(path), ""), str(path), str(path), "none")
    file = io.BytesIO()
    # No allow_pickle: an older NumPy saves it as an array of that name.
    np.savez_compressed(file, **arrays)
    write_whole(path, file.getvalue())


def npz(path: Path, seed: int) -> Raw:
    """The arrays ``x_train, y_train, x_test, y_test`` and, if there, ``x_unlabeled``.

    A file with ``x_labeled, y_labeled, x_test, y_test, embedding`` instead is the published set
    of moons or circles (:func:`published_moons`).

    Raises:
        DataError: the file is damaged, an array is missing or not an array of numbers.
    """
    expected = f"an .npz file with {', '.join(_NEEDED)}"
    with reading(path, expected), path.open("rb") as file:
        # Anything but a zip archive must not reach numpy.load, which would take it for a pickle.
        if file.read(2) != b"PK":
            raise DataError(f"{path}: expected a zip archive, got another format")
        file.seek(0)
        with _of_numbers(path), np.load(file, allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files}
    if {"x_labeled", "y_labeled"} <= set(arrays):
        return published_moons(arrays, str(path), seed)
    return _raw(arrays, str(path), f"arrays of {path.name}")


def is_array_folder(folder: Path) -> bool:
    """Whether a folder holds ``x_train.npy`` or ``x_train.csv``."""
    return any((folder / f"x_train{suffix}").is_file() for suffix in (".npy", ".csv"))


def array_folder(folder: Path) -> Raw:
    """The arrays of an ``.npz`` file, each in a file of its own: ``x_train.npy`` or ``.csv``, ...

    A CSV array has one row for each example, numbers separated by commas, and may have one line
    of names above them. Training examples in ``.npy`` files that would take more memory than
    :func:`~unshaken.data.paged.memory_limit` stay in their files, and batches are read from there.

    Raises:
        DataError: a file is missing or damaged.
    """
    arrays: dict[str, Array] = {}
    large = _too_large(folder)
    for key in (*_NEEDED, "x_unlabeled"):
        binary, text = folder / f"{key}.npy", folder / f"{key}.csv"
        if binary.is_file():
            with reading(binary, "an array of numbers"), _of_numbers(binary):
                _check_npy(binary)
                arrays[key] = mapped(binary) if key in large else np.load(binary)
        elif text.is_file():
            values, _ = _numbers(text)
            arrays[key] = values[:, 0] if key.startswith("y") and values.shape[1] == 1 else values
    return _raw(arrays, str(folder), f"arrays of {folder.name}")


def _too_large(folder: Path) -> frozenset[str]:
    """The arrays that stay on disk: all training examples, or none, so that they go together."""
    found = {key: folder / f"{key}.npy" for key in ("x_train", "x_unlabeled")}
    found = {key: path for key, path in found.items() if path.is_file()}
    limit, values = memory_limit(), 0
    if 4 * sum(path.stat().st_size for path in found.values()) <= limit:
        return frozenset()  # even bytes, which take four times as much as float32
    for path in found.values():
        with reading(path, "an array of numbers"), _of_numbers(path):
            _check_npy(path)
            values += mapped(path).size
    return frozenset(found) if 4 * values > limit else frozenset()


def _check_npy(path: Path) -> None:
    # NumPy takes any other content for a pickle or an archive.
    with path.open("rb") as file:
        if file.read(6) != b"\x93NUMPY":
            raise DataError(f"{path}: expected an array of numbers (.npy), got another format")


@contextmanager
def _of_numbers(path: Path) -> Iterator[None]:
    """Say of arrays of objects, which would have to be unpickled, what they are."""
    try:
        yield
    except ValueError as error:
        if "Object arrays" not in str(error) and "Python objects" not in str(error):
            raise
        raise DataError(
            f"{path}: expected arrays of numbers, got Python objects (rows of unequal length, or "
            "text); give them a numeric type before saving"
        ) from error


def table(path: Path) -> Raw:
    """One CSV table: a row for each example, one column with the label.

    The label stands in the column called label, class, target or y, or else in the last one. A
    fixed fifth of each class tests.

    Raises:
        DataError: the file is damaged, or its labels are not whole numbers from 0 on.
    """
    values, names = _numbers(path)
    if values.shape[1] < 2:
        raise DataError(f"{path}: expected a label and at least one feature, got one column")
    found = [i for i, name in enumerate(names) if name.strip().lower() in _LABELS]
    column = found[0] if found else values.shape[1] - 1
    x, y = np.delete(values, column, axis=1), values[:, column]
    if not np.isfinite(y).all():
        raise DataError(f"{path}: expected a label in each row, got NaN or infinity")
    bad = np.flatnonzero(~np.isfinite(x).all(1))
    if len(bad):
        line = int(bad[0]) + (2 if names else 1)
        raise DataError(f"{path}: expected finite numbers, got NaN or infinity in line {line}")
    train, test = holdout(str(path), [str(i) for i in range(len(y))], y)
    return Raw(
        x[train],
        y[train],
        x[test],
        y[test],
        scale=None,
        info=_info(f"table {path.name}", NOTE),
    )


def _raw(arrays: Mapping[str, Array], source: str, words: str) -> Raw:
    missing = [key for key in _NEEDED if key not in arrays]
    if missing:
        raise DataError(
            f"{source}: expected the arrays {', '.join(_NEEDED)}, got no {', '.join(missing)} "
            f"among {', '.join(arrays) or 'none'}"
        )
    inputs = {key: arrays[key] for key in ("x_train", "x_test", "x_unlabeled") if key in arrays}
    for key, x in inputs.items():
        if x.dtype.kind in "iu" and x.dtype != np.uint8 and x.ndim > 2:
            raise DataError(
                f"{source}: {key}: expected pixels as uint8 (0 .. 255) or floating point, got "
                f"{x.dtype}"
            )
    types = {str(x.dtype) for x in inputs.values()}
    pixels = types == {"uint8"}
    if "uint8" in types and not pixels and all(x.dtype.kind in "biuf" for x in inputs.values()):
        raise DataError(f"{source}: expected inputs of one type, got {', '.join(sorted(types))}")
    inputs = {key: _channels_first(x) for key, x in inputs.items()}
    return Raw(
        inputs["x_train"],
        arrays["y_train"],
        inputs["x_test"],
        arrays["y_test"],
        x_unlabeled=inputs.get("x_unlabeled"),
        scale=255.0 if pixels else None,
        info=_info(words, ""),
    )


def _channels_first(x: Array) -> Array:
    """Images ``(N, H, W, C)``, and pixels ``(N, H, W)``, with the channels on axis 1.

    Others are unchanged: what has three axes and is no uint8 may be a signal ``(N, C, L)``.
    """
    if x.ndim == 3 and x.dtype == np.uint8:
        return x[:, None]
    if x.ndim == 4 and x.shape[3] in (1, 3, 4) and min(x.shape[1:3]) > 4:
        moved = x.transpose(0, 3, 1, 2)
        return moved if isinstance(x, np.memmap) else np.ascontiguousarray(moved)
    return x


def _numbers(path: Path) -> tuple[Array, list[str]]:
    """The numbers of a CSV file, ``(rows, columns)``, and its names, if it begins with them."""
    with reading(path, "numbers separated by commas"):
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = next(csv.reader(file), [])
        try:
            [float(cell) for cell in first]
            names = []
        except ValueError:
            names = first
        values = np.loadtxt(
            path, delimiter=",", ndmin=2, skiprows=1 if names else 0, encoding="utf-8-sig"
        )
    if values.size == 0:
        raise DataError(f"{path}: expected at least one row of numbers, got none")
    return values, names


def _info(source: str, note: str) -> dict[str, str]:
    return {"source": source, "license": "not stated", "augmentation": "none", "note": note}
