"""Published checksums of data files."""

from __future__ import annotations

import hashlib
from pathlib import Path

from .errors import DataError

__all__ = ["CIFAR", "MNIST", "SVHN", "check_md5", "md5_of_file"]

MNIST = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
"""MD5 of the files of MNIST, decompressed."""

CIFAR = {
    "cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a",
    "cifar-10-batches-py/data_batch_1": "c99cafc152244af753f735de768cd75f",
    "cifar-10-batches-py/data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "cifar-10-batches-py/data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "cifar-10-batches-py/data_batch_4": "634d18415352ddfa80567beed471001a",
    "cifar-10-batches-py/data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "cifar-10-batches-py/test_batch": "40351d587109b95175f43aff81a1287e",
    "cifar-100-python.tar.gz": "eb9058c3a382ffc7106e4002c42a8d85",
    "cifar-100-python/train": "16019d7e3df5f24257cddd939b257f8d",
    "cifar-100-python/test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
}
"""MD5 of the archives of CIFAR-10 and CIFAR-100 for Python and of the files in them."""

SVHN = {
    "train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373",
    "test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3",
}
"""MD5 of the cropped digits of SVHN."""


def check_md5(title: str, content: bytes, expected: str) -> None:
    """Compare the MD5 of ``content`` with the published one.

    MD5 is what the publishers give. It tells damage, which is what it is used for here.

    Raises:
        DataError: they differ.
    """
    _compare(title, hashlib.md5(content, usedforsecurity=False).hexdigest(), expected)


def md5_of_file(path: Path, expected: str, title: str | None = None) -> None:
    """Compare the MD5 of a file with the published one, reading it in pieces.

    Messages call the file ``title``, or by its path where that is None.

    Raises:
        DataError: they differ.
    """
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    _compare(title or str(path), digest.hexdigest(), expected)


def _compare(title: str, came: str, expected: str) -> None:
    if came != expected:
        raise DataError(
            f"{title}: expected the published content of MD5 {expected}, got {came}; "
            "the file is damaged or another one"
        )
