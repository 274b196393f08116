"""The sets that need no download: shapes, protocol, and that a seed says it all."""

import numpy as np
import pytest
import torch

from unshaken.data import Dataset, load

GENERATED = {
    "digits": ((1, 8, 8), 1297, 500, 0),
    "sinusoids": ((1, 100), 1000, 9000, 0),
    "moons": ((100,), 16, 1000, 500),
    "circles": ((100,), 16, 1000, 500),
}


@pytest.mark.parametrize("name", GENERATED)
def test_shapes_and_counts(name: str) -> None:
    data = load(name)
    shape, train, test, unlabeled = GENERATED[name]
    assert tuple(data.x_train.shape) == (train, *shape)
    assert tuple(data.x_test.shape) == (test, *shape)
    assert data.x_train.dtype == torch.float32 and data.y_train.dtype == torch.int64
    assert len(data.x_all) == train + unlabeled
    assert data.channels == shape[0] and data.size == shape[1:]
    assert data.features == int(np.prod(shape))
    assert {"source", "license", "preprocessing", "augmentation", "note"} <= set(data.info)


@pytest.mark.parametrize("name", GENERATED)
def test_the_seed_says_it_all(name: str) -> None:
    before = torch.random.get_rng_state()
    first, again, other = load(name, seed=3), load(name, seed=3), load(name, seed=1003)
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(first.x_train, again.x_train) and torch.equal(first.x_test, again.x_test)
    assert torch.equal(first.x_train, other.x_train) == (name == "digits")


@pytest.mark.parametrize("name", ["moons", "circles"])
def test_seeds_near_each_other_share_the_points_but_not_the_unlabeled_ones(name: str) -> None:
    first, other = load(name, seed=0), load(name, seed=999)
    assert torch.equal(first.x_train, other.x_train) and torch.equal(first.x_test, other.x_test)
    assert first.x_unlabeled is not None and other.x_unlabeled is not None
    assert not torch.equal(first.x_unlabeled, other.x_unlabeled)


def test_digits_test_set_is_fixed_balanced_and_apart() -> None:
    data = load("digits")
    assert data.y_test.bincount().tolist() == [50] * 10
    assert data.x_train.min() == -0.5 and data.x_train.max() == 0.5
    # Written out, so that no change of a library can move the test set unseen.
    assert data.y_test[:20].tolist() == FIRST_TEST_LABELS
    train = {x.numpy().tobytes() for x in data.x_train}
    assert not any(x.numpy().tobytes() in train for x in data.x_test)


def test_sinusoids_are_the_two_frequencies() -> None:
    data = load("sinusoids", seed=1)
    assert data.y_train.bincount().tolist() == [500, 500]
    assert data.y_test.bincount().tolist() == [4500, 4500]
    t = torch.linspace(-2 * torch.pi, 2 * torch.pi, 100, dtype=torch.float64)
    for k, omega in enumerate((0.99, 1.01)):
        x = data.x_test[data.y_test == k, 0].double()
        waves = torch.stack([torch.sin(omega * t), torch.cos(omega * t)], 1)
        fit = torch.linalg.lstsq(waves, x.T).solution
        residual = x.T - waves @ fit
        assert residual.std().item() == pytest.approx(0.1, abs=0.002)
        phase = torch.atan2(fit[1], fit[0])
        assert phase.min() > -0.2 and phase.max() < torch.pi / 2 + 0.2


def points(data: Dataset) -> dict[int, torch.Tensor]:
    assert data.plane is not None
    flat = data.x_test @ data.plane.T
    torch.testing.assert_close(flat @ data.plane, data.x_test, atol=1e-6, rtol=0)
    return {k: flat[data.y_test == k] for k in (0, 1)}


def test_moons_are_two_interlocked_arcs() -> None:
    data = load("moons", seed=5)
    assert data.plane is not None and data.x_unlabeled is not None
    torch.testing.assert_close(data.plane @ data.plane.T, torch.eye(2))
    assert torch.equal(data.plane, load("moons", seed=6).plane)
    assert data.y_train.bincount().tolist() == [8, 8]
    test = {x.numpy().tobytes() for x in data.x_test}
    assert all(x.numpy().tobytes() in test for x in data.x_unlabeled)
    for k, center in enumerate(((-0.5, 0.25), (0.5, -0.25))):
        radius = (points(data)[k] - torch.tensor(center)).norm(dim=1)
        assert radius.mean().item() == pytest.approx(1, abs=0.03)
        assert radius.std().item() == pytest.approx(0.1, abs=0.015)


def test_circles_are_concentric() -> None:
    for k, points_k in points(load("circles", seed=5)).items():
        radius = points_k.norm(dim=1)
        assert radius.mean().item() == pytest.approx((0.25, 1.0)[k], abs=0.02)
        assert radius.std().item() == pytest.approx(0.05, abs=0.01)


FIRST_TEST_LABELS: list[int] = [0, 5, 8, 9, 0, 6, 0, 5, 4, 1, 1, 0, 2, 2, 3, 6, 4, 9, 0, 5]
