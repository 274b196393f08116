"""The rate for perturbations other than movements, and joint families."""

import math

import pytest
import torch
from torch.nn import functional as F

from tests import naive, networks, references
from unshaken import VMT, Regularizer, fields
from unshaken.adversaries import Infinitesimal
from unshaken.divergences import CrossEntropy, Function, SquaredError
from unshaken.perturbations import Additive, Movement, Relative


def slope(model, x, y):
    leaf = x.clone().requires_grad_()
    loss = F.cross_entropy(model(leaf), y, reduction="sum")
    return torch.autograd.grad(loss, leaf, create_graph=True)[0]


RATES = {
    "additive-2": (Additive(2), lambda x, g: g.flatten(1).norm(dim=1)),
    "additive-inf": (Additive(math.inf), lambda x, g: g.flatten(1).abs().sum(1)),
    "relative-2": (Relative(2, anchor=0.5), lambda x, g: ((x - 0.5) * g).flatten(1).norm(dim=1)),
}


@pytest.mark.parametrize("name", RATES)
def test_gradient_penalties_are_the_dual_norm(name):
    perturbation, rate = RATES[name]
    model = networks.mlp((6,)).double()
    x, y = networks.batch((6,))
    found = Regularizer(perturbation, Infinitesimal(), CrossEntropy())(model, x, y)
    expected = rate(x, slope(model, x, y)).mean()
    torch.testing.assert_close(found, expected)
    networks.assert_same(networks.gradients(found, model), networks.gradients(expected, model))


def test_a_joint_family_is_not_a_mixture():
    shape = (1, 4, 5)
    model = networks.mlp(shape).double()
    x, y = networks.batch(shape)
    joint = Regularizer(
        Movement(fields.Shift(), fields.Rotation()), Infinitesimal(mixture=False), CrossEntropy()
    )
    basis = [b for name in ("shift", "rotation") for b in references.fields_by_loops(name, (4, 5))]
    expected = naive.vmt(model, x, y, basis).mean()
    torch.testing.assert_close(joint(model, x, y), expected)
    # The worst of the joint family is at least that of each member.
    for family in (fields.Shift(), fields.Rotation()):
        assert float(VMT(family)(model, x, y).detach()) < float(expected.detach())


def test_regression_with_labels():
    model = networks.mlp((6,), classes=2).double()
    x, _ = networks.batch((6,))
    y = torch.randn(4, 2, dtype=torch.float64)
    found = Regularizer(Additive(2), Infinitesimal(), SquaredError(labeled=True))(model, x, y)
    leaf = x.clone().requires_grad_()
    loss = (model(leaf) - y).square().mean(1).sum()
    (g,) = torch.autograd.grad(loss, leaf)
    torch.testing.assert_close(found.detach(), g.norm(dim=1).mean())


def test_dense_labels():
    """Segmentation: each image's mean cross-entropy over its positions."""
    model = networks.dense().double()
    x, _ = networks.batch((1, 4, 5))
    y = torch.randint(0, 3, (4, 4, 5))
    found = VMT(fields.Shift())(model, x, y)
    leaf = x.clone().requires_grad_()
    loss = F.cross_entropy(model(leaf), y, reduction="none").flatten(1).mean(1).sum()
    (g,) = torch.autograd.grad(loss, leaf)
    s = references.slopes(x, g, references.fields_by_loops("shift", (4, 5)))
    torch.testing.assert_close(found.detach(), s.norm(dim=1).mean())


def test_a_labeled_function():
    model = networks.mlp((6,)).double()
    x, y = networks.batch((6,))
    smoothed = Function(
        lambda o, t: F.cross_entropy(o, t, label_smoothing=0.3, reduction="none"), labeled=True
    )
    found = Regularizer(Additive(2), Infinitesimal(), smoothed)(model, x, y)
    leaf = x.clone().requires_grad_()
    loss = F.cross_entropy(model(leaf), y, label_smoothing=0.3, reduction="sum")
    (g,) = torch.autograd.grad(loss, leaf)
    torch.testing.assert_close(found.detach(), g.norm(dim=1).mean())
