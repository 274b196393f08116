"""Deep co-training: its formula and its second network."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.methods.players import data, gradients, model
from unshaken import (
    CoTraining,
    Objective,
)
from unshaken.methods.co_training import another


def test_co_training_is_its_formula():
    network, (x, y, u) = model(), data()
    pair = CoTraining(another(network), agreement=3.0, difference=0.7, radius=0.2)
    value = pair(network, u)
    views, up = [], []
    for each in (network, pair.other):
        leaf = u.clone().requires_grad_()
        outputs = each(leaf)
        (slope,) = gradients(F.cross_entropy(outputs, outputs.argmax(1)), [leaf])
        views.append(each(u).softmax(1))
        up.append(u + 0.2 * slope.sign())

    def h(p, q):
        return -(p * q.log()).sum(1).mean()

    p, q = views
    middle = (p + q) / 2
    js = h(middle, middle) - (h(p, p) + h(q, q)) / 2
    apart = h(p.detach(), pair.other(up[0]).softmax(1)) + h(q.detach(), network(up[1]).softmax(1))
    torch.testing.assert_close(value, 3 * js + 0.7 * apart)
    second = pair.second_view(network, x, y)
    torch.testing.assert_close(second, F.cross_entropy(pair.other(x), y))
    assert all(g is None for g in gradients(second, network.parameters()))


def test_another_network_has_other_weights_of_the_same_scale():
    torch.manual_seed(0)
    first = nn.Linear(200, 300)
    second = another(first)
    assert torch.equal(first.bias, second.bias)
    a, b = first.weight.detach(), second.weight.detach()
    assert float(b.square().mean().sqrt()) == pytest.approx(
        float(a.square().mean().sqrt()), rel=0.02
    )
    assert abs(float((a * b).mean() / a.square().mean())) < 0.02


def test_the_second_networks_statistics_move_once_in_training():
    network, (x, y, u) = model(), data()
    pair = CoTraining(another(network))
    norm = next(m for m in pair.other.modules() if isinstance(m, nn.BatchNorm1d))
    objective = Objective(network, pair, pair.second_view, alarm=False)
    objective(x, y, unlabeled=u)
    assert int(norm.num_batches_tracked) == 1
    objective.eval()(x, y, unlabeled=u)
    assert int(norm.num_batches_tracked) == 1
