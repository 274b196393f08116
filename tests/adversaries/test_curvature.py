"""Products with the curvature: exact to rounding, and by difference in every situation."""

import pytest
import torch

from tests import naive, networks, references
from unshaken.adversaries import Problem, curvature
from unshaken.divergences import KL, Function, SquaredError
from unshaken.passes import CleanPass
from unshaken.perturbations import Additive

KINDS = {"kl": KL(), "reverse": KL(reverse=True), "squared": SquaredError()}


def problem(model, x, divergence, **options):
    return Problem(CleanPass(model, x, **options), Additive(2), divergence)


@pytest.mark.parametrize("kind", KINDS)
def test_exact_equals_the_dense_hessian(kind):
    """H d = Jᵀ (diag p − p pᵀ) J d for the KL, by torch's Hessian of the definition."""
    model = networks.mlp((5,)).double()
    x, d = torch.randn(2, 3, 5, dtype=torch.float64).unbind(0)
    found = curvature.product(problem(model, x, KINDS[kind]), d, exact=True)
    for i in range(3):
        expected = references.input_hessian(model, x[i : i + 1], kind) @ d[i]
        torch.testing.assert_close(found[i], expected, rtol=1e-10, atol=1e-12)


def test_exact_equals_jacobians_by_hand():
    model = networks.mlp((5,)).double()
    x, d = torch.randn(2, 3, 5, dtype=torch.float64).unbind(0)
    found = curvature.product(problem(model, x, KL()), d, exact=True)
    for i in range(3):
        jacobian = torch.autograd.functional.jacobian(lambda z: model(z[None])[0], x[i])
        p = model(x[i : i + 1]).detach()[0].softmax(0)
        expected = jacobian.T @ ((p.diag() - p.outer(p)) @ (jacobian @ d[i]))
        torch.testing.assert_close(found[i], expected, rtol=1e-10, atol=1e-14)


def test_exact_couples_examples_through_batch_statistics():
    """In train mode the Hessian of the batch's sum, double backward through batch norm."""
    model = networks.normalized((5,)).double().train()
    x, d = torch.randn(2, 6, 5, dtype=torch.float64).unbind(0)
    found = curvature.product(problem(model, x, KL()), d, exact=True)
    r = torch.zeros_like(x, requires_grad=True)
    total = 6 * naive.kl(model(x), model(x + r))
    (g,) = torch.autograd.grad(total, r, create_graph=True)
    (expected,) = torch.autograd.grad((g * d).sum(), r)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("situation", ["alone", "logits given", "live pass"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_difference_has_the_exact_direction(kind, situation, training):
    """Of one length in all examples, so that batch statistics couple them alike."""
    model = networks.normalized((5,)).double()
    x, d = torch.randn(2, 6, 5, dtype=torch.float64).unbind(0)
    d = torch.nn.functional.normalize(d)
    model(x)
    model.train(training)
    expected = curvature.product(problem(model, x, KINDS[kind]), d, exact=True)
    logits = model(x) if situation == "logits given" else None
    one = problem(model, x, KINDS[kind], logits=logits)
    if situation == "live pass":
        one.clean.run_live(track_input=True)
    found = curvature.product(one, d)
    assert float(networks.cosine(found, expected).min()) > 1 - 1e-8


@pytest.mark.parametrize("scale", [1e-6, 1.0, 255.0, 1e6])
def test_difference_at_any_scale_of_the_inputs(scale):
    """The step follows the inputs: a network fed with 0..255 is as good as one fed with 0..1."""
    model = networks.mlp((30,))
    first = model[1]
    with torch.no_grad():
        first.weight /= scale
    x, d = torch.randn(2, 8, 30).unbind(0)
    exact, difference = (
        curvature.product(problem(model, scale * x, KL()), d, exact=exact)
        for exact in (True, False)
    )
    assert float(networks.cosine(exact, difference).min()) > 0.999


@pytest.mark.parametrize("columns", [30, 1])
@pytest.mark.parametrize("offset", [1e2, 1e3, 1e4])
def test_difference_on_inputs_with_an_offset(offset, columns):
    """As raw measurements are; the network's first layer knows the offset."""
    model = networks.mlp((30,))
    x, d = torch.randn(2, 64, 30).unbind(0)
    shift = torch.zeros(30)
    shift[:columns] = offset
    moved = x + shift

    def around(x):
        return model(x - shift)

    exact, difference = (
        curvature.product(problem(around, moved, KL()), d, exact=exact) for exact in (True, False)
    )
    cosine = networks.cosine(exact, difference)
    assert float(cosine.mean()) > 0.99
    assert float(cosine.min()) > (0.9 if offset < 1e4 else 0.7)


@pytest.mark.parametrize("length", [1e-20, 1e-3, 1e3, 1e20])
def test_difference_at_any_length_of_the_tangent(length):
    model = networks.mlp((30,)).double()
    x, d = torch.randn(2, 8, 30, dtype=torch.float64).unbind(0)
    exact = curvature.product(problem(model, x, KL()), d, exact=True)
    difference = curvature.product(problem(model, x, KL()), length * d)
    assert float(networks.cosine(exact, difference).min()) > 1 - 1e-8


def test_a_users_own_divergence():
    def huber(outputs, clean):
        return torch.nn.functional.huber_loss(outputs, clean, reduction="none").sum(1)

    model = networks.mlp((5,)).double()
    x, d = torch.randn(2, 3, 5, dtype=torch.float64).unbind(0)
    found = curvature.product(problem(model, x, Function(huber)), d, exact=True)
    for i in range(3):
        jacobian = torch.autograd.functional.jacobian(lambda z: model(z[None])[0], x[i])
        torch.testing.assert_close(found[i], jacobian.T @ (jacobian @ d[i]), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("exact", [True, False], ids=["exact", "difference"])
def test_dense_outputs(exact):
    """Segmentation: the mean over positions of each position's curvature."""
    model = networks.dense().double()
    x, d = torch.randn(2, 2, 1, 3, 4, dtype=torch.float64).unbind(0)
    found = curvature.product(problem(model, x, KL()), d, exact=exact)
    for i in range(2):
        clean = model(x[i : i + 1]).detach()

        def changed(r, i=i, clean=clean):
            outputs = model(x[i : i + 1] + r.reshape(1, 1, 3, 4))
            flat = (clean.flatten(2).mT.flatten(0, 1), outputs.flatten(2).mT.flatten(0, 1))
            return naive.kl(*flat)

        hessian = torch.autograd.functional.hessian(changed, torch.zeros(12).double())
        expected = hessian @ d[i].flatten()
        if exact:
            torch.testing.assert_close(found[i].flatten(), expected, rtol=1e-9, atol=1e-12)
        assert float(networks.cosine(found[i : i + 1], expected[None]).min()) > 1 - 1e-8
