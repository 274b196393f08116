"""Any byte of any format changed or any tail cut: the data load or a DataError says why."""

import pickle
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from tests.data import files
from unshaken.data import DataError, Split, Standardization, load, split


def write_svhn(folder: Path) -> None:
    labels = (np.arange(6) % 2 + 1).astype(np.uint8)[:, None]
    for part in ("train", "test"):
        content = {"X": files.pixels(32, 32, 3, 6), "y": labels}
        savemat(folder / f"{part}_32x32.mat", content, do_compression=part == "train")


def write_parquet(folder: Path) -> None:
    pytest.importorskip("pyarrow")
    pytest.importorskip("PIL")
    pictures = [files.picture_bytes(image) for image in files.pixels(4, 5, 4, 3)]
    for part in ("train", "test"):
        files.write_parquet(folder / f"{part}.parquet", list(pictures), [0, 1, 0, 1])


def write_csv(folder: Path) -> None:
    for key, value in files.arrays(x_train=np.eye(8, 3), x_test=np.eye(4, 3)).items():
        np.savetxt(folder / f"{key}.csv", value, delimiter=",")


FORMATS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "idx": (files.write_idx_folder, "t10k-images-idx3-ubyte", ""),
    "idx.gz": (files.write_idx_folder, "train-images-idx3-ubyte.gz", ""),
    "cifar": (
        lambda f: files.write_cifar(f, pickle.dumps(files.cifar_batch(2), protocol=2)),
        "cifar-10-batches-py/data_batch_2",
        "",
    ),
    "svhn": (write_svhn, "test_32x32.mat", ""),
    "svhn compressed": (write_svhn, "train_32x32.mat", ""),
    "npz": (lambda f: files.write_npz(f / "own.npz"), "own.npz", "own.npz"),
    "npy": (
        lambda f: [np.save(f / f"{k}.npy", v) for k, v in files.arrays().items()],
        "x_train.npy",
        "",
    ),
    "csv": (write_csv, "x_train.csv", ""),
    "parquet": (write_parquet, "train.parquet", ""),
    "pictures": (files.write_pictures, "cat/1.png", ""),
}


def damaged(content: bytes, count: int, seed: str) -> list[bytes]:
    """Copies with one to three bytes changed, mostly in the head, or with the tail cut."""
    choose = random.Random(seed)
    copies = []
    for i in range(count):
        copy = bytearray(content)
        if i % 4 == 3:
            del copy[choose.randrange(len(copy)) :]
        else:
            reach = min(len(copy), 300) if i % 4 else len(copy)
            for _ in range(choose.randint(1, 3)):
                copy[choose.randrange(reach)] = choose.randrange(256)
        copies.append(bytes(copy))
    return copies


@pytest.mark.parametrize("name", FORMATS)
def test_damage_is_a_data_error_or_nothing(name: str, tmp_path: Path) -> None:
    if name == "pictures":
        pytest.importorskip("PIL")
    write, member, location = FORMATS[name]
    write(tmp_path)
    path = tmp_path / member
    whole = path.read_bytes()
    refused = 0
    for content in damaged(whole, COUNT, name):
        path.write_bytes(content)
        try:
            data = load(str(tmp_path / location))
        except DataError as error:
            assert "\n" not in str(error)
            refused += 1
        else:
            assert data.x_train.isfinite().all()
    assert refused > 0


def test_damaged_statistics_and_splits(tmp_path: Path) -> None:
    data = load("moons")
    Standardization.fit(data.x_train).save(tmp_path / "s")
    split(data, labels=8, seed=0).save(tmp_path / "p")
    readers: dict[str, Callable[[Path], object]] = {"s": Standardization.read, "p": Split.read}
    for name, read in readers.items():
        for content in damaged((tmp_path / name).read_bytes(), COUNT, name):
            (tmp_path / "damaged").write_bytes(content)
            try:
                read(tmp_path / "damaged")
            except DataError as error:
                assert "\n" not in str(error)


COUNT = 60
