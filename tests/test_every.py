"""Terms that act in every k-th call only, with k times the weight."""

import copy

import pytest
import torch
from torch.nn import functional as F

from tests import networks
from tests.contracts import CONTRACTS, SHAPES
from unshaken import AT, VAT, VMT, EntropyMinimization, Mixup, Objective, fields

SHAPE = SHAPES["image"]


def test_the_mean_over_a_period_is_that_of_acting_always():
    model = networks.convolutional(2, 2).double()
    x, y = networks.batch(SHAPE)
    always = Objective(model, VMT(fields.Shift(), weight=0.7))
    seldom = Objective(model, VMT(fields.Shift(), weight=0.7, every=3))
    expected = networks.gradients(always(x, y), model)
    found, reports = [], []
    for _ in range(6):
        found.append(networks.gradients(seldom(x, y), model))
        reports.append(float(seldom.report["vmt"]))
    for k, slope in enumerate(expected):
        torch.testing.assert_close(sum(step[k] for step in found) / 6, slope)
    assert [r > 0 for r in reports] == [True, False, False] * 2
    assert reports[0] == pytest.approx(3 * float(always.report["vmt"]))


def test_a_call_without_the_term_is_a_plain_step():
    model = networks.convolutional(2, 2).double()
    x, y = networks.batch(SHAPE)
    objective = Objective(model, AT(0.3, every=2), VAT(0.3, every=2))
    objective(x, y)
    calls = []
    model[0].register_forward_hook(lambda *_: calls.append(1))
    found = networks.gradients(objective(x, y), model)
    assert len(calls) == 1
    networks.assert_same(found, networks.gradients(F.cross_entropy(model(x), y), model))


def test_a_term_in_place_of_the_loss_keeps_its_weight():
    """The loss is there in the calls between: two of the one would weigh too much."""
    model = networks.convolutional(2, 2).double()
    x, y = networks.batch(SHAPE)
    objective = Objective(model, Mixup(every=2))
    found = []
    for _ in range(4):
        objective(x, y)
        found.append((float(objective.report["loss"]), float(objective.report["mixup"])))
    plain = float(F.cross_entropy(model(x), y).detach())
    torch.manual_seed(0)
    alone = float(Mixup()(model, x, y).detach())
    assert [mixed > 0 for _, mixed in found] == [True, False] * 2
    assert found[1][0] == pytest.approx(plain)
    assert found[0][0] == found[0][1] and 0.5 * alone < found[0][0] < 2 * alone
    torch.manual_seed(0)
    assert float(Mixup(every=2)(model, x, y).detach()) == pytest.approx(alone)


def test_alone_it_can_always_go_backward():
    model = networks.convolutional(2, 2).double()
    x, _ = networks.batch(SHAPE)
    vat = VAT(0.3, every=2)
    first, second = vat(model, x), vat(model, x)
    second.backward()
    assert float(first.detach()) > 0
    assert float(second.detach()) == 0
    assert all(p.grad is None for p in model.parameters())
    objective = Objective(model, VAT(0.3, every=2))
    for _ in range(2):
        objective(x).backward()  # no labels either


@pytest.mark.parametrize("name", [n for n, c in CONTRACTS.items() if "image" in c.on])
def test_every_method_takes_it(name):
    term = CONTRACTS[name].make(SHAPE)
    assert term.every == 1
    assert "every" not in repr(term)


def test_the_count_is_in_the_state():
    term = EntropyMinimization(every=3)
    assert "every=3" in repr(term)
    for _ in range(4):
        term.turn()
    other = EntropyMinimization(every=3)
    other.load_state_dict(copy.deepcopy(term.state_dict()))
    assert [other.turn() for _ in range(3)] == [term.turn() for _ in range(3)] == [0, 0, 3]
    assert not EntropyMinimization().state_dict()


def test_outside_training_it_acts_in_each_call():
    term = EntropyMinimization(every=3).eval()
    assert [term.turn() for _ in range(3)] == [1, 1, 1]
    with torch.no_grad():
        assert term.train().turn() == 1


@pytest.mark.parametrize("wrong", [0, -1, 1.5])
def test_a_wrong_period(wrong):
    with pytest.raises((ValueError, TypeError), match="every"):
        VAT(1.0, every=wrong)
