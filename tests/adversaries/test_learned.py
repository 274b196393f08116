"""Mask adversaries: budgets, right entries, shapes, rivals."""

import pytest
import torch
from torch import nn

from tests import networks
from unshaken import XVAT, Regularizer, masks
from unshaken.adversaries import Learned
from unshaken.divergences import CrossEntropy
from unshaken.perturbations import Mask


@pytest.mark.parametrize("dimensions", [0, 1, 2, 3])
def test_a_generator_for_every_number_of_axes(dimensions):
    shape = (3, *[4, 5, 6][:dimensions])
    x, _ = networks.batch(shape, dtype=torch.float32)
    model = networks.mlp(shape)
    player = masks.Generator(3, dimensions)
    worst = XVAT(player).worst(model, x)
    assert worst.mask.shape == ((4, 1, *shape[1:]) if dimensions else (4, 3))
    kernel = next(player.network.parameters())
    assert kernel.shape == ((1, 3, *[3] * dimensions) if dimensions else (3, 3))


def test_masks_are_drawn_anew_in_each_call():
    model = networks.mlp((3, 4, 5))
    x, _ = networks.batch((3, 4, 5), dtype=torch.float32)
    xvat = XVAT(masks.Generator(3))
    assert len({float(xvat(model, x).detach()) for _ in range(5)}) == 5


def test_a_users_own_network_and_any_player():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 1, 1)).double()
    player = Learned(network, learning_rate=0.01)
    model = networks.mlp((3, 4, 5)).double()
    x, y = networks.batch((3, 4, 5))
    Regularizer(Mask(), player, CrossEntropy())(model, x, y).backward()
    assert all(p.grad is not None for p in player.parameters())


def test_a_table_starts_standard_normal():
    table = masks.Table(2000, (4, 5)).table
    assert table.shape == (2000, 20)
    assert float(table.detach().mean()) == pytest.approx(0, abs=0.03)
    assert float(table.detach().std()) == pytest.approx(1, abs=0.03)


def test_the_papers_rates():
    assert masks.Generator(3).learning_rate == 1e-6
    assert masks.Table(3, (4, 5)).learning_rate == 1e-3


MODEL = networks.mlp((3, 4, 5))
X, Y = networks.batch((3, 4, 5), dtype=torch.float32)
INDEX = torch.arange(4)
MISTAKES = {
    "channels": (
        lambda: XVAT(masks.Generator(1))(MODEL, X),
        ValueError,
        r"Generator\(channels=1, dimensions=2\) needs .* 1 channels .* \(4, 3, 4, 5\)",
    ),
    "dimensions": (
        lambda: XVAT(masks.Generator(3, dimensions=1))(MODEL, X),
        ValueError,
        r"Generator\(channels=3, dimensions=1\) needs .* 1 spatial axes, got shape \(4, 3, 4, 5\)",
    ),
    "network's shape": (
        lambda: XVAT(Learned(nn.Conv2d(3, 2, 1)))(MODEL, X),
        ValueError,
        r"log α of shape \(4, 1, 4, 5\) for inputs \(4, 3, 4, 5\), got \(4, 2, 4, 5\)",
    ),
    "table's size": (
        lambda: XVAT(masks.Table(9, (4, 4)))(MODEL, X, index=INDEX),
        ValueError,
        r"size must be the spatial size .* \(4, 5\) .* got \(4, 4\)",
    ),
    "not a network": (
        lambda: Learned("conv"),
        TypeError,
        r"network must be a torch\.nn\.Module, got str",
    ),
    "keep nothing": (
        lambda: masks.Steepest(0.0),
        ValueError,
        r"keep must be a finite number > 0 and <= 1, got 0\.0",
    ),
    "keep more": (
        lambda: masks.Steepest(1.5),
        ValueError,
        r"keep must be a finite number > 0 and <= 1, got 1\.5",
    ),
    "no examples": (
        lambda: masks.Table(0, (4, 5)),
        ValueError,
        r"examples must be an integer >= 1, got 0",
    ),
    "empty size": (
        lambda: masks.Table(3, (0, 5)),
        ValueError,
        r"size must be an integer >= 1, got 0",
    ),
    "no channels": (
        lambda: masks.Generator(0),
        ValueError,
        r"channels must be an integer >= 1, got 0",
    ),
    "four dimensions": (
        lambda: masks.Generator(3, 4),
        ValueError,
        r"dimensions must be one of 0, 1, 2, 3; got 4",
    ),
    "negative rate": (
        lambda: masks.Generator(3, learning_rate=-1.0),
        ValueError,
        r"learning_rate must be a finite number >= 0, got -1\.0",
    ),
}


@pytest.mark.parametrize(("call", "error", "sentence"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_named(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()


@pytest.mark.parametrize("size", [(7, 5), (35,), (5, 7, 1)])
def test_a_table_of_another_shape_with_as_many_entries_is_refused(size):
    model = networks.convolutional(2, 2)
    x, _ = networks.batch((2, 5, 7), dtype=torch.float32)
    with pytest.raises(ValueError, match=r"size must be the spatial size .*\(5, 7\)"):
        XVAT(masks.Table(9, size))(model, x, index=torch.arange(4))


def test_a_size_that_is_no_sequence_is_named():
    with pytest.raises(TypeError, match=r"size must be"):
        masks.Table(9, 35)
