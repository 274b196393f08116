"""Examples larger than the memory they may take: trained from where they lie."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.data import files
from unshaken import VAT, Objective
from unshaken.data import DataError, Dataset, load, split
from unshaken.data.paged import Paged
from unshaken.models import mlp
from unshaken.training import TrainingConfig, train

ROOT = Path(__file__).resolve().parents[2]


def folder(path: Path, x: np.ndarray, unlabeled: np.ndarray | None = None) -> Path:
    path.mkdir()
    arrays = {"x_train": x, "y_train": np.arange(len(x)) % 2, "x_test": x[:6], "y_test": [0, 1] * 3}
    if unlabeled is not None:
        arrays["x_unlabeled"] = unlabeled
    for name, value in arrays.items():
        np.save(path / f"{name}.npy", value)
    return path


def both(path: Path, monkeypatch: pytest.MonkeyPatch, **options: str) -> tuple[Dataset, Dataset]:
    whole = load(str(path), **options)
    monkeypatch.setenv("UNSHAKEN_MEMORY", "100")
    paged = load(str(path), **options)
    assert isinstance(paged.x_train, Paged)
    assert isinstance(whole.x_train, torch.Tensor)
    return whole, paged


@pytest.mark.parametrize("normalize", ["none", "unit", "centered", "standard"])
@pytest.mark.parametrize("shape", [(5, 7, 3), (5, 7)], ids=["channels-last", "gray"])
def test_pages_hold_what_memory_holds(tmp_path, monkeypatch, normalize, shape):
    path = folder(tmp_path / "d", files.pixels(20, *shape), files.pixels(9, *shape))
    whole, paged = both(path, monkeypatch, normalize=normalize)
    assert paged.x_train.shape == whole.x_train.shape
    assert paged.size == whole.size
    assert paged.features == whole.features
    for index in (torch.tensor([19, 0, 19]), slice(3, 8), 4, -1, torch.tensor([], dtype=int)):
        torch.testing.assert_close(paged.x_train[index], whole.x_train[index])
    assert len(paged.x_all) == 29
    across = torch.tensor([28, 0, 20, 19])
    torch.testing.assert_close(paged.x_all[across], whole.x_all[across])
    torch.testing.assert_close(paged.x_test, whole.x_test)
    with pytest.raises(IndexError):
        paged.x_train[torch.tensor([20])]


@pytest.mark.parametrize("steps", [12])
def test_a_run_from_pages_is_the_run_from_memory(tmp_path, monkeypatch, steps):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(40, 6)).astype(np.float32)
    path = folder(tmp_path / "d", x, x[:10])
    found = []
    for data in both(path, monkeypatch):
        torch.manual_seed(0)
        objective = Objective(mlp([6, 8, 2]), VAT(1.0), alarm=False)
        config = TrainingConfig(steps=steps, batch_size=8, unlabeled_batch_size=16)
        train(objective, data, split(data, labels=10, seed=0), config, device="cpu")
        found.append(objective.model.state_dict())
    for name, value in found[0].items():
        assert torch.equal(found[1][name], value)


def test_what_cannot_be_paged_is_said(tmp_path, monkeypatch):
    path = folder(tmp_path / "d", files.pixels(20, 5, 7))
    monkeypatch.setenv("UNSHAKEN_MEMORY", "100")
    with pytest.raises(DataError, match="normalize='zca' needs x_train in memory"):
        load(str(path), normalize="zca")
    monkeypatch.setenv("UNSHAKEN_MEMORY", "much")
    with pytest.raises(DataError, match="UNSHAKEN_MEMORY must be a whole number of bytes"):
        load(str(path))


PROGRAM = """
import resource, sys
import matplotlib.pyplot, torch  # the libraries take some memory themselves
import unshaken.comparison.compare
from unshaken.cli import main
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
words = ["train", "--data", sys.argv[1], "--method", "vat", "--steps", "20", "--out", sys.argv[2]]
assert main([*words, "--batch-size", "32", "--threads", "1", "--quiet"]) == 0
print("peak", (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="sparse files and the unit of ru_maxrss")
def test_training_takes_far_less_memory_than_the_data(tmp_path):
    """4 GB of float32, of which the disk holds only what is not zero."""
    path = tmp_path / "d"
    path.mkdir()
    count = 1 << 20
    x = np.lib.format.open_memmap(path / "x_train.npy", "w+", np.float32, (count, 1024))
    x[:: count // 64] = 1.0
    del x
    np.save(path / "y_train.npy", (np.arange(count) % 2).astype(np.uint8))
    np.save(path / "x_test.npy", np.ones((8, 1024), np.float32))
    np.save(path / "y_test.npy", np.arange(8) % 2)
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "src"),
        "OMP_NUM_THREADS": "1",
        "UNSHAKEN_MEMORY": str(1 << 28),
    }
    words = [sys.executable, "-c", PROGRAM, str(path / "x_train.npy"), str(tmp_path / "run")]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    peak = int(done.stdout.split("peak")[-1])
    assert peak < 4 * count * 1024 / 6, f"{peak / 1e6:.0f} MB for {4 * count * 1024 / 1e6:.0f} MB"
