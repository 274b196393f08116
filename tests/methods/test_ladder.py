"""Ladder networks: the algorithm and the state that it moves."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn import functional as F

from tests import networks
from tests.methods.players import data, model
from unshaken import (
    Ladder,
)


def test_a_ladder_is_its_algorithm():
    network, u = model(), data()[2]
    ladder = Ladder(network, costs=(3.0, 2.0, 0.5), noise=0.4).double()
    with torch.no_grad():
        for p in ladder.combinators.parameters():
            p += 0.3 * torch.randn_like(p)
    torch.manual_seed(8)
    value = ladder(network, u)
    torch.manual_seed(8)

    def normed(h):
        mean, deviation = h.mean(0), (h.var(0, unbiased=False) + 1e-5).sqrt()
        return (h - mean) / deviation, mean, deviation

    def encode(noise):
        h = u + noise * torch.randn_like(u) if noise else u
        zs = [(h, 0.0, 1.0)]
        for k, (linear, norm) in enumerate([(1, 2), (4, 5), (7, None)]):
            a = network[linear](h)
            z, mean, deviation = normed(a)
            drawn = noise * torch.randn_like(a) if noise else 0.0
            zs.append((z + drawn, mean, deviation))
            if norm is None:
                return zs, a + drawn * deviation
            layer = network[norm]
            h = F.relu(layer.weight * (z + drawn) + layer.bias)
            assert k < 2

    clean, _ = encode(0.0)
    noisy, outputs = encode(0.4)
    above, expected = normed(outputs.softmax(1))[0], 0.0
    for k in (3, 2, 1, 0):
        if k < 3:
            above = normed(above @ ladder.decoder[k].weight.T)[0]
        a = ladder.combinators[k].a
        mu = a[0] * torch.sigmoid(a[1] * above + a[2]) + a[3] * above + a[4]
        v = a[5] * torch.sigmoid(a[6] * above + a[7]) + a[8] * above + a[9]
        above = (noisy[k][0] - mu) * v + mu
        rebuilt = (above - clean[k][1]) / clean[k][2]
        expected = expected + (3.0, 2.0, 0.5, 0.5)[k] * (clean[k][0] - rebuilt).square().mean()
    torch.testing.assert_close(value, expected)


def test_the_gamma_model_has_no_decoder_and_other_networks_are_refused():
    network = model()
    gamma = Ladder(network, costs=(0, 0, 0, 1.0)).double()
    assert len(gamma.decoder) == 0 and len(gamma.combinators) == 1
    assert float(gamma(network, data()[2]).detach()) > 0
    with pytest.raises(ValueError, match=r"model must be an nn\.Sequential of linear layers"):
        Ladder(networks.convolutional(2, 2))
    with pytest.raises(ValueError, match="costs must hold 1 to 4 numbers"):
        Ladder(network, costs=[1.0] * 5)


def test_the_labels_are_learned_under_noise_and_statistics_are_of_the_clean_pass():
    network, (x, y, u) = model(), data()
    ladder = Ladder(network, noise=0.4)
    norm = network[2]
    ladder.noisy_labels(network, x, y)
    assert int(norm.num_batches_tracked) == 0
    wanted = copy.deepcopy(network)
    wanted(u)
    ladder(network, u)
    assert int(norm.num_batches_tracked) == 1
    torch.testing.assert_close(norm.running_var, wanted[2].running_var)
    with pytest.raises(ValueError, match="needs more than one example"):
        ladder(network, u[:1])
    quiet = Ladder(network, noise=0.0).noisy_labels
    torch.testing.assert_close(quiet(network, x, y), F.cross_entropy(network(x), y))
