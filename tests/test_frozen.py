"""Frozen models, and objectives with nothing to learn from."""

import warnings

import pytest
import torch

from tests import networks
from tests.contracts import SHAPES
from tests.test_alarm import train
from unshaken import AT, XVAT, EntropyMinimization, Objective, masks

SHAPE = SHAPES["image"]


def test_a_generator_that_learns_against_a_frozen_model_is_not_silent():
    """Its own parameters move; a frozen model is then meant."""
    model = networks.convolutional(2, 2).requires_grad_(False)
    found = train(Objective(model, XVAT(masks.Generator(2, learning_rate=1.0))), 10)
    assert not [w for w in found if "does nothing" in w]


@pytest.mark.parametrize("term", [AT(0.3), EntropyMinimization()], ids=["at", "entropy"])
def test_an_encoder_that_learns_before_a_frozen_model_is_not_silent(term):
    encoder = torch.nn.Conv2d(2, 2, 1)
    objective = Objective(networks.convolutional(2, 2).requires_grad_(False), term)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(10):
            x, y = networks.batch(SHAPE, dtype=torch.float32)
            objective(encoder(x), y).backward()
    assert bool(encoder.weight.grad.any())


def test_neither_labels_nor_terms_is_refused():
    """Not a quiet zero."""
    x, _ = networks.batch(SHAPE, dtype=torch.float32)
    with pytest.raises(ValueError, match=r"y|labels"):
        Objective(networks.convolutional(2, 2))(x)
