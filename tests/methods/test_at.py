"""AT against its formula."""

import math

import pytest
import torch

from tests import naive, networks
from unshaken import AT

NORMS = [2, math.inf]


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("shape", [(7,), (2, 4, 5)], ids=str)
def test_value_and_gradients_equal_the_naive_ones(norm, shape, training):
    model = networks.normalized(shape).double()
    x, y = networks.batch(shape, count=6)
    model(x)
    model.train(training)
    found = AT(0.3, norm, weight=2.0)(model, x, y)
    expected = 2 * naive.at(model, x, y, 0.3, norm)
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=0)
    networks.assert_same(networks.gradients(found, model), networks.gradients(expected, model))


@pytest.mark.parametrize("norm", NORMS)
def test_the_noise_by_hand_on_a_linear_model(norm):
    """g = Wᵀ(p − e_y), so r is known."""
    weight = torch.randn(3, 5, dtype=torch.float64)
    model = networks.Linear(weight)
    x, y = networks.batch((5,))
    p = (x @ weight.T).softmax(1) - torch.eye(3, dtype=torch.float64)[y]
    g = p @ weight
    r = 0.3 * (g / g.norm(dim=1, keepdim=True) if norm == 2 else g.sign())
    worst = AT(0.3, norm).worst(model, x, y)
    torch.testing.assert_close(worst.perturbed, x + r)
    torch.testing.assert_close(worst.parameters, r)


def test_it_draws_nothing():
    model = networks.mlp((7,)).double()
    x, y = networks.batch((7,))
    before = torch.get_rng_state()
    AT(0.3)(model, x, y)
    assert torch.equal(torch.get_rng_state(), before)


def test_no_noise_gives_the_loss_itself():
    model = networks.mlp((7,)).double()
    x, y = networks.batch((7,))
    expected = torch.nn.functional.cross_entropy(model(x), y)
    torch.testing.assert_close(AT(0.0)(model, x, y), expected, rtol=1e-13, atol=0)
