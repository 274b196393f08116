"""Feature matching and CatGAN: what each player is paid, and the generators they train."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from tests.methods.players import data, gradients, making, model
from unshaken import (
    CatGAN,
    FeatureMatching,
)
from unshaken.models.generators import generator, latent_of


def test_players_of_feature_matching_get_their_own_gradients():
    network, _, u = model(), *data()[1:]
    term = FeatureMatching(making())
    torch.manual_seed(7)
    value = term(network, u)
    grads = gradients(value, [*network.parameters(), *term.parameters()])
    torch.manual_seed(7)
    made = term.generator(torch.rand(9, 4).double())

    def z(inputs):
        return network(inputs).logsumexp(1)

    def features(inputs):
        return network[:-1](inputs).mean(0)

    first = (F.softplus(-z(u)) + F.softplus(z(made.detach()))).mean()
    second = (features(u).detach() - features(made)).square().sum()
    torch.testing.assert_close(value, first + second)
    for a, b in zip(
        grads, [*gradients(first, network.parameters()), *gradients(second, term.parameters())],
        strict=True,
    ):  # fmt: skip
        torch.testing.assert_close(a, b)
    # The real probability e^Z / (e^Z + 1).
    logits = torch.cat([network(u), torch.zeros(9, 1).double()], 1)
    real = 1 - logits.softmax(1)[:, -1]
    torch.testing.assert_close(F.softplus(-z(u)), -real.log())


def test_players_of_catgan_get_their_own_gradients():
    network, u = model(), data()[2]
    term = CatGAN(making())
    torch.manual_seed(7)
    value = term(network, u)
    grads = gradients(value, [*network.parameters(), *term.parameters()])
    torch.manual_seed(7)
    made = term.generator(torch.rand(9, 4).double())

    def h(p):
        return -(p * p.log()).sum(-1)

    real, fake = network(u).softmax(1), network(made.detach()).softmax(1)
    first = h(real).mean() - h(real.mean(0)) - h(fake).mean()
    fake = network(made).softmax(1)
    second = h(fake).mean() - h(fake.mean(0))
    torch.testing.assert_close(value, first + second)
    for a, b in zip(
        grads, [*gradients(first, network.parameters()), *gradients(second, term.parameters())],
        strict=True,
    ):  # fmt: skip
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(("channels", "size"), [(5, ()), (1, (8, 8)), (3, (32, 32)), (3, (16, 24))])
def test_a_generator_makes_inputs(channels, size):
    network = generator(channels, size, latent=12)
    assert latent_of(network) == 12
    assert network(torch.rand(4, 12)).shape == (4, channels, *size)
