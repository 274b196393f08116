"""Concrete dropout: its cost and the rates that it learns."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from tests.methods.players import data, model
from unshaken import (
    ConcreteDropout,
    Objective,
    add_concrete_dropout,
)
from unshaken.methods.concrete_dropout import ConcreteLayer


def test_concrete_dropout_costs_what_the_paper_says_and_drops_in_training_alone():
    network = add_concrete_dropout(model(), rate=0.2)
    layers = [m for m in network.modules() if isinstance(m, ConcreteLayer)]
    assert [float(m.rate.detach()) for m in layers] == pytest.approx([0.2] * 3)
    expected = 0.0
    for layer in layers:
        weight = layer.layer.weight
        entropy = -(0.2 * math.log(0.2) + 0.8 * math.log(0.8))
        expected = expected + 0.3**2 * weight.square().sum() / 1.6 - weight.shape[1] * entropy
    value = ConcreteDropout(50, length_scale=0.3)(network, data()[2])
    torch.testing.assert_close(value, expected / 50)
    u = data()[2]
    network.eval()
    torch.testing.assert_close(network(u), model().eval()(u))
    network.train()
    assert not torch.equal(network(u), network(u))
    torch.manual_seed(0)
    layer = ConcreteLayer(nn.Linear(50_000, 1, bias=False), rate=0.3)
    with torch.no_grad():
        layer.layer.weight.fill_(1 / 50_000)
    assert float(layer(torch.ones(1, 50_000)).detach()) == pytest.approx(1, abs=0.02)
    images = ConcreteLayer(nn.Conv2d(3, 3, 1, groups=3, bias=False), rate=0.5)
    found = images(torch.ones(4, 3, 5, 5)).detach()
    torch.testing.assert_close(found, found[:, :, :1, :1].expand_as(found))


def test_a_grouped_convolution_drops_all_its_channels():
    whole = ConcreteLayer(nn.Conv2d(8, 8, 3), rate=0.3)
    parts = ConcreteLayer(nn.Conv2d(8, 8, 3, groups=8), rate=0.3)
    assert float(parts.cost(0.0).detach()) == pytest.approx(float(whole.cost(0.0).detach()))


@pytest.mark.parametrize("logit", [-110.0, 20.0, 60.0])
def test_extreme_rates_keep_a_finite_cost(logit):
    layer = ConcreteLayer(nn.Linear(5, 2))
    with torch.no_grad():
        layer.logit.fill_(logit)
    value = layer.cost(0.1)
    value.backward()
    assert bool(value.isfinite()) and bool(layer.logit.grad.isfinite())


def test_rates_are_found_by_training():
    torch.manual_seed(0)
    network = add_concrete_dropout(nn.Sequential(nn.Linear(4, 2)), rate=0.5)
    objective = Objective(network, ConcreteDropout(1000, length_scale=0.01), alarm=False)
    optimizer = torch.optim.Adam(objective.parameter_groups(lr=0.05))
    x = torch.randn(64, 4)
    y = (x[:, 0] > 0).long()
    for _ in range(100):
        optimizer.zero_grad()
        objective(x, y).backward()
        optimizer.step()
    assert float(network[0].rate.detach()) < 0.3  # dropping hurts, and entropy is cheap
