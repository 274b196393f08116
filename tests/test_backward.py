"""The objective's loss under everything that a training loop does with a loss."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests import networks
from tests.contracts import CONTRACTS, SEED, SHAPES
from unshaken import AT, VAT, Objective

SHAPE = SHAPES["image"]
METHODS = ["at-l2", "at-linf", "vat-difference", "vmt-shift", "xat-steepest", "mat", "entropy"]


@pytest.fixture(params=METHODS)
def objective(request):
    model = networks.convolutional(2, 2).double()
    return Objective(model, CONTRACTS[request.param].make(SHAPE).double())


def loss_of(objective, x, y):
    torch.manual_seed(SEED)
    return objective(x, y)


def slopes(objective):
    found = [p.grad.clone() for p in objective.model.parameters()]
    objective.model.zero_grad()
    return found


def test_a_factor_from_above_multiplies_every_gradient(objective):
    x, y = networks.batch(SHAPE)
    loss_of(objective, x, y).backward()
    once = slopes(objective)
    (7 * loss_of(objective, x, y)).backward()
    networks.assert_same(slopes(objective), [7 * g for g in once])
    loss_of(objective, x, y).backward(torch.tensor(-2.0, dtype=torch.float64))
    networks.assert_same(slopes(objective), [-2 * g for g in once])


def test_two_calls_accumulate(objective):
    first, second = networks.batch(SHAPE), networks.batch(SHAPE)
    each = []
    for x, y in (first, second):
        loss_of(objective, x, y).backward()
        each.append(slopes(objective))
    for x, y in (first, second):
        loss_of(objective, x, y).backward()
    networks.assert_same(slopes(objective), [a + b for a, b in zip(*each, strict=True)])


def test_both_losses_may_be_made_before_either_goes_backward(objective):
    x, y = networks.batch(SHAPE)
    u, v = networks.batch(SHAPE)
    each = []
    for pair in ((x, y), (u, v)):
        loss_of(objective, *pair).backward()
        each.append(slopes(objective))
    (loss_of(objective, x, y) + loss_of(objective, u, v)).backward()
    networks.assert_same(slopes(objective), [a + b for a, b in zip(*each, strict=True)])


def test_autograd_grad_instead_of_backward(objective):
    x, y = networks.batch(SHAPE)
    loss_of(objective, x, y).backward()
    expected = slopes(objective)
    found = torch.autograd.grad(loss_of(objective, x, y), list(objective.model.parameters()))
    networks.assert_same(list(found), expected)
    assert all(p.grad is None for p in objective.model.parameters())


def test_a_scaler_of_half_precision_loops(objective):
    """Scale, unscale, step: the step is that of the plain loop."""
    x, y = networks.batch(SHAPE)
    loss_of(objective, x, y).backward()
    expected = slopes(objective)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12)
    optimizer = torch.optim.SGD(objective.model.parameters(), lr=0.1)
    scaler.scale(loss_of(objective, x, y)).backward()
    scaler.unscale_(optimizer)
    networks.assert_same(slopes(objective), expected)


def test_gradients_that_are_there_already_stay(objective):
    x, y = networks.batch(SHAPE)
    loss_of(objective, x, y).backward()
    expected = slopes(objective)
    for p in objective.model.parameters():
        p.grad = torch.ones_like(p)
    loss = loss_of(objective, x, y)
    assert all(bool((p.grad == 1).all()) for p in objective.model.parameters())
    loss.backward()
    networks.assert_same(slopes(objective), [1 + g for g in expected])


def test_frozen_parameters_stay_without_gradients(objective):
    x, y = networks.batch(SHAPE)
    loss_of(objective, x, y).backward()
    expected = slopes(objective)
    for p in objective.model[0].parameters():
        p.requires_grad_(False)
    loss_of(objective, x, y).backward()
    for p, g in zip(objective.model.parameters(), expected, strict=True):
        if p.requires_grad:
            torch.testing.assert_close(p.grad, g, rtol=1e-12, atol=1e-14)
        else:
            assert p.grad is None


@pytest.mark.parametrize("names", [("at-l2",), ("at-l2", "entropy"), ("mat", "vat-difference")])
def test_backward_twice_is_refused(names):
    terms = [CONTRACTS[name].make(SHAPE).double() for name in names]
    objective = Objective(networks.convolutional(2, 2).double(), *terms)
    loss = objective(*networks.batch(SHAPE))
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match=r"sent backward twice.*Call the objective again"):
        loss.backward()


def test_float16_leaves_small_gradients_to_the_scaler():
    """Taken before the scaler's factor they would underflow: so they are not taken early."""
    model = networks.mlp((6,))
    with torch.no_grad():
        model[-1].bias.copy_(torch.tensor([18.0, 0.0, 0.0]))
    x, _ = networks.batch((6,), dtype=torch.float32)
    y = torch.zeros(4, dtype=torch.long)
    objective = Objective(model, AT(0.3, weight=0.0))
    slopes_ = []
    for enabled in (False, True):
        model.zero_grad()
        with torch.autocast("cpu", torch.float16, enabled=enabled):
            loss = objective(x, y)
        (2.0**16 * loss).backward()
        slopes_.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert float(networks.cosine(slopes_[0][None], slopes_[1][None])) > 0.99
    assert float(slopes_[1].norm() / slopes_[0].norm()) == pytest.approx(1.0, abs=0.1)


def test_shared_parameters_are_counted_once():
    """A tied layer used twice inside the model: one gradient, that of the plain loss."""
    shared = nn.Linear(6, 6).double()
    model = nn.Sequential(shared, nn.Tanh(), shared, nn.Tanh(), nn.Linear(6, 3).double())
    x, y = networks.batch((6,))
    for term in (AT(0.3), VAT(0.3)):
        torch.manual_seed(SEED)
        found = Objective(model, term)(x, y)
        torch.manual_seed(SEED)
        expected = F.cross_entropy(model(x), y) + term(model, x, y)
        networks.assert_same(networks.gradients(found, model), networks.gradients(expected, model))


def test_a_small_network_leaves_its_gradients_to_the_caller(objective, monkeypatch):
    """The same numbers; the loss is then an ordinary one, which may go backward twice."""
    x, y = networks.batch(SHAPE)
    loss_of(objective, x, y).backward()
    taken = slopes(objective)
    monkeypatch.setattr("unshaken.objective.FEW", 1 << 16)
    loss = loss_of(objective, x, y)
    loss.backward(retain_graph=True)
    networks.assert_same(slopes(objective), taken)
    loss.backward()
    networks.assert_same(slopes(objective), taken)
