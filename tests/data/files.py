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


def python2_pickle(batch: Mapping[str, Any]) -> bytes:
    """A batch as Python 2 and the NumPy of its time pickled it, as the published ones are.

    Protocol 2, opcode by opcode: text is bytes without an encoding (SHORT_BINSTRING), and an array
    is made by ``numpy.core.multiarray._reconstruct`` and filled by its state.
    """

    def text(value: str) -> bytes:
        return b"U" + bytes([len(value)]) + value.encode("latin-1")

    def whole(value: int) -> bytes:
        return b"K" + bytes([value]) if value < 256 else b"M" + struct.pack("<H", value)

    def item(value: Any) -> bytes:
        if isinstance(value, str):
            return text(value)
        if isinstance(value, list):
            return b"](" + b"".join(map(item, value)) + b"e"
        if isinstance(value, int):
            return whole(value)
        content = np.ascontiguousarray(value).tobytes()
        shape = b"".join(map(whole, value.shape)) + b"\x86"
        dtype = b"cnumpy\ndtype\n" + text("u1") + b"K\0K\1\x87R"
        dtype += b"(K\3" + text("|") + b"NNN" + 2 * b"J\xff\xff\xff\xff" + b"K\0tb"
        raw = b"T" + struct.pack("<i", len(content)) + content
        made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85" + text("b")
        return made + b"\x87R(K\1" + shape + dtype + b"\x89" + raw + b"tb"

    entries = b"".join(text(key) + item(value) for key, value in batch.items())
    return b"\x80\2}(" + entries + b"u."


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
