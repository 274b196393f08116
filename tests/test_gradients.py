"""Gradients that are taken at once and handed out by the caller's backward pass."""

import pytest
import torch

from unshaken.gradients import Deferred, Taken, hand_out, known_slope


def test_handed_out_gradients_are_multiplied_by_what_comes_from_above():
    a, b, c = (torch.randn(3, requires_grad=True) for _ in range(3))
    ready = [torch.arange(3.0), None, torch.ones(3)]
    value = hand_out(torch.tensor(5.0), [a, b, c], ready)
    assert float(value.detach()) == 5.0
    (7 * value + a.sum()).backward()
    assert a.grad.tolist() == [1.0, 8.0, 15.0]
    assert b.grad is None
    assert c.grad.tolist() == [7.0] * 3


def test_handing_out_twice_is_refused():
    a = torch.randn(3, requires_grad=True)
    value = hand_out(torch.tensor(5.0), [a], [torch.ones(3)])
    value.backward()
    with pytest.raises(RuntimeError, match=r"sent backward twice.*Call the objective again"):
        value.backward()
    assert a.grad.tolist() == [1.0] * 3


def test_taken_gradients_are_those_of_the_plain_sum():
    """Also where a leaf has no part in a scalar, or autograd gives one tensor to several leaves."""
    found = []
    for kind in (Deferred, Taken):
        torch.manual_seed(1)
        leaves = [torch.randn(3, dtype=torch.float64, requires_grad=True) for _ in range(4)]
        a, b, c, _ = leaves
        total = Deferred(a) if kind is Deferred else Taken(a, leaves)
        for scalar in ((a + b).sum(), (a * c).sum(), (b + a).sum(), torch.tensor(2.0).double()):
            total.add(scalar)
        loss = total.loss()
        (3 * loss).backward()
        found.append([loss.detach(), *(leaf.grad for leaf in leaves)])
    assert found[0][-1] is None and found[1][-1] is None
    for plain, taken in zip(found[0][:-1], found[1][:-1], strict=True):
        torch.testing.assert_close(taken, plain, rtol=1e-14, atol=0)


@pytest.mark.parametrize("kind", [Deferred, Taken])
def test_a_source_learns_its_own_gradient(kind):
    weight = torch.ones(3, requires_grad=True)
    source = torch.full((3,), 2.0, requires_grad=True)
    heard = []
    total = Deferred(weight) if kind is Deferred else Taken(weight, [weight])
    total.add_learning((weight * source.square()).sum(), source, heard.append)
    total.loss().backward()
    assert [g.tolist() for g in heard] == [[4.0] * 3]
    assert weight.grad.tolist() == [4.0] * 3


def test_a_leaf_that_was_not_given_is_met():
    """Behind two of three scalars; one that is passed over, and a source, get no gradient."""
    weight, hidden, source, inner = (
        torch.full((2,), k, requires_grad=True) for k in (1.0, 2.0, 3.0, 4.0)
    )
    made, heard = [], []
    total = Taken(weight, [weight])
    total.pass_over(made)
    total.add((weight * 5).sum())
    assert not total.beyond
    made.append(inner)
    total.add((weight * hidden * inner).sum())
    total.add_learning((hidden * source).sum(), source, heard.append)
    assert total.beyond
    assert hidden.grad is None
    total.loss().backward()
    assert weight.grad.tolist() == [13.0] * 2
    assert hidden.grad.tolist() == [7.0] * 2
    assert [g.tolist() for g in heard] == [[2.0] * 2]
    assert source.grad is None and inner.grad is None


def test_a_known_slope_is_the_gradient():
    at = torch.randn(4, 2, 3, requires_grad=True)
    slope = torch.randn(4, 2, 3)
    values = known_slope(torch.arange(4.0), at, slope)
    assert values.tolist() == [0.0, 1.0, 2.0, 3.0]
    (values * torch.tensor([1.0, 0.0, 2.0, -1.0])).sum().backward()
    expected = slope * torch.tensor([1.0, 0.0, 2.0, -1.0]).reshape(4, 1, 1)
    torch.testing.assert_close(at.grad, expected)


def test_ready_gradients_are_not_differentiated_again():
    a = torch.randn(3, requires_grad=True)
    value = hand_out(torch.tensor(1.0), [a], [torch.ones(3)])
    with pytest.raises(RuntimeError, match="take_gradients=False"):
        torch.autograd.grad(value, a, create_graph=True)
    value = known_slope(torch.ones(3), a, torch.ones(3)).sum()
    with pytest.raises(RuntimeError, match="create_graph=True"):
        torch.autograd.grad(value, a, create_graph=True)


def test_parameters_that_are_no_leaves_get_their_gradient_once():
    """As in meta-learning, where a step's parameters are functions of others."""
    meta = torch.tensor([1.0, 2.0], requires_grad=True)
    fast = meta.exp()
    total = Taken(meta, [fast])
    total.add((fast * 3).sum())
    total.add(fast.square().sum())
    assert not total.beyond
    expected = ((3 + 2 * fast) * fast).detach()
    (found,) = torch.autograd.grad(total.loss(), meta)
    torch.testing.assert_close(found, expected)


def test_what_was_computed_before_can_be_used_again():
    weight, log_t = torch.ones(2, requires_grad=True), torch.tensor(0.3, requires_grad=True)
    t = log_t.exp()
    total = Taken(weight, [weight])
    total.add((weight * t).sum())
    total.add((weight / t).sum())
    (total.loss() + t).backward()
    found, log_t.grad = log_t.grad, None
    t = log_t.exp()
    (2 * t + 2 / t + t).backward()
    torch.testing.assert_close(found, log_t.grad)


def test_a_leaf_that_is_frozen_by_now_gets_nothing():
    weight, other = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    value = (weight * other).sum()
    other.requires_grad_(False)
    total = Taken(weight, [weight])
    total.add(value)
    total.loss().backward()
    assert weight.grad.tolist() == [1.0, 1.0] and other.grad is None
