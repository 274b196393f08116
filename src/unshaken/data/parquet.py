"""Parquet files in the layout of the Hugging Face hub: ``image{bytes, path}`` and ``label``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .errors import DataError, reading
from .extras import require
from .images import JPEG, decode
from .raw import Array, Raw

__all__ = ["IMAGE_COLUMNS", "LABEL_COLUMNS", "parquet", "parquet_files"]

IMAGE_COLUMNS = ("image", "img")
"""Names under which the pictures may stand."""

LABEL_COLUMNS = ("label", "fine_label", "labels")
"""Names under which the labels may stand."""


def parquet_files(folder: Path, part: str) -> list[Path]:
    """The files of ``part`` ("train", "test"): one, or shards in order, here or in ``data/``."""
    for inner in (folder, folder / "data"):
        files = sorted([*inner.glob(f"{part}.parquet"), *inner.glob(f"{part}-*.parquet")])
        if files:
            return files
    return []


def parquet(folder: Path) -> Raw:
    """Pictures and labels of ``train*.parquet`` and ``test*.parquet``.

    Args:
        folder: holds the files.

    Raises:
        DataError: a file is missing, damaged, or does not hold what it should.
        ImportError: pyarrow or pillow is missing.
    """
    x_train, y_train, formats = _part(folder, "train")
    x_test, y_test, more = _part(folder, "test")
    return Raw(
        x_train,
        y_train,
        x_test,
        y_test,
        info={
            "source": f"parquet files of {folder.name}",
            "license": "not stated",
            "augmentation": "none",
            "note": JPEG if "JPEG" in formats | more else "",
        },
    )


def _part(folder: Path, part: str) -> tuple[Array, Array, set[str]]:
    files = parquet_files(folder, part)
    if not files:
        raise DataError(f"{folder}: expected {part}.parquet or {part}-*.parquet, got neither")
    labels: list[Array] = []
    images, formats = decode(_rows(files, labels))
    return images, np.concatenate(labels), formats


def _rows(files: list[Path], labels: list[Array]) -> Iterator[tuple[str, bytes]]:
    """The pictures one after another; the labels are put into ``labels`` on the way."""
    library = require("pyarrow.parquet", "reading parquet files")
    for path in files:
        with reading(path, "a parquet file with the columns image{bytes, path} and label"):
            file = library.ParquetFile(path)
            image = _column(path, file.schema_arrow.names, IMAGE_COLUMNS)
            label = _column(path, file.schema_arrow.names, LABEL_COLUMNS)
            row = 0
            for batch in file.iter_batches(1024, columns=[image, label]):
                labels.append(batch.column(label).to_numpy(zero_copy_only=False))
                for cell in batch.column(image):
                    content = cell.as_py()
                    content = content.get("bytes") if isinstance(content, dict) else content
                    if not isinstance(content, bytes):
                        raise DataError(
                            f"{path}: {image}: expected the bytes of a picture in row {row}, got "
                            f"{type(content).__name__}"
                        )
                    yield f"{path}: row {row}", content
                    row += 1


def _column(path: Path, names: list[str], wanted: tuple[str, ...]) -> str:
    found = [name for name in wanted if name in names]
    if not found:
        raise DataError(
            f"{path}: expected a column {' or '.join(wanted)}, got {', '.join(names) or 'none'}"
        )
    return found[0]
