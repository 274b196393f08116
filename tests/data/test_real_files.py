"""The published files, where they are at hand."""

from pathlib import Path

import pytest
import torch

from unshaken.data import load


def test_mnist(shared_data: Path) -> None:
    data = load("mnist", root=shared_data)
    assert data.x_train.shape == (60_000, 1, 28, 28) and data.x_test.shape == (10_000, 1, 28, 28)
    assert data.x_train.mean().item() == pytest.approx(0.1307 - 0.5, abs=1e-4)
    assert data.y_test.bincount().tolist() == [
        980,
        1135,
        1032,
        1010,
        982,
        892,
        958,
        1028,
        974,
        1009,
    ]
    assert "verified" in data.info["note"]


def test_moons(shared_data: Path) -> None:
    data = load(str(shared_data / "moons" / "moons.npz"))
    assert (len(data.x_train), len(data.x_test), len(data.x_all)) == (16, 1000, 516)
    assert data.plane is not None
    torch.testing.assert_close(data.plane @ data.plane.T, torch.eye(2))
    points = data.x_test @ data.plane.T
    torch.testing.assert_close(points @ data.plane, data.x_test, atol=1e-6, rtol=0)
    # The generated set has the same measures.
    ours = load("moons")
    assert ours.plane is not None
    drawn = ours.x_test @ ours.plane.T
    for k in (0, 1):
        a, b = points[data.y_test == k], drawn[ours.y_test == k]
        torch.testing.assert_close(a.mean(0), b.mean(0), atol=0.12, rtol=0)
        torch.testing.assert_close(a.T.cov(), b.T.cov(), atol=0.12, rtol=0)


def test_cifar10_parquet(shared_data: Path) -> None:
    pytest.importorskip("pyarrow")
    pytest.importorskip("PIL")
    data = load("cifar10", root=shared_data, normalize="unit")
    assert data.x_train.shape == (50_000, 3, 32, 32) and len(data.x_test) == 10_000
    assert data.y_train.bincount().tolist() == [5000] * 10
    mean = data.x_train.mean((0, 2, 3))
    torch.testing.assert_close(mean, torch.tensor([0.4914, 0.4822, 0.4465]), atol=5e-4, rtol=0)
    assert "JPEG re-encoding" in data.info["note"]
