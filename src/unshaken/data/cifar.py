"""CIFAR-10 and CIFAR-100: the official archive for Python, packed or extracted, or parquet."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from .checksums import CIFAR, check_md5
from .errors import DataError, reading
from .images import JPEG
from .parquet import parquet
from .raw import Array, Raw
from .unpickling import read_pickle

__all__ = ["cifar", "cifar_location", "cifar_parquet"]

_TRAIN = {
    10: [f"cifar-10-batches-py/data_batch_{i}" for i in range(1, 6)],
    100: ["cifar-100-python/train"],
}
_TEST = {10: ["cifar-10-batches-py/test_batch"], 100: ["cifar-100-python/test"]}
_ARCHIVE = {10: "cifar-10-python.tar.gz", 100: "cifar-100-python.tar.gz"}
_LARGEST = 1 << 28  # bytes; the largest file, CIFAR-100's training batch, has 155 million


def cifar_location(folder: Path, classes: int) -> Path | None:
    """The archive, or the folder above the extracted files, at ``folder`` if one is there."""
    inner = _TRAIN[classes][0].split("/")[0]
    for candidate in (folder, folder.parent):
        if (candidate / inner).is_dir() and folder in (candidate, candidate / inner):
            return candidate
    archive = folder if folder.is_file() else folder / _ARCHIVE[classes]
    return archive if archive.name == _ARCHIVE[classes] and archive.is_file() else None


def cifar(location: Path, classes: int, verify: bool) -> Raw:
    """Images ``(3, 32, 32)`` and labels of CIFAR-10 or, with the fine labels, CIFAR-100.

    Args:
        location: what :func:`cifar_location` found.
        classes: 10 or 100.
        verify: whether the files must be the published ones to the last bit.

    Raises:
        DataError: a file is missing, damaged, hostile, or does not hold what it should.
    """
    train, test = _TRAIN[classes], _TEST[classes]
    key = "labels" if classes == 10 else "fine_labels"
    batches = {}
    for name, content in _files(location, [*train, *test]):
        title = f"{location}/{name}"
        if verify:
            check_md5(title, content, CIFAR[name])
        batches[name] = _batch(title, content, key)
    missing = [name for name in [*train, *test] if name not in batches]
    if missing:
        raise DataError(f"{location}: expected {missing[0]}, got no such file in it")
    return Raw(
        np.concatenate([batches[name][0] for name in train]),
        np.concatenate([batches[name][1] for name in train]),
        np.concatenate([batches[name][0] for name in test]),
        np.concatenate([batches[name][1] for name in test]),
        classes=classes,
        info=_info(classes, "checksums of the published files verified" if verify else ""),
    )


def cifar_parquet(folder: Path, classes: int) -> Raw:
    """CIFAR-10 or CIFAR-100 from parquet files, which have no published checksum.

    Raises:
        DataError: a file is missing, damaged, or does not hold what it should.
        ImportError: pyarrow or pillow is missing.
    """
    raw = parquet(folder)
    if raw.x_train.shape[1:] != (3, 32, 32):
        raise DataError(f"{folder}: expected pictures (3, 32, 32), got {raw.x_train.shape[1:]}")
    lossy = "JPEG re-encoding: not the original pixels" if raw.info["note"] == JPEG else ""
    return replace(raw, classes=classes, info=_info(classes, lossy))


def _info(classes: int, note: str) -> dict[str, str]:
    return {
        "source": f"CIFAR-{classes} (Krizhevsky 2009)",
        "license": "none stated by the publisher; cite the technical report",
        "augmentation": "papers: translation by up to 2 pixels, horizontal flip",
        "note": note,
    }


def _files(location: Path, names: list[str]) -> Iterator[tuple[str, bytes]]:
    with reading(location, "the batches of CIFAR for Python"):
        if location.is_dir():
            for name in names:
                if (location / name).is_file():
                    yield name, (location / name).read_bytes()
            return
        # Members are read by name into memory; nothing is ever extracted to a path of theirs.
        with tarfile.open(location, "r:gz") as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isfile() else None
                if member.name in names and file is not None:
                    if member.size > _LARGEST:
                        raise DataError(
                            f"{location}: {member.name}: expected at most {_LARGEST} bytes, "
                            f"got {member.size}"
                        )
                    yield member.name, file.read()


def _batch(title: str, content: bytes, key: str) -> tuple[Array, Array]:
    batch = read_pickle(title, content)
    images, labels = batch.get("data"), batch.get(key)
    if not isinstance(images, np.ndarray) or images.ndim != 2 or images.shape[1] != 3072:
        came = images.shape if isinstance(images, np.ndarray) else type(images).__name__
        raise DataError(f"{title}: data: expected bytes of shape (N, 3072), got {came}")
    if not isinstance(labels, list) or not all(type(label) is int for label in labels):
        raise DataError(f"{title}: {key}: expected a list of whole numbers")
    if len(labels) != len(images):
        raise DataError(
            f"{title}: expected as many labels as images, got {len(labels)} and {len(images)}"
        )
    try:
        return images.reshape(-1, 3, 32, 32), np.array(labels, dtype=np.int64)
    except OverflowError as error:
        raise DataError(f"{title}: {key}: expected labels below 2^63") from error
