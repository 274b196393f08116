"""The control: the same size as its rivals, drawn anew, the same formula."""

import math

import pytest
import torch

from tests import naive, networks
from unshaken import Random, fields
from unshaken.divergences import CrossEntropy
from unshaken.perturbations import Additive, Mask, Movement, Relative

FAMILIES = {
    "additive": (Additive(2), 0.5),
    "infinity": (Additive(math.inf), 0.1),
    "relative": (Relative(2, anchor=-1.0), 0.5),
    "movement": (Movement(fields.Affine()), 0.7),
    "mask": (Mask(), 0.3),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_value_is_the_divergence_of_the_drawn_perturbation(name):
    perturbation, radius = FAMILIES[name]
    model = networks.convolutional(2, 2).double()
    x, _ = networks.batch((2, 5, 6))
    control = Random(perturbation, radius, weight=3.0)
    torch.manual_seed(5)
    found = control(model, x)
    torch.manual_seed(5)
    a = perturbation.random(x, radius)
    expected = 3 * naive.kl(model(x), model(perturbation(x, a)))
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=0)
    networks.assert_same(networks.gradients(found, model), networks.gradients(expected, model))


@pytest.mark.parametrize("name", FAMILIES)
def test_each_call_draws_anew(name):
    perturbation, radius = FAMILIES[name]
    model = networks.convolutional(2, 2).double()
    x, _ = networks.batch((2, 5, 6))
    control = Random(perturbation, radius)
    assert len({float(control(model, x).detach()) for _ in range(4)}) == 4


def test_another_divergence():
    model = networks.convolutional(2, 2).double()
    x, y = networks.batch((2, 5, 6))
    control = Random(Additive(2), 0.0, CrossEntropy())
    expected = torch.nn.functional.cross_entropy(model(x), y)
    torch.testing.assert_close(control(model, x, y), expected, rtol=1e-12, atol=0)


def test_a_share_above_one_is_refused():
    with pytest.raises(ValueError, match=r"radius must be the share .* in 0\.\.1, got 1\.5"):
        Random(Mask(), 1.5)
