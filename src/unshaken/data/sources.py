"""From a name to a data set."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from .arrays import array_folder, is_array_folder, npz, table
from .cifar import cifar, cifar_location, cifar_parquet
from .dataset import Dataset
from .digits import digits
from .downloading import fetch
from .errors import DataError
from .folders import image_folder
from .hub import PREFIX, hub
from .idx import is_idx_folder, mnist
from .normalization import Standardization
from .parquet import parquet, parquet_files
from .raw import Raw, finish
from .svhn import svhn
from .synthetic import circles, moons, sinusoids
from .whitening import Whitening

__all__ = ["GENERATED", "NAMES", "default_root", "load", "location"]

GENERATED: Mapping[str, Callable[[int], Raw]] = {
    "digits": digits,
    "moons": moons,
    "circles": circles,
    "sinusoids": sinusoids,
}

_PUBLISHED = ("mnist", "svhn", "cifar10", "cifar100")

NAMES = (*GENERATED, *_PUBLISHED)
"""Names that :func:`load` knows, besides paths and ``hub:OWNER/NAME``."""


def load(
    name: str,
    *,
    seed: int = 0,
    root: Path | str | None = None,
    download: bool = False,
    normalize: str | Standardization | Whitening | None = None,
) -> Dataset:
    """Load a data set by its name.

    - ``digits``: scikit-learn's 8 x 8 digits, with a fixed test set of 500.
    - ``sinusoids``, ``moons``, ``circles``: drawn from the seed.
    - ``mnist``, ``svhn``, ``cifar10``, ``cifar100``: the published files, in ``root/NAME`` or in
      ``root``.
    - A path to a folder: IDX files, CIFAR's batches, SVHN's ``.mat`` files, parquet files, arrays
      (``x_train.npy`` or ``x_train.csv``, ...), or pictures in ``train/CLASS/*`` and
      ``test/CLASS/*``, or in ``CLASS/*`` alone.
    - A path to a file: ``.npz`` arrays, a ``.csv`` table, or CIFAR's ``.tar.gz``.
    - ``hub:OWNER/NAME[:CONFIG][@REVISION]``: pictures of the Hugging Face hub.

    The four published names must match the published checksums to the last bit (but for
    CIFAR as parquet files, which have none); files given by their path are checked for their
    format only, so FashionMNIST, say, loads by its path.

    Args:
        name: one of :data:`NAMES`, a path, or ``hub:OWNER/NAME``.
        seed: draws the generated sets; the others do not depend on it.
        root: where the published files are; None for the environment variable ``UNSHAKEN_DATA``
            or, without it, ``~/.cache/unshaken``.
        download: whether to fetch published files that are missing from their publishers.
        normalize: "none", "unit" (pixels in [0, 1]), "centered" (minus 1/2), "standard" (each
            channel to mean 0 and variance 1), "zca" (whitened); statistics are those of the
            training set. None for "centered" where values are pixels and "none" elsewhere. Or the
            statistics of another set, as :func:`read_normalization` finds them in a run's folder;
            they apply to pixels in [0, 1].

    Raises:
        ValueError: an argument is unknown.
        DataError: a file is missing, damaged, or not what it should be.
        ImportError: a library that only this set needs is missing.
    """
    if name in GENERATED:
        return finish(GENERATED[name](seed), name, name, normalize)
    if name in _PUBLISHED:
        folder = default_root() if root is None else Path(root)
        return finish(_published(name, folder, download), name, name, normalize)
    if name.startswith(PREFIX):
        return finish(hub(name), name, name, normalize)
    path = Path(name).expanduser()
    if path.is_dir():
        return finish(_folder(path), path.name, name, normalize)
    if path.is_file():
        return finish(_file(path, seed), path.name, name, normalize)
    known = f"one of {', '.join(NAMES)}, an existing path, or hub:OWNER/NAME"
    raise DataError(f"name: expected {known}, got {name!r}")


def default_root() -> Path:
    """The folder of downloaded data: ``UNSHAKEN_DATA`` or ``~/.cache/unshaken``."""
    named = os.environ.get("UNSHAKEN_DATA")
    return Path(named).expanduser() if named else Path.home() / ".cache" / "unshaken"


def location(name: str) -> Path | None:
    """The folder in which the files of a published set are; None where there are none.

    Nothing is read: whether they are whole is seen when they are loaded.
    """
    root = default_root()
    for folder in (root / name, root):
        if (
            (name == "mnist" and is_idx_folder(folder))
            or (name == "svhn" and (folder / "train_32x32.mat").is_file())
            or (name.startswith("cifar") and cifar_location(folder, int(name[5:])) is not None)
            or (name.startswith("cifar") and folder.name == name and parquet_files(folder, "train"))
        ):
            return folder
    return None


def _published(name: str, root: Path, download: bool) -> Raw:
    folders = (root / name, root)
    raw = next((r for r in (_try(name, folder, verify=True) for folder in folders) if r), None)
    if raw is None and download:
        fetch(name, root / name)
        raw = _try(name, root / name, verify=True)
    if raw is None:
        raise DataError(
            f"{name}: expected its published files in {root / name}, got none there; put them "
            "there, name another root (argument or UNSHAKEN_DATA), or pass download=True"
        )
    return raw


def _try(name: str, folder: Path, verify: bool) -> Raw | None:
    """Read a published set from ``folder`` if it is there."""
    if name == "mnist":
        return mnist(folder, verify) if is_idx_folder(folder) else None
    if name == "svhn":
        return svhn(folder, verify) if (folder / "train_32x32.mat").is_file() else None
    classes = int(name.removeprefix("cifar"))
    location = cifar_location(folder, classes)
    if location is not None:
        return cifar(location, classes, verify)
    # Shards in the root itself could belong to any set: only those in a folder of this name.
    if folder.name == name and parquet_files(folder, "train"):
        return cifar_parquet(folder, classes)
    return None


def _folder(folder: Path) -> Raw:
    for name in _PUBLISHED:
        raw = _try(name, folder, verify=False)
        if raw is not None:
            return raw
    if parquet_files(folder, "train"):
        return parquet(folder)
    return array_folder(folder) if is_array_folder(folder) else image_folder(folder)


def _file(path: Path, seed: int) -> Raw:
    if path.suffix == ".npz":
        return npz(path, seed)
    if path.suffix == ".csv":
        return table(path)
    if path.name == "x_train.npy":
        return array_folder(path.parent)
    for classes in (10, 100):
        if cifar_location(path, classes) is not None:
            return cifar(path, classes, verify=False)
    raise DataError(
        f"{path}: expected an .npz file, a .csv table or an archive of CIFAR (other formats are "
        f"named by the folder of their files), got {path.name!r}"
    )
