"""Writes small data files in every format that the readers know."""

import gzip
import io
import pickle
import struct
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def pixels(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, dtype=np.uint8)


def idx_bytes(array: Array, magic: bytes = b"\0\0\x08") -> bytes:
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return magic + bytes([array.ndim]) + sizes + array.tobytes()


def write_idx_folder(folder: Path, **changed: bytes | None) -> Path:
    """Twenty training and ten test digits of 5 x 5; ``changed`` replaces or omits whole files."""
    labels = np.arange(20, dtype=np.uint8) % 10
    contents: dict[str, bytes | None] = {
        "train_images": idx_bytes(pixels(20, 5, 5)),
        "train_labels": idx_bytes(labels),
        "t10k_images": idx_bytes(pixels(10, 5, 5)),
        "t10k_labels": idx_bytes(labels[:10]),
        **changed,
    }
    folder.mkdir(parents=True, exist_ok=True)
    for key, content in contents.items():
        part, kind = key.split("_")
        name = f"{part}-{kind}-idx{3 if kind == 'images' else 1}-ubyte"
        if content is not None and part == "train":
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        elif content is not None:
            (folder / name).write_bytes(content)
    return folder


def cifar_batch(count: int = 10, key: str = "labels", **changed: Any) -> dict[str, Any]:
    labels = [i % 10 for i in range(count)]
    return {"data": pixels(count, 3072), key: labels, "batch_label": "small", **changed}


def write_cifar(folder: Path, batch: bytes | None = None) -> Path:
    """CIFAR-10 extracted, ten images in each batch; ``batch`` replaces the second one."""
    inner = folder / "cifar-10-batches-py"
    inner.mkdir(parents=True)
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        content = pickle.dumps(cifar_batch(), protocol=2)
        (inner / name).write_bytes(batch if batch and name == "data_batch_2" else content)
    return folder


def write_cifar_archive(path: Path, members: Mapping[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def arrays(**changed: Any) -> dict[str, Any]:
    """Arrays of an .npz file that loads; None in ``changed`` leaves one out."""
    content: dict[str, Any] = {
        "x_train": pixels(8, 1, 4, 4),
        "y_train": np.arange(8) % 2,
        "x_test": pixels(4, 1, 4, 4),
        "y_test": np.arange(4) % 2,
        **changed,
    }
    return {key: value for key, value in content.items() if value is not None}


def write_npz(path: Path, **changed: Any) -> Path:
    with path.open("wb") as file:
        np.savez(file, **arrays(**changed))
    return path


def picture_bytes(image: Array, kind: str = "PNG") -> bytes:
    import PIL.Image

    file = io.BytesIO()
    PIL.Image.fromarray(image).save(file, kind)
    return file.getvalue()


def write_parquet(path: Path, images: list[Any], labels: list[Any], **names: str) -> None:
    import pyarrow
    import pyarrow.parquet

    columns = {
        names.get("image", "image"): [
            {"bytes": image, "path": None} if isinstance(image, bytes) else image
            for image in images
        ],
        names.get("label", "label"): labels,
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), path)


def write_pictures(folder: Path, size: tuple[int, ...] = (6, 5, 3), count: int = 5) -> Path:
    """``CLASS/i.png`` for the classes cat and dog."""
    for k, name in enumerate(("cat", "dog")):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            image = np.full(size, 100 * k + i, np.uint8)
            (folder / name / f"{i}.png").write_bytes(picture_bytes(image))
    return folder
