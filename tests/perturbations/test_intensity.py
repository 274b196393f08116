"""Changes of values: the worst one is what a search over all of them finds."""

from __future__ import annotations

import math

import pytest
import torch

from unshaken import Regularizer
from unshaken.adversaries import Infinitesimal, SteepestStep
from unshaken.divergences import CrossEntropy
from unshaken.perturbations import Intensity


class Light(Intensity):
    def changes(self, x):
        ramp = torch.linspace(-1, 1, x.shape[-1], dtype=x.dtype).expand_as(x)
        return torch.stack([torch.ones_like(x), x - x.mean((1, 2, 3), keepdim=True), ramp], 1)


@pytest.fixture
def x():
    torch.manual_seed(0)
    return torch.randn(4, 2, 5, 6, dtype=torch.float64)


def test_the_worst_change_is_the_worst_of_all(x):
    light, g = Light(), torch.randn_like(x)
    s = light.pull_back(x, g)
    a = light.steepest(x, s, 0.3)
    change = light(x, a) - x
    assert torch.allclose(change.square().flatten(1).mean(1).sqrt(), torch.full((4,), 0.3).double())
    reached = (g * change).flatten(1).sum(1)
    assert torch.allclose(reached, 0.3 * light.rate(x, s))
    for _ in range(500):
        other = light.random(x, 0.3)
        size = light.tangent(x, other).square().flatten(1).mean(1).sqrt()
        assert torch.allclose(size, torch.full((4,), 0.3).double())
        assert ((other * s).sum(1) <= reached + 1e-12).all()


def test_the_tangent_and_its_adjoint_agree(x):
    light, a, g = Light(), torch.randn(4, 3).double(), torch.randn_like(x)
    along = (light.tangent(x, a) * g).flatten(1).sum(1)
    assert torch.allclose(along, (a * light.pull_back(x, g)).sum(1))


def test_directions_that_an_example_lacks_are_left_out(x):
    x[1] = 2.5  # no contrast
    light = Light()
    for a in (light.steepest(x, torch.randn(4, 3).double(), 1.0), light.random(x, 1.0)):
        assert a[1, 1] == 0
        size = light.tangent(x, a).square().flatten(1).mean(1).sqrt()
        assert torch.allclose(size, torch.ones(4).double())
    assert light.rate(x, torch.zeros(4, 3).double()).eq(0).all()


def test_without_any_change_nothing_happens(x):
    class Contrast(Intensity):
        def changes(self, x):
            return (x - x.mean((1, 2, 3), keepdim=True)).unsqueeze(1)

    still = torch.ones_like(x)
    for a in (
        Contrast().steepest(still, torch.ones(4, 1).double(), 1.0),
        Contrast().random(still, 1),
    ):
        assert torch.equal(Contrast()(still, a), still)


def test_all_directions_are_the_additive_noise_of_at(x):
    class Everything(Intensity):
        def changes(self, x):
            return (
                torch.eye(x[0].numel(), dtype=x.dtype)
                .reshape(1, -1, *x.shape[1:])
                .expand(len(x), -1, -1, -1, -1)
            )

    g = torch.randn_like(x)
    every = Everything()
    found = every(x, every.steepest(x, every.pull_back(x, g), 0.1)) - x
    length = 0.1 * math.sqrt(x[0].numel())
    expected = length * g / g.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
    assert torch.allclose(found, expected)


def test_its_infinitesimal_form_is_a_regularizer(x):
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(60, 3)).double()
    y = torch.arange(4) % 3
    term = Regularizer(Light(), Infinitesimal("raw"), CrossEntropy())
    rate = term(model, x, y)
    finite = Regularizer(Light(), SteepestStep(1e-6), CrossEntropy())(model, x, y)
    clean = torch.nn.functional.cross_entropy(model(x), y)
    assert ((finite - clean) / 1e-6 / rate).item() == pytest.approx(1, rel=1e-4)


def test_the_rate_knows_that_x_moves_the_changes(x):
    """Their Gram matrix depends on x, whose gradient an encoder gets."""
    weight = torch.randn(60, 3, dtype=torch.float64)
    y = torch.arange(4) % 3
    term = Regularizer(Light(), Infinitesimal("raw"), CrossEntropy())
    assert torch.autograd.gradcheck(
        lambda x: term(lambda u: u.flatten(1) @ weight, x, y), (x.requires_grad_(),)
    )


def test_a_wrong_shape_is_one_sentence(x):
    class Flat(Intensity):
        def changes(self, x):
            return x

    with pytest.raises(ValueError, match=r"Flat.changes\(x\) must have shape .* \(4, K, 2, 5, 6\)"):
        Flat().pull_back(x, x)
