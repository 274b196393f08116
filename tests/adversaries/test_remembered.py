"""Remembered adversaries: one pass for the network's step and the next perturbation."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests import networks
from tests.contracts import SHAPES
from unshaken import AT, MAT, VAT, XAT, Objective, Regularizer, fields, masks
from unshaken.adversaries import Remembered
from unshaken.divergences import KL, CrossEntropy
from unshaken.perturbations import Additive, Mask
from unshaken.ramps import Ramp

SHAPE = SHAPES["image"]
ALL = (10, *SHAPE)
INDEX = torch.tensor([7, 2, 9, 0])
METHODS = {
    "at-l2": lambda: AT(0.3, remember=ALL),
    "at-linf": lambda: AT(0.1, math.inf, remember=ALL),
    "mat": lambda: MAT(fields.Affine(), radius=0.7, remember=ALL),
    "xat": lambda: XAT(masks.Steepest(0.7), remember=ALL),
}


@pytest.fixture(params=METHODS)
def term(request):
    return METHODS[request.param]().double()


def setting():
    torch.manual_seed(4)
    return networks.convolutional(2, 2).double(), *networks.batch(SHAPE)


def test_a_ramp_gives_every_visit_the_radius_of_its_own_call():
    model, x, y = setting()
    term = AT(Ramp(0.1, 1.0, 4), remember=ALL).double()
    for call in range(6):
        shown = term.worst(model, x, y, index=INDEX).parameters
        radius = 0.1 + 0.9 * min(max(call - 1, 0), 4) / 4
        assert shown.flatten(1).norm(dim=1).tolist() == pytest.approx([radius] * 4)
        term(model, x, y, index=INDEX).backward()
    with pytest.raises(ValueError, match="a remembered mask cannot follow a ramp"):
        Regularizer(Mask(), Remembered(Ramp(0.1, 0.5, 4), 10, (1, 4, 6)), CrossEntropy())


@pytest.mark.parametrize("joint", [True, False], ids=["objective", "alone"])
def test_the_next_visit_steps_along_the_gradient_of_this_one(term, joint):
    model, x, y = setting()
    perturbation, adversary = term.perturbation, term.adversary
    for _ in range(3):
        torch.manual_seed(1)
        before = adversary.table.clone()
        worst = term.worst(model, x, y, index=INDEX)
        torch.manual_seed(1)
        if joint:
            loss = Objective(model, term)(x, y, index=INDEX)
        else:
            loss = term(model, x, y, index=INDEX)
        loss.backward()
        a = worst.parameters.clone().requires_grad_()
        value = F.cross_entropy(model(perturbation(x, a)), y)
        torch.testing.assert_close(loss.detach(), term.weight * value.detach())
        (s,) = torch.autograd.grad(value, a)
        expected = perturbation.steepest(x, s, adversary.radius)
        torch.testing.assert_close(adversary.table[INDEX], expected)
        others = [k for k in range(10) if k not in INDEX]
        assert torch.equal(adversary.table[others], before[others])
        model.zero_grad()


def test_a_step_is_one_pass_that_moves_the_running_statistics_once():
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten(), nn.LazyLinear(3)
    ).double()
    x, y = networks.batch(SHAPE)
    model(x)
    calls = []
    model[0].register_forward_hook(lambda *_: calls.append(1))
    before = model[1].num_batches_tracked.clone()
    term = METHODS["mat"]().double()
    objective = Objective(model, term, alarm=False)
    loss = objective(x, y, index=INDEX)
    loss.backward()
    assert len(calls) == 1
    assert int(model[1].num_batches_tracked - before) == 1
    assert objective.report["loss"] == objective.report["mat"]
    term.worst(model, x, y, index=INDEX)
    assert int(model[1].num_batches_tracked - before) == 1


def test_what_was_not_seen_is_random_and_of_full_size():
    model, x, y = setting()
    term = METHODS["at-l2"]().double()
    first = term.worst(model, x, y, index=INDEX).parameters
    second = term.worst(model, x, y, index=INDEX).parameters
    assert not torch.allclose(first, second)
    torch.testing.assert_close(first.flatten(1).norm(dim=1), torch.full((4,), 0.3).double())
    assert not term.adversary.table.any()


def test_a_vanishing_gradient_keeps_what_was_known(term):
    model, x, y = setting()
    term(model, x, y, index=INDEX).backward()
    before = term.adversary.table.clone()
    assert before[INDEX].flatten(1).any(1).all()
    for p in model.parameters():
        p.data.zero_()
    term(model, x, y, index=INDEX).backward()
    assert torch.equal(term.adversary.table, before)


@pytest.mark.parametrize("factor", [math.inf, math.nan])
def test_an_overflowing_gradient_keeps_what_was_known(term, factor):
    """As a gradient scaler sends back whose factor is still too large."""
    model, x, y = setting()
    term(model, x, y, index=INDEX).backward()
    before = term.adversary.table.clone()
    (factor * term(model, x, y, index=INDEX)).backward()
    assert torch.equal(term.adversary.table, before)


def test_an_example_that_comes_twice_keeps_the_later_row(term):
    model, x, y = setting()
    index = torch.tensor([7, 2, 7, 2])
    torch.manual_seed(1)
    a = term.worst(model, x, y, index=index).parameters.requires_grad_()
    torch.manual_seed(1)
    term(model, x, y, index=index).backward()
    (s,) = torch.autograd.grad(F.cross_entropy(model(term.perturbation(x, a)), y), a)
    expected = term.perturbation.steepest(x, s, term.adversary.radius)
    assert not torch.equal(expected[0], expected[2])
    torch.testing.assert_close(term.adversary.table[[7, 2]], expected[2:])


def test_it_is_the_same_after_loading():
    model, x, y = setting()
    term = METHODS["mat"]().double()
    term(model, x, y, index=INDEX).backward()
    other = METHODS["mat"]().double()
    other.load_state_dict(copy.deepcopy(term.state_dict()))
    found, expected = (t.worst(model, x, y, index=INDEX).parameters for t in (other, term))
    assert torch.equal(found, expected)


def test_evaluation_teaches_nothing():
    model, x, y = setting()
    term = METHODS["mat"]().double().eval()
    term(model, x, y, index=INDEX)
    with torch.no_grad():
        term.train()(model, x, y, index=INDEX)
    assert not term.adversary.table.any()


def test_beside_other_terms():
    """A label-free term may use the clean prediction; the supervised loss stays out."""
    model, x, y = setting()
    objective = Objective(model, METHODS["mat"]().double(), VAT(0.3))
    objective(x, y, index=INDEX).backward()
    report = objective.report
    torch.testing.assert_close(report["loss"], report["mat"] + report["vat"])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: AT(1.0, remember=50), "remember must be the shape of all training inputs"),
        (lambda: XAT(masks.Generator(2), remember=ALL), "remember goes with masks.Steepest"),
        (lambda: MAT(fields.Shift(), radius=1.0, remember=(10, 4)), "spatial axis"),
        (lambda: Regularizer(Additive(2), Remembered(1.0, 5, (3,)), KL()), "needs labels"),
        (lambda: Remembered(1.0, 0, (3,)), "examples"),
    ],
)
def test_mistakes_when_made(wrong, words):
    with pytest.raises((ValueError, TypeError), match=words):
        wrong()


def test_mistakes_when_called():
    model, x, y = setting()
    with pytest.raises(ValueError, match="index"):
        METHODS["at-l2"]().double()(model, x, y)
    with pytest.raises((ValueError, IndexError), match="index"):
        METHODS["at-l2"]().double()(model, x, y, index=INDEX + 5)
    with pytest.raises(ValueError, match="remember must be the shape"):
        AT(0.3, remember=(10, 2, 3, 3)).double()(model, x, y, index=INDEX)
    with pytest.raises(ValueError, match="needs labels"):
        METHODS["at-l2"]().double()(model, x, index=INDEX)
