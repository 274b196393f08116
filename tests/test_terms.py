"""Entropy minimization and class balance against their formulas."""

import math

import pytest
import torch
from torch import nn

from tests import networks
from unshaken import ClassBalance, EntropyMinimization

both = pytest.mark.parametrize(
    "term", [EntropyMinimization(), ClassBalance()], ids=["entropy", "balance"]
)


class Identity(nn.Module):
    """Inputs are the logits."""

    def forward(self, x):
        return x


def test_entropy_by_hand():
    p = torch.tensor(
        [[0.5, 0.5, 0.0], [0.25, 0.25, 0.5], [1 / 3, 1 / 3, 1 / 3]], dtype=torch.float64
    )
    expected = (math.log(2) + 1.5 * math.log(2) + math.log(3)) / 3
    found = EntropyMinimization(2.0)(Identity(), p.clamp_min(1e-300).log())
    assert float(found) == pytest.approx(2 * expected, rel=1e-12)


def test_balance_by_hand():
    """log C − H(mean p): 0 when the classes are used equally, log C when one takes all."""
    equal = 50 * torch.eye(3, dtype=torch.float64)
    assert float(ClassBalance()(Identity(), equal)) == pytest.approx(0.0, abs=1e-12)
    one = 50 * torch.eye(3, dtype=torch.float64)[[1, 1, 1, 1]]
    assert float(ClassBalance()(Identity(), one)) == pytest.approx(math.log(3), rel=1e-12)
    logits = torch.randn(5, 4, dtype=torch.float64)
    mean = logits.softmax(1).mean(0)
    expected = math.log(4) + float((mean * mean.log()).sum())
    assert float(ClassBalance()(Identity(), logits)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    "term", [EntropyMinimization(), ClassBalance()], ids=["entropy", "balance"]
)
def test_dense_outputs_are_a_batch_of_positions(term):
    logits = torch.randn(2, 4, 3, 5, dtype=torch.float64)
    flat = logits.movedim(1, -1).reshape(-1, 4)
    torch.testing.assert_close(term(Identity(), logits), term(Identity(), flat))


@pytest.mark.parametrize(
    "term", [EntropyMinimization(), ClassBalance()], ids=["entropy", "balance"]
)
def test_gradients_are_the_formulas(term):
    model = networks.mlp((6,)).double()
    x, _ = networks.batch((6,), count=8)
    p = model(x).softmax(1)
    mean = p.mean(0)
    expected = (
        -(p * p.log()).sum(1).mean()
        if isinstance(term, EntropyMinimization)
        else math.log(3) + (mean * mean.log()).sum()
    )
    found = term(model, x)
    torch.testing.assert_close(found, expected)
    networks.assert_same(networks.gradients(found, model), networks.gradients(expected, model))


@pytest.mark.parametrize(
    "term", [EntropyMinimization(), ClassBalance()], ids=["entropy", "balance"]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_absent_classes_have_finite_gradients(term, dtype):
    logits = torch.tensor(
        [[200.0, 0.0, -200.0], [90.0, 0.0, -1e4]], dtype=dtype, requires_grad=True
    )
    value = term(Identity(), logits)
    value.backward()
    assert bool(torch.isfinite(value)) and bool(torch.isfinite(logits.grad).all())


@pytest.mark.parametrize(
    "term", [EntropyMinimization(), ClassBalance()], ids=["entropy", "balance"]
)
def test_descending_does_what_the_name_says(term):
    logits = torch.randn(6, 3, dtype=torch.float64).requires_grad_()
    before = term(Identity(), logits)
    before.backward()
    with torch.no_grad():
        after = term(Identity(), logits - logits.grad)
    assert float(after) < float(before.detach())


@pytest.mark.parametrize(
    "term", [EntropyMinimization(), ClassBalance()], ids=["entropy", "balance"]
)
def test_outputs_without_classes_are_named(term):
    with pytest.raises(ValueError, match=r"model must give outputs .*2 classes, got \(4, 1\)"):
        term(Identity(), torch.randn(4, 1))


def test_the_names_in_reports():
    assert EntropyMinimization().name == "entropy"
    assert ClassBalance().name == "balance"
    assert EntropyMinimization(name="mine").name == "mine"
