"""Small networks and terms of methods with players, masks or rates of their own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.training.helpers import config, noise
from unshaken import (
    CatGAN,
    ConcreteDropout,
    CoTraining,
    FeatureMatching,
    Ladder,
    VAdD,
    add_concrete_dropout,
    models,
)
from unshaken.methods.co_training import another
from unshaken.training import Interrupted, load_model_weights, train

SIZE, CLASSES = 6, 3


def model():
    torch.manual_seed(2)
    return models.mlp([SIZE, 8, 7, CLASSES]).double()


def data():
    torch.manual_seed(4)
    x, u = torch.randn(5, SIZE).double(), torch.randn(9, SIZE).double()
    return x, torch.randint(CLASSES, (5,)), u


def making():
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, SIZE)).double()


def terms(name, network):
    """The terms by that name, and the network that they train."""
    torch.manual_seed(5)
    if name == "concrete-dropout":
        return [ConcreteDropout(50)], add_concrete_dropout(network)
    if name == "co-training":
        pair = CoTraining(another(network), radius=0.1)
        return [pair, pair.second_view], network
    if name == "ladder":
        ladder = Ladder(network)
        with torch.no_grad():
            for p in ladder.combinators.parameters():
                p += 0.3 * torch.randn_like(p)  # at first they do not look at what is above
        return [ladder, ladder.noisy_labels], network
    if name == "vadd":
        return [VAdD(flips=0.3)], network
    kind = {"gan-fm": FeatureMatching, "catgan": CatGAN}[name]
    return [kind(making())], network


NAMES = ("vadd", "co-training", "ladder", "gan-fm", "catgan", "concrete-dropout")


def gradients(loss, parameters):
    return torch.autograd.grad(loss, list(parameters), allow_unused=True)


def assert_resumed_is_the_same(tmp_path, make, **changes):
    """A run that is stopped and goes on leaves the weights of one that was not, to the last bit."""
    dataset, split = noise()

    def go(out, stop=0, resume=False):
        torch.manual_seed(3)

        def evaluate(model, step):
            if step == stop:
                raise KeyboardInterrupt
            return {}

        given = config(steps=20, evaluate_every=5, checkpoint_every=5, **changes)
        return train(
            make(dataset), dataset, split, given, device="cpu", out=out, resume=resume,
            evaluate=evaluate,
        )  # fmt: skip

    go(tmp_path / "whole")
    with pytest.raises((KeyboardInterrupt, Interrupted)):
        go(tmp_path / "parts", stop=15)
    go(tmp_path / "parts", resume=True)
    whole, parts = (load_model_weights(tmp_path / part) for part in ("whole", "parts"))
    assert all(torch.equal(value, parts[key]) for key, value in whole.items())
