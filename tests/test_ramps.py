"""Radii that change in the course of training."""

import copy
import math

import pytest
import torch

from tests import networks
from unshaken import AT, MAT, MVAT, VAT, Objective, Ramp, Random, fields
from unshaken.adversaries import WorstOf
from unshaken.divergences import KL
from unshaken.perturbations import Additive, Mask
from unshaken.regularizer import Regularizer

SHAPE = (2, 5, 7)
RAMP = Ramp(0.2, 1.0, steps=4)
TERMS = {
    "at": lambda r: AT(r),
    "vat": lambda r: VAT(r),
    "random": lambda r: Random(Additive(2), r),
    "mat": lambda r: MAT(fields.Affine(), radius=r),
    "mvat": lambda r: MVAT(fields.Affine(), radius=r),
    "mvat-steps": lambda r: MVAT(fields.Affine(), radius=r, steps=1),
    "mvat-finite": lambda r: MVAT(fields.Affine(), radius=r, finite=True),
    "worst-of": lambda r: Regularizer(Additive(2), WorstOf(r, 2), KL()),
    "mat-remembered": lambda r: MAT(fields.Affine(), radius=r, remember=(8, *SHAPE)),
}


def test_the_formulas():
    assert [Ramp(1, 3, 4).at(k) for k in range(6)] == [1, 1.5, 2, 2.5, 3, 3]
    assert Ramp(3, 1, 2).at(1) == 2
    sigmoid = Ramp(0, 2, 10, "sigmoid")
    assert (sigmoid.at(0), sigmoid.at(10)) == (0, 2)
    low = math.exp(-5)
    assert sigmoid.at(5) == pytest.approx(2 * (math.exp(-1.25) - low) / (1 - low))


@pytest.mark.parametrize("name", TERMS)
def test_every_adversary_follows_and_goes_on_from_its_state(name):
    term = TERMS[name](RAMP)
    assert "Ramp(0.2, 1, steps=4)" in repr(term)
    model = networks.convolutional(2, 2).double()
    x, y = networks.batch(SHAPE)
    other = None
    for k in range(6):
        if k == 3:
            other = TERMS[name](RAMP)
            other.load_state_dict(copy.deepcopy(term.state_dict()))
        for each in (term, *([other] if other else [])):
            torch.manual_seed(k)
            value = each(model, x, y if each.labeled else None, index=torch.arange(4))
            assert each.adversary.radius == pytest.approx(min(0.2 + 0.2 * k, 1.0))
            if each is term:
                expected = value
        if name != "mat-remembered":  # its rows learn in the backward pass
            assert float(value.detach()) == float(expected.detach())


@pytest.mark.parametrize("name", ["vat", "mat"])
def test_a_step_has_the_value_of_a_constant_radius(name):
    model = networks.convolutional(2, 2).double()
    x, y = networks.batch(SHAPE)
    objective = Objective(model, TERMS[name](RAMP))
    for k in range(5):
        torch.manual_seed(k)
        found = objective(x, y)
        torch.manual_seed(k)
        expected = Objective(model, TERMS[name](RAMP.at(k)))(x, y)
        assert float(found.detach()) == float(expected.detach())


def test_outside_training_it_stays_where_it_is():
    model, (x, _) = networks.mlp((6,)).double(), networks.batch((6,))
    vat = VAT(Ramp(0.1, 1.0, 3))
    vat(model, x)
    for _ in range(4):
        vat.eval()(model, x)
    assert int(vat.calls) == 1
    vat.train()(model, x)
    assert vat.adversary.radius == pytest.approx(0.4)


def test_it_counts_beside_every():
    model, (x, _) = networks.mlp((6,)).double(), networks.batch((6,))
    vat = VAT(Ramp(0.0, 1.0, 10), every=2)
    for _ in range(5):
        vat(model, x)
    assert vat.adversary.radius == pytest.approx(0.4)


def test_mistakes():
    with pytest.raises(ValueError, match="start must be a finite number >= 0, got -1"):
        Ramp(-1, 1, 5)
    with pytest.raises(ValueError, match="steps must be an integer >= 1"):
        Ramp(0, 1, 0)
    with pytest.raises(ValueError, match="shape must be one of"):
        Ramp(0, 1, 5, "cubic")
    with pytest.raises(ValueError, match=r"share of mask entries.*got 1.5"):
        Random(Mask(), Ramp(0.2, 1.5, 5))
