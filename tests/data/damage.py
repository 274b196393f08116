"""Writes bad files: each function returns a writer, or is one, that says what to load."""

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from tests.data import files

Writer = Callable[[Path], Path]


def idx(**changed: bytes | None) -> Writer:
    return lambda folder: files.write_idx_folder(folder, **changed)


def npz(**changed: object) -> Writer:
    return lambda folder: files.write_npz(folder / "bad.npz", **changed)


def raw(name: str, content: bytes) -> Writer:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return write


def cifar(**changed: object) -> Writer:
    batch = files.cifar_batch(**changed)
    return lambda folder: files.write_cifar(folder, pickle.dumps(batch, protocol=2))


def cifar_bytes(content: bytes) -> Writer:
    return lambda folder: files.write_cifar(folder, content)


def svhn(images: files.Array, labels: files.Array) -> Writer:
    def write(folder: Path) -> Path:
        for part in ("train", "test"):
            savemat(folder / f"{part}_32x32.mat", {"X": images, "y": labels})
        return folder

    return write


def pictures(change: Callable[[Path], object]) -> Writer:
    def write(folder: Path) -> Path:
        pytest.importorskip("PIL")
        files.write_pictures(folder)
        change(folder)
        return folder

    return write


def parquet(images: list[object], labels: list[object], **names: str) -> Writer:
    def write(folder: Path) -> Path:
        pytest.importorskip("pyarrow")
        pytest.importorskip("PIL")
        for part in ("train", "test"):
            files.write_parquet(folder / f"{part}.parquet", images, labels, **names)
        return folder

    return write


class Hostile:
    """Unpickled by a trusting reader, it makes a file called executed."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("executed",)


def hostile_archive(folder: Path) -> Path:
    members = {"cifar-10-batches-py/data_batch_1": pickle.dumps(Hostile())}
    return files.write_cifar_archive(folder / "cifar-10-python.tar.gz", members)


def truncated_npz(folder: Path) -> Path:
    path = files.write_npz(folder / "bad.npz")
    path.write_bytes(path.read_bytes()[:-200])
    return path


def flipped_npz(folder: Path) -> Path:
    path = files.write_npz(folder / "bad.npz")
    content = bytearray(path.read_bytes())
    content[content.index(files.arrays()["x_train"].tobytes()) + 9] ^= 4
    path.write_bytes(content)
    return path


def npz_with(member: bytes) -> Writer:
    def write(folder: Path) -> Path:
        with zipfile.ZipFile(folder / "bad.npz", "w") as archive:
            archive.writestr("x_train.npy", member)
        return folder / "bad.npz"

    return write


def truncated_mat(folder: Path) -> Path:
    svhn(files.pixels(32, 32, 3, 4), np.ones((4, 1)))(folder)
    path = folder / "train_32x32.mat"
    path.write_bytes(path.read_bytes()[:3000])
    return folder


def truncated_parquet(folder: Path) -> Path:
    parquet([files.picture_bytes(files.pixels(4, 4))] * 2, [0, 1])(folder)
    path = folder / "train.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    return folder


def flipped_gzip(folder: Path) -> Path:
    files.write_idx_folder(folder)
    path = folder / "train-images-idx3-ubyte.gz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return folder


def truncated_gzip(folder: Path) -> Path:
    files.write_idx_folder(folder)
    path = folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-30])
    return folder


def empty_class(folder: Path) -> None:
    (folder / "bird").mkdir()


def one_class(folder: Path) -> None:
    for path in (folder / "dog").iterdir():
        path.unlink()
    (folder / "dog").rmdir()


def put(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def gray16(folder: Path) -> None:
    deep = np.full((6, 5), 40_000, np.uint16)
    (folder / "cat" / "9.png").write_bytes(files.picture_bytes(deep))


def only_train(folder: Path) -> None:
    (folder / "train").mkdir()


def new_test_class(folder: Path) -> Path:
    pytest.importorskip("PIL")
    files.write_pictures(folder / "train")
    files.write_pictures(folder / "test")
    (folder / "test" / "bird").mkdir()
    (folder / "test" / "bird" / "1.png").write_bytes(files.picture_bytes(files.pixels(6, 5)))
    return folder


def unreadable(folder: Path) -> Path:
    # A folder where a file should be: unreadable for the superuser too.
    files.write_idx_folder(folder, t10k_labels=None)
    (folder / "t10k-labels-idx1-ubyte.gz").symlink_to("t10k-labels-idx1-ubyte.gz")
    return folder


def missing_npy(folder: Path) -> Path:
    np.save(folder / "x_train.npy", files.pixels(4, 1, 2, 2))
    return folder


def pickled_npy(folder: Path) -> Path:
    np.save(folder / "x_train.npy", np.array([Hostile()]), allow_pickle=True)
    return folder
