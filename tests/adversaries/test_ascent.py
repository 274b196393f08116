"""Ascent at finite size."""

from itertools import pairwise

import pytest
import torch

from tests import networks
from unshaken import MAT, MVAT, Regularizer, fields
from unshaken.adversaries import Ascent, PowerIteration
from unshaken.divergences import KL, CrossEntropy
from unshaken.perturbations import Additive, Mask, Movement

SHAPE = (2, 5, 7)


def test_one_step_is_the_gradient_at_the_moved_input():
    model = networks.convolutional(2, 2).double()
    x, _ = networks.batch(SHAPE)
    term = MVAT(fields.Affine(), radius=0.6, finite=True)
    movement = term.perturbation
    torch.manual_seed(5)
    a = movement.random(x, 0.6).requires_grad_()
    clean = model(x).softmax(1).detach()
    value = (clean * (clean.log() - model(movement(x, a)).log_softmax(1))).sum()
    (slope,) = torch.autograd.grad(value, a)
    torch.manual_seed(5)
    worst = term.worst(model, x)
    torch.testing.assert_close(worst.parameters, movement.steepest(x, slope, 0.6))


def test_as_the_size_goes_to_zero_it_is_power_iteration():
    model = networks.mlp((6,)).double()
    x, _ = networks.batch((6,))
    found = []
    for player in (Ascent(1e-4, 2), PowerIteration(1e-4, 2, "exact")):
        torch.manual_seed(1)
        found.append(Regularizer(Additive(2), player, KL()).worst(model, x).parameters)
    assert float(networks.cosine(*found).min()) > 1 - 1e-6


def test_more_steps_find_more():
    model = networks.convolutional(2, 2).double()
    x, y = networks.batch(SHAPE, count=16)
    free, labeled = [], []
    with torch.no_grad():
        for steps in (1, 2, 4, 10):
            torch.manual_seed(2)
            free.append(MVAT(fields.Affine(), radius=1.0, steps=steps, finite=True).worst(model, x))
            labeled.append(MAT(fields.Affine(), radius=1.0, steps=steps).worst(model, x, y))
    # The best on the way is kept from the second step on: no example can lose by a further one.
    assert bool((labeled[1].value >= labeled[0].value).all())
    for found in (free, labeled):
        for fewer, more in pairwise(found[1:]):
            assert bool((more.value >= fewer.value).all())
        assert float(found[3].value.mean()) > float(found[0].value.mean())


def test_without_a_gradient_the_start_stays():
    x, _ = networks.batch((6,))
    model = networks.Functional(lambda x: 0 * x[:, :3])
    worst = Regularizer(Additive(2), Ascent(0.5), KL()).worst(model, x)
    torch.testing.assert_close(worst.parameters.norm(dim=1), torch.full((4,), 0.5).double())


def test_masks_are_refused():
    with pytest.raises(ValueError, match="no ball for a Mask"):
        Regularizer(Mask(), Ascent(0.5), KL())


def test_remembered_movements_take_one_step():
    with pytest.raises(ValueError, match="steps must be 1 and finite False with remember"):
        MAT(fields.Affine(), radius=1.0, steps=2, remember=(8, *SHAPE))


def test_mat_can_ascend_at_full_size_from_a_random_movement():
    torch.manual_seed(0)
    model, (x, y) = networks.mlp(SHAPE).double(), networks.batch(SHAPE)
    finite = MAT(fields.Affine(), radius=1.5, finite=True)
    plain = Regularizer(Movement(fields.Affine()), Ascent(1.5), CrossEntropy())
    found = []
    for term in (finite, plain):
        torch.manual_seed(4)
        found.append(term(model, x, y))
    torch.testing.assert_close(*found)
    with pytest.raises(ValueError, match="finite False with remember"):
        MAT(fields.Affine(), radius=1.0, finite=True, remember=(8, *SHAPE))
