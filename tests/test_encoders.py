"""Inputs that come from an encoder: it learns from the loss and from every term."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests import networks
from tests.contracts import CONTRACTS, SEED, SHAPES, supervised
from unshaken import (
    AT,
    VMT,
    CoTraining,
    Mixup,
    Objective,
    Regularizer,
    TangentPropagation,
    fields,
)
from unshaken.methods.co_training import another

SHAPE = SHAPES["image"]


@pytest.mark.parametrize("name", [n for n, c in CONTRACTS.items() if "image" in c.on])
def test_an_encoder_gets_the_same_from_an_objective_and_from_terms(name):
    """Whether or not a term's gradient flows into x, it must not depend on how it is called."""
    encoder = nn.Conv2d(1, 2, 3, padding=1).double()
    model = networks.convolutional(2, 2).double()
    raw, y = networks.batch((1, 5, 7))
    made = CONTRACTS[name].make(SHAPE).double()
    index = torch.arange(4)
    found = []
    for joint in (True, False):
        encoder.zero_grad()
        x = encoder(raw)
        term = copy.deepcopy(made)  # it may remember
        torch.manual_seed(SEED)
        if joint:
            loss = Objective(model, term)(x, y, index=index)
        else:
            loss = supervised([term], model, x, y)
            loss = loss + term(model, x, y if term.labeled else None, index=index)
        loss.backward()
        found.append([p.grad.clone() for p in encoder.parameters()])
    networks.assert_same(*found)


def test_a_parameter_of_both_the_encoder_and_the_model_is_counted_once():
    """Tied embeddings: the early gradient must not also run back through x."""
    table = nn.Parameter(torch.randn(6, 5, dtype=torch.float64))

    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = table
            self.mix = nn.Linear(5, 5).double()

        def forward(self, x):
            return torch.tanh(self.mix(x)) @ self.table.T

    model = Tied()
    tokens, y = torch.tensor([0, 3, 5, 1]), torch.arange(4) % 6
    term = AT(0.3)
    found = networks.gradients(Objective(model, term)(table[tokens], y), model)
    x = table[tokens]
    total = F.cross_entropy(model(x), y) + term(model, x, y)
    networks.assert_same(found, networks.gradients(total, model))


FINITE = [
    name
    for name, contract in CONTRACTS.items()
    if "image" in contract.on and not name.startswith(("vmt", "gradient", "entropy", "balance"))
]


@pytest.mark.parametrize("name", FINITE)
def test_the_gradient_is_that_of_the_perturbed_loss_with_the_perturbation_held(name):
    """``d/dφ D(f(P(e_φ(x), a)), target)``: a and the clean prediction are constants."""
    encoder = nn.Conv2d(1, 2, 3, padding=1).double()
    model = networks.convolutional(2, 2).double()
    raw, y = networks.batch((1, 5, 7))
    term = CONTRACTS[name].make(SHAPE).double()
    assert isinstance(term, Regularizer)
    labels, index = (y if term.labeled else None), torch.arange(4)
    torch.manual_seed(SEED)
    found = networks.gradients(term(model, encoder(raw), labels, index=index), encoder)
    torch.manual_seed(SEED)
    a = term.worst(model, encoder(raw), labels, index=index).parameters
    x = encoder(raw)
    target = term.divergence.target(model(x).detach(), labels)
    expected = term.weight * term.divergence(model(term.perturbation(x, a)), target).mean()
    networks.assert_same(found, networks.gradients(expected, encoder))
    assert all(bool(g.any()) for g in found)


def test_the_rate_of_a_movement_depends_on_the_encoder_through_both_factors():
    """R = |Σ g ∇I · B|: the gradient flows through g and through the image derivative."""
    encoder = nn.Conv2d(1, 2, 3, padding=1).double()
    model = networks.convolutional(2, 2).double()
    raw, y = networks.batch((1, 5, 7))
    found = networks.gradients(VMT(fields.Shift())(model, encoder(raw), y), encoder)
    x = encoder(raw)
    loss = F.cross_entropy(model(x), y, reduction="sum")
    (g,) = torch.autograd.grad(loss, x, create_graph=True)
    rows = F.pad((x[:, :, 2:] - x[:, :, :-2]) / 2, (0, 0, 1, 1))
    columns = F.pad((x[..., 2:] - x[..., :-2]) / 2, (1, 1))
    s = torch.stack([(g * d).flatten(1).sum(1) for d in (rows, columns)], 1)
    networks.assert_same(found, networks.gradients(s.norm(dim=1).mean(), encoder))


@pytest.mark.parametrize("name", ["at-l2", "vmt-shift", "vat-difference"])
def test_a_leaf_input_receives_its_gradient(name):
    model = networks.convolutional(2, 2).double()
    x, y = networks.batch(SHAPE)
    term = CONTRACTS[name].make(SHAPE).double()
    x.requires_grad_()
    torch.manual_seed(SEED)
    (3 * Objective(model, term)(x, y)).backward()
    found = x.grad.clone()
    x.grad = None
    torch.manual_seed(SEED)
    (3 * (F.cross_entropy(model(x), y) + term(model, x, y if term.labeled else None))).backward()
    networks.assert_same([found], [x.grad])


JOINED = {
    "mixup": lambda model: Mixup(0.7),
    "tangent-prop": lambda model: TangentPropagation(fields.Affine()),
    "co-training": lambda model: CoTraining(another(model), radius=1e-4),
}


@pytest.mark.parametrize("name", JOINED)
def test_terms_of_other_papers_hand_their_whole_gradient_on(name):
    """The derivative along a random direction of the encoder's weights, by differences."""
    torch.manual_seed(3)
    encoder = nn.Conv2d(1, 2, 3, padding=1).double()
    model = nn.Sequential(nn.Flatten(), nn.Linear(70, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    raw, y = networks.batch((1, 5, 7))
    term = JOINED[name](model).double()
    toward = [torch.randn_like(p) for p in encoder.parameters()]

    def value(step=0.0):
        moved = copy.deepcopy(encoder)
        with torch.no_grad():
            for p, d in zip(moved.parameters(), toward, strict=True):
                p += step * d
        torch.manual_seed(SEED)
        return term(model, moved(raw), y if term.labeled else None), moved

    found, moved = value()
    found.backward()
    along = sum(float((p.grad * d).sum()) for p, d in zip(moved.parameters(), toward, strict=True))
    h = 1e-5
    expected = float((value(h)[0] - value(-h)[0]).detach()) / (2 * h)
    if name == "co-training":
        # The prediction at the clean input is a constant in part of it.
        assert along != 0 and moved.weight.grad.any()
    else:
        assert along == pytest.approx(expected, rel=1e-5)
