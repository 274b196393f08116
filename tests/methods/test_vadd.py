"""VAdD: the mask within reach that dropout fears most."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.methods.players import CLASSES, SIZE, data, gradients, model
from unshaken import (
    VAdD,
)


def test_the_mask_of_adversarial_dropout_is_that_of_one_pass_with_dropout_elsewhere():
    """The worst mask differs in as many entries as may flip, and dropout below is the same."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Linear(SIZE, 9), nn.Dropout(0.5), nn.Linear(9, 8), nn.ReLU(), nn.Linear(8, CLASSES)
    ).double()
    seen = []
    network[4].register_forward_hook(lambda module, given, out: seen.append(given[0].detach()))
    VAdD(rate=0.5, flips=0.25)(network, data()[2])
    first, last = seen[0] != 0, seen[-1] != 0
    assert (first != last).any()
    assert int((first != last).sum(1).max()) <= 2
    both = first & last
    assert torch.equal(seen[0][both], seen[-1][both])


def test_adversarial_dropout_by_kl():
    network, u = model(), data()[2]
    torch.manual_seed(7)
    outputs = []
    network[-1].register_forward_hook(lambda module, given, out: outputs.append(out))
    value = VAdD(flips=0.3, divergence="kl")(network, u)
    p, q = outputs[0].log_softmax(1), outputs[-1].log_softmax(1)
    torch.testing.assert_close(value, F.kl_div(q, p, log_target=True, reduction="batchmean"))
    assert value > 0


def test_the_worst_mask_is_the_best_of_all_within_reach_to_first_order():
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(SIZE, 5), nn.Tanh(), nn.Linear(5, CLASSES)).double()
    u = data()[2]
    term = VAdD(rate=0.4, flips=0.4)  # two of five
    torch.manual_seed(9)
    value = term(network, u)
    torch.manual_seed(9)
    mask = (torch.rand(9, 5) >= 0.4).double()
    h = network[:-1](u)
    p = network[-1](h * mask / 0.6).softmax(1)
    ones = torch.ones_like(mask).requires_grad_()
    distance = (network[-1](h.detach() * ones).softmax(1) - p.detach()).square().mean(1).sum()
    (slope,) = gradients(distance, [ones])
    worst = mask.clone()
    for i in range(9):
        gains = slope[i] * (1 - 2 * mask[i])
        for k in sorted(range(5), key=lambda k: -float(gains[k]))[:2]:
            if gains[k] > 0:
                worst[i, k] = 1 - mask[i, k]
    assert (worst != mask).sum(1).max() == 2
    q = network[-1](h * worst / 0.6).softmax(1)
    torch.testing.assert_close(value, (p - q).square().mean())
    with pytest.raises(ValueError, match="layer must be one of 0, 1, 2; got 'head'"):
        VAdD(layer="head")(network, u)
    assert float(VAdD(rate=0.4, flips=0.0)(network, u).detach()) == 0
