"""One step along the gradient, for every perturbation with a ball."""

import math

import pytest
import torch
from torch.nn import functional as F

from tests import networks
from unshaken import Regularizer, fields
from unshaken.adversaries import SteepestStep
from unshaken.divergences import CrossEntropy, Function, SquaredError
from unshaken.perturbations import Additive, Movement, Relative

BALLS = {
    "additive-2": Additive(2),
    "additive-inf": Additive(math.inf),
    "relative-2": Relative(2, anchor=-1.0),
    "movement": Movement(fields.Affine(), warp=False),
}


@pytest.mark.parametrize("name", BALLS)
def test_a_small_step_raises_the_loss_more_than_any_other(name):
    perturbation = BALLS[name]
    model = networks.convolutional(2, 2).double()
    x, y = networks.batch((2, 5, 6), count=6)
    worst = Regularizer(perturbation, SteepestStep(1e-4), CrossEntropy()).worst(model, x, y)
    for _ in range(30):
        moved = perturbation(x, perturbation.random(x, 1e-4))
        rival = F.cross_entropy(model(moved), y, reduction="none").detach()
        assert bool((rival <= worst.value + 1e-9).all())


def test_regression_and_a_users_own_loss():
    model = networks.mlp((6,), classes=2).double()
    x, _ = networks.batch((6,))
    y = torch.randn(4, 2, dtype=torch.float64)
    own = Function(lambda outputs, target: (outputs - target).square(), labeled=True)
    values = [
        Regularizer(Additive(2), SteepestStep(0.3), divergence)(model, x, y)
        for divergence in (SquaredError(labeled=True), own)
    ]
    leaf = x.clone().requires_grad_()
    (g,) = torch.autograd.grad((model(leaf) - y).square().mean(1).sum(), leaf)
    expected = (model(x + 0.3 * F.normalize(g)) - y).square().mean()
    for value in values:
        torch.testing.assert_close(value, expected)


def test_dense_labels():
    model = networks.dense().double()
    x, _ = networks.batch((1, 4, 5))
    y = torch.randint(0, 3, (4, 4, 5))
    found = Regularizer(Additive(2), SteepestStep(0.3), CrossEntropy())(model, x, y)
    leaf = x.clone().requires_grad_()
    (g,) = torch.autograd.grad(F.cross_entropy(model(leaf), y), leaf)
    moved = x + 0.3 * F.normalize(g.flatten(1)).reshape(g.shape)
    torch.testing.assert_close(found, F.cross_entropy(model(moved), y))


def test_label_probabilities():
    model = networks.mlp((6,)).double()
    x, y = networks.batch((6,))
    soft = F.one_hot(y, 3).double()
    regularizer = Regularizer(Additive(2), SteepestStep(0.3), CrossEntropy())
    torch.testing.assert_close(regularizer(model, x, soft), regularizer(model, x, y))
