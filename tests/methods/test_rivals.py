"""Methods with players of their own, learned rates, masks of dropout: formulas and what moves."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests import networks
from tests.training.helpers import config, noise
from unshaken import (
    CatGAN,
    ConcreteDropout,
    CoTraining,
    FeatureMatching,
    Ladder,
    Objective,
    VAdD,
    add_concrete_dropout,
    models,
)
from unshaken.methods import catalog
from unshaken.methods.co_training import another
from unshaken.methods.concrete_dropout import ConcreteLayer
from unshaken.models.generators import generator, latent_of
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


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("take_gradients", [False, True])
def test_an_objective_moves_every_parameter(name, take_gradients):
    x, y, u = data()
    own, network = terms(name, model())
    objective = Objective(network, *own, alarm=False, take_gradients=take_gradients).double()
    torch.manual_seed(7)
    objective(x, y, unlabeled=u).backward()
    for key, p in objective.named_parameters():
        assert p.grad is not None and p.grad.any(), key
    given = {id(p) for group in objective.parameter_groups(lr=0.1) for p in group["params"]}
    assert given == {id(p) for p in objective.parameters()}


@pytest.mark.parametrize("name", NAMES)
def test_taken_gradients_are_those_of_the_plain_sum(name):
    found = []
    for take_gradients in (False, True):
        x, y, u = data()
        own, network = terms(name, model())
        objective = Objective(network, *own, alarm=False, take_gradients=take_gradients).double()
        torch.manual_seed(7)
        loss = objective(x, y, unlabeled=u)
        loss.backward()
        found.append([loss.detach(), *(p.grad for p in objective.parameters())])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_a_loop_of_ones_own_draws_anew_in_every_step(name):
    x, y, u = data()
    own, network = terms(name, model())
    objective = Objective(network, *own, alarm=False).double()
    torch.manual_seed(7)
    objective(x, y, unlabeled=u)
    first = dict(objective.report)
    objective(x, y, unlabeled=u)
    # The cost of learned rates looks at no input; co-training searches from the same gradient.
    same = {"concrete-dropout", "co-training"}
    assert name in same or all(
        first[term.name] != objective.report[term.name] for term in objective.regularizers
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


def test_the_labels_are_learned_under_noise_and_statistics_move():
    network, (x, y, _) = model(), data()
    term = Ladder(network, noise=0.4).noisy_labels
    norm = network[2]
    term(network, x, y)
    assert int(norm.num_batches_tracked) == 1
    quiet = Ladder(network, noise=0.0).noisy_labels
    torch.testing.assert_close(quiet(network, x, y), F.cross_entropy(network(x), y))


@pytest.mark.parametrize("name", [*NAMES, "fast-swa"])
def test_a_resumed_run_is_the_same_to_the_last_bit(name, tmp_path):
    dataset, split = noise()
    settings = catalog.settings_for(name, {})

    def go(out, stop=0, resume=False):
        torch.manual_seed(3)
        shape = catalog.Shape(4, (), len(dataset.x_all), 2)
        network = catalog.adapt(models.mlp([4, 8, 2]), shape, settings)
        shape = catalog.Shape(4, (), len(dataset.x_all), 2, network)
        objective = Objective(network, *catalog.build(name, shape, settings), alarm=False)

        def evaluate(model, step):
            if step == stop:
                raise KeyboardInterrupt
            return {}

        changes = catalog.training_changes(settings)
        given = config(steps=20, evaluate_every=5, checkpoint_every=5, **changes)
        return train(
            objective, dataset, split, given, device="cpu", out=out, resume=resume,
            evaluate=evaluate,
        )  # fmt: skip

    go(tmp_path / "whole")
    with pytest.raises((KeyboardInterrupt, Interrupted)):
        go(tmp_path / "parts", stop=15)
    go(tmp_path / "parts", resume=True)
    whole, parts = (load_model_weights(tmp_path / part) for part in ("whole", "parts"))
    assert all(torch.equal(value, parts[key]) for key, value in whole.items())


@pytest.mark.parametrize("name", ["vadd", "co-training", "ladder"])
def test_copies_of_an_objective_keep_their_parts_together(name):
    x, y, u = data()
    own, network = terms(name, model())
    objective = Objective(network, *own, alarm=False).double()
    other = copy.deepcopy(objective)
    losses = []
    for each in (objective, other):
        torch.manual_seed(7)
        losses.append(each(x, y, unlabeled=u))
        losses[-1].backward()
    torch.testing.assert_close(losses[0], losses[1])
    for a, b in zip(objective.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)


@pytest.mark.parametrize(
    ("make", "error", "sentence"),
    [
        (lambda: VAdD(rate=1.0), ValueError, r"rate must be in \[0, 1\)"),
        (lambda: VAdD(divergence="js"), ValueError, "divergence must be one of"),
        (lambda: VAdD(flips=2.0), ValueError, "flips must be"),
        (lambda: CoTraining(3), TypeError, "other must be a torch.nn.Module"),
        (lambda: FeatureMatching("g"), TypeError, "generator must be a torch.nn.Module"),
        (lambda: CatGAN(nn.ReLU()), ValueError, "generator must begin with"),
        (lambda: ConcreteDropout(0), ValueError, "examples must be an integer >= 1"),
        (lambda: add_concrete_dropout(nn.ReLU()), ValueError, "model must hold a linear"),
        (
            lambda: add_concrete_dropout(add_concrete_dropout(model())),
            ValueError,
            "has learned dropout rates already",
        ),
        (lambda: ConcreteDropout(5)(model(), data()[2]), ValueError, "call add_concrete_dropout"),
        (
            lambda: CatGAN(nn.Linear(4, 2).double())(model(), data()[2]),
            ValueError,
            r"inputs of shape \(9, 6\), got \(9, 2\)",
        ),
    ],
)
def test_mistakes(make, error, sentence):
    with pytest.raises(error, match=sentence):
        make()
