"""Pools: batches from memory or from a file larger than it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.data import files
from unshaken.data import DataError, Pool, Standardization


def test_gather_from_memory() -> None:
    x = torch.randn(10, 2, 3)
    pool = Pool(x)
    indices = torch.tensor([7, 0, 7])
    assert torch.equal(pool.gather(indices), x[indices])
    assert len(pool) == 10 and pool.resident and "resident on cpu" in repr(pool)
    with pytest.raises(IndexError):
        pool.gather(torch.tensor([10]))


def test_gather_from_a_file(tmp_path: Path) -> None:
    pixels = files.pixels(50, 3, 4, 4)
    np.save(tmp_path / "x.npy", pixels)
    half = Standardization(torch.tensor([0.5]), torch.ones(1))
    pool = Pool.open(tmp_path / "x.npy", normalization=half)
    indices = torch.tensor([49, 3])
    expected = torch.from_numpy(pixels[[49, 3]]).float() / 255 - 0.5
    torch.testing.assert_close(pool.gather(indices), expected)
    assert Pool.open(tmp_path / "x.npy").gather(indices).dtype == torch.uint8


def test_a_file_is_not_read_whole(tmp_path: Path) -> None:
    # A sparse file of 100 GB: only mapping it can work.
    path = tmp_path / "large.npy"
    np.lib.format.open_memmap(path, "w+", np.float32, (2, 3))
    header = path.read_bytes()[:-24].replace(b"(2, 3), }", b"(25000000, 1000), }")
    path.write_bytes(header.rstrip()[: 10 + 117].ljust(10 + 117) + b"\n")
    try:
        with path.open("r+b") as file:
            file.truncate(128 + 10**11)
    except OSError as error:
        pytest.skip(f"this file system holds no sparse file of 100 GB ({error.strerror})")
    pool = Pool.open(path)
    assert pool.gather(torch.tensor([24_999_999, 0])).tolist() == [[0.0] * 1000] * 2


def test_on_an_accelerator() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    x = torch.randn(100, 3)
    indices = torch.tensor([5, 1])
    for share in (0.5, 0.0):
        pool = Pool(x, "cuda", share=share)
        assert pool.resident == (share > 0)
        batch = pool.gather(indices)
        assert batch.is_cuda and torch.equal(batch.cpu(), x[indices])


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="x: expected at least one example"):
        Pool(torch.zeros(0, 3))
    with pytest.raises(ValueError, match="share: expected a fraction"):
        Pool(torch.zeros(2, 3), share=2)
    np.save(tmp_path / "objects.npy", np.array([None]), allow_pickle=True)
    (tmp_path / "damaged.npy").write_bytes(b"\x93NUMPY")
    for name in ("objects.npy", "damaged.npy", "absent.npy"):
        with pytest.raises(DataError, match=f"{name}: expected an .npy array"):
            Pool.open(tmp_path / name)
    np.savez(tmp_path / "several.npz", a=np.zeros(2))
    with pytest.raises(DataError, match="got an archive of several"):
        Pool.open(tmp_path / "several.npz")
