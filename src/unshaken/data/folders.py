"""A folder of pictures, one folder for each class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .errors import DataError, reading
from .holdout import NOTE, holdout
from .images import JPEG, SUFFIXES, decode
from .raw import Array, Raw

__all__ = ["image_folder"]


def image_folder(folder: Path) -> Raw:
    """Pictures in ``train/CLASS/*`` and ``test/CLASS/*``, or in ``CLASS/*`` alone.

    Classes are numbered in the order of their names. With one level, a fixed fifth of each class
    tests. Pictures in ``unlabeled/*``, beside train and test, become ``x_unlabeled``.

    Raises:
        DataError: a class is empty or unknown, or a picture is damaged or of another size.
        ImportError: pillow is missing.
    """
    nested = (folder / "train").is_dir()
    if nested != (folder / "test").is_dir():
        raise DataError(
            f"{folder}: expected both train/CLASS and test/CLASS, or CLASS alone, got only "
            f"{'train' if nested else 'test'}"
        )
    trained = _classes(folder / "train" if nested else folder)
    names = sorted(trained)
    files, labels = _flatten(trained, names)
    unlabeled: list[Path] = []
    if nested:
        tested = _classes(folder / "test")
        unknown = sorted(set(tested) - set(names))
        if unknown:
            raise DataError(
                f"{folder / 'test' / unknown[0]}: expected one of the classes in train, got a new "
                "one"
            )
        test_files, test_labels = _flatten(tested, names)
        unlabeled = _pictures(folder / "unlabeled") if (folder / "unlabeled").is_dir() else []
        train = np.arange(len(files))
        test = np.arange(len(files), len(files) + len(test_files))
        files, labels = files + test_files, np.concatenate([labels, test_labels])
    else:
        paths = [path.relative_to(folder).as_posix() for path in files]
        train, test = holdout(str(folder), paths, labels)
    # All in one pass: one size, and gray only if all are.
    images, formats = decode((str(path), path) for path in files + unlabeled)
    return Raw(
        images[train],
        labels[train],
        images[test],
        labels[test],
        x_unlabeled=images[len(files) :] if unlabeled else None,
        classes=len(names),
        info={
            "source": f"folder {folder.name}, classes {', '.join(names)}",
            "license": "not stated",
            "augmentation": "none",
            "note": "; ".join(([] if nested else [NOTE]) + ([JPEG] if "JPEG" in formats else [])),
        },
    )


def _classes(folder: Path) -> dict[str, list[Path]]:
    with reading(folder, "a folder with a folder of pictures for each class"):
        inner = [p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")]
    if len(inner) < 2:
        came = f"only {inner[0].name}" if inner else "none"
        raise DataError(f"{folder}: expected a folder for each of at least 2 classes, got {came}")
    return {path.name: _pictures(path) for path in inner}


def _pictures(folder: Path) -> list[Path]:
    with reading(folder, "a folder of pictures"):
        files = sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
        )
    if not files:
        raise DataError(f"{folder}: expected pictures ({', '.join(sorted(SUFFIXES))}), got none")
    return files


def _flatten(classes: dict[str, list[Path]], names: list[str]) -> tuple[list[Path], Array]:
    pairs = [(path, k) for k, name in enumerate(names) for path in classes.get(name, [])]
    return [path for path, _ in pairs], np.array([k for _, k in pairs], dtype=np.int64)
