"""The worst of several random perturbations."""

import pytest
import torch

from tests import networks
from unshaken import XVAT, Random, Regularizer, fields
from unshaken.adversaries import WorstOf
from unshaken.divergences import KL, CrossEntropy
from unshaken.perturbations import Additive, Mask, Movement

FAMILIES = {
    "mask": (Mask(), 0.4),
    "blocks": (Mask(block=2), 0.4),
    "noise": (Additive(2), 0.5),
    "movement": (Movement(fields.Affine()), 0.5),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("divergence", [KL(), CrossEntropy()], ids=["kl", "cross-entropy"])
def test_it_is_the_largest_of_what_random_draws(family, divergence):
    perturbation, radius = FAMILIES[family]
    model = networks.convolutional(2, 2).double()
    x, y = networks.batch((2, 5, 7), count=6)
    y = y if divergence.labeled else None
    random = Random(perturbation, radius, divergence)
    torch.manual_seed(3)
    values = torch.stack([random.worst(model, x, y).value for _ in range(5)])
    torch.manual_seed(3)
    worst = Regularizer(perturbation, WorstOf(radius, 5), divergence).worst(model, x, y)
    torch.testing.assert_close(worst.value, values.amax(0))
    assert bool((worst.value > values[0] + 1e-9).any())


def test_one_draw_is_the_control():
    model = networks.convolutional(2, 2).double()
    x, _ = networks.batch((2, 5, 7), count=6)
    torch.manual_seed(4)
    expected = Random(Mask(), 0.3).worst(model, x)
    torch.manual_seed(4)
    found = XVAT(WorstOf(0.3, 1)).worst(model, x)
    assert torch.equal(found.mask, expected.mask)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: WorstOf(-0.1), "radius"),
        (lambda: WorstOf(0.1, 0), "draws"),
        (lambda: XVAT(WorstOf(1.5)), "share of mask entries"),
    ],
)
def test_mistakes_are_named(wrong, says):
    with pytest.raises(ValueError, match=says):
        wrong()
