"""Power iteration over every perturbation that has a ball."""

import math

import pytest
import torch

from tests import networks, references
from unshaken import Regularizer, fields
from unshaken.adversaries import PowerIteration
from unshaken.divergences import KL, SquaredError
from unshaken.perturbations import Additive, Movement, Relative


@pytest.mark.parametrize("direction", ["difference", "exact"])
def test_relative_changes_reach_the_top_of_the_scaled_curvature(direction):
    """H in r is diag(x − c) H_x diag(x − c)."""
    model = networks.mlp((6,)).double()
    x, _ = networks.batch((6,), count=3)
    relative = Regularizer(Relative(2, anchor=-3.0), PowerIteration(0.1, 300, direction), KL())
    worst = relative.worst(model, x)
    for i in range(3):
        scale = x[i] + 3.0
        hessian = references.input_hessian(model, x[i : i + 1])
        _, top = references.top_eigenvector(scale[:, None] * hessian * scale)
        cosine = networks.cosine(worst.parameters[i : i + 1], top[None])
        assert float(cosine.abs()) > 1 - 1e-5


def test_squared_error_of_a_regression():
    """Outputs (N, 1): H = 2 ∇f ∇fᵀ, so one step from anywhere is enough."""
    model = networks.mlp((6,), classes=1).double()
    x, _ = networks.batch((6,))
    smooth = Regularizer(Additive(2), PowerIteration(0.1), SquaredError())
    worst = smooth.worst(model, x)
    leaf = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(model(leaf).sum(), leaf)
    assert float(networks.cosine(worst.parameters, slope).abs().min()) > 1 - 1e-8
    expected = (model(worst.perturbed) - model(x)).square().mean(1)
    torch.testing.assert_close(worst.value, expected.detach())


def test_the_infinity_ball_takes_signs():
    model = networks.mlp((6,)).double()
    x, _ = networks.batch((6,))
    worst = Regularizer(Additive(math.inf), PowerIteration(0.1, 3), KL()).worst(model, x)
    torch.testing.assert_close(worst.parameters.abs(), torch.full_like(x, 0.1))


def test_more_steps_find_more():
    model = networks.mlp((40,)).double()
    x, _ = networks.batch((40,), count=16)
    values = []
    for steps in (1, 3, 30):
        torch.manual_seed(1)
        vat = Regularizer(Additive(2), PowerIteration(0.01, steps, "exact"), KL())
        values.append(float(vat(model, x).detach()))
    assert values[0] < values[1] <= values[2] * (1 + 1e-6)


def test_first_order_movements_in_four_dimensions():
    model = networks.mlp((1, 3, 3, 3, 3)).double()
    x, _ = networks.batch((1, 3, 3, 3, 3))
    movement = Movement(fields.Shift(), warp=False)
    worst = Regularizer(movement, PowerIteration(0.5, 50), KL()).worst(model, x)
    basis = references.fields_by_loops("shift", (3, 3, 3, 3))
    hessian = references.input_hessian(model, x[:1])
    _, field = references.top_field(hessian, x[:1], basis)
    assert float(networks.cosine(worst.displacement[:1], field[None]).abs()) > 1 - 1e-6


def test_constant_outputs_leave_a_zero_perturbation():
    class Constant(torch.nn.Module):
        def forward(self, x):
            return torch.zeros(len(x), 3, dtype=x.dtype) + 0 * x.flatten(1).sum(1, keepdim=True)

    x, _ = networks.batch((6,))
    for direction in ("difference", "exact"):
        worst = Regularizer(Additive(2), PowerIteration(1.0, 1, direction), KL()).worst(
            Constant(), x
        )
        assert not worst.parameters.any()
        assert not worst.value.any()


def test_difference_and_exact_agree_for_movements_in_train_mode():
    """Batch statistics couple the examples: one step length must serve them all."""
    model = networks.normalized((2, 5, 7)).double().train()
    x, _ = networks.batch((2, 5, 7), count=8)
    x = x * torch.linspace(0.2, 3, 8, dtype=torch.float64).reshape(-1, 1, 1, 1)
    directions = []
    for direction in ("difference", "exact"):
        torch.manual_seed(1)
        term = Regularizer(Movement(fields.Affine()), PowerIteration(0.5, 1, direction), KL())
        directions.append(term.worst(model, x).displacement)
    assert float(networks.cosine(*directions).min()) > 1 - 1e-6
