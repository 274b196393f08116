"""Gates on an unmodified model: what they draw, what they cost, and what is left of the weights."""

import copy
import math

import pytest
import torch
from torch import nn

from tests import networks
from unshaken import VAT, VMT, XVAT, Objective, fields, masks, models
from unshaken.distributions import HardConcrete
from unshaken.sparsity import L0, Gates, add_gates, expected_l0, gates_of, prune, remaining
from unshaken.stacking import stack_objectives

GROUPS = ("weight", "output", "input")


def gated(groups="weight", **options):
    torch.manual_seed(0)
    return add_gates(networks.convolutional(2, 2).double(), groups, **options)


def scatter(model):
    """Put every gate somewhere between closed and open."""
    with torch.no_grad():
        for gates in gates_of(model):
            gates.location.copy_(torch.randn_like(gates.location) * 0.6)
    return model


def test_the_deterministic_gate_is_the_formula():
    log_alpha = torch.linspace(-6, 6, 49, dtype=torch.float64)
    found = HardConcrete(log_alpha).deterministic()
    expected = [min(1, max(0, 1.2 / (1 + math.exp(-a)) - 0.1)) for a in log_alpha.tolist()]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))
    assert found.min() == 0 and found.max() == 1


@pytest.mark.parametrize("groups", GROUPS)
def test_a_gate_for_each_group(groups):
    layer = nn.Conv2d(3, 5, (2, 4))
    shape = {"weight": (5, 3, 2, 4), "output": (5, 1, 1, 1), "input": (1, 3, 1, 1)}[groups]
    (gates,) = gates_of(add_gates(nn.Sequential(layer), groups))
    assert tuple(gates.location.shape) == shape and gates.size == 5 * 3 * 2 * 4


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.9])
def test_keep_is_the_share_at_the_start(keep):
    model = gated("output", keep=keep)
    assert expected_l0(model).item() == pytest.approx(keep)


def test_the_expected_share_is_the_mean_of_what_is_drawn():
    """Layers of different sizes count by their weights: within 5 standard errors."""
    model = scatter(gated("input"))
    torch.manual_seed(1)
    shares = []
    layers = [m for m in model.modules() if hasattr(m, "parametrizations")]
    with torch.no_grad():
        for _ in range(3000):
            weights = [layer.weight for layer in layers]
            shares.append(
                sum(int((w != 0).sum()) for w in weights) / sum(map(torch.numel, weights))
            )
    found = torch.tensor(shares, dtype=torch.float64)
    gap = expected_l0(model).item() - float(found.mean())
    assert abs(gap) < 5 * float(found.std()) / 3000**0.5


def test_gates_are_drawn_in_training_and_fixed_in_evaluation():
    model = scatter(gated())
    x, _ = networks.batch((2, 5, 7))
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


def test_all_passes_of_a_term_draw_the_same_gates():
    """Without a radius nothing changes but what is drawn."""
    model = scatter(gated())
    x, _ = networks.batch((2, 5, 7))
    for term in (VAT(0.0), XVAT(masks.Steepest(1.0))):
        assert float(term(model, x).detach()) < 1e-12


@pytest.mark.parametrize("groups", GROUPS)
def test_pruning_keeps_the_answers_and_leaves_a_plain_model(groups):
    torch.manual_seed(0)
    plain = networks.normalized((2, 5, 7)).double()
    model = scatter(add_gates(copy.deepcopy(plain), groups)).eval()
    x, _ = networks.batch((2, 5, 7))
    small = prune(model)
    torch.testing.assert_close(small(x), model(x), rtol=0, atol=0)
    assert [type(m) for m in small.modules()] == [type(m) for m in plain.modules()]
    assert list(small.state_dict()) == list(plain.state_dict())
    weights = [m.weight for m in small.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    share = sum(int((w != 0).sum()) for w in weights) / sum(w.numel() for w in weights)
    assert 0.1 < share < 0.95 and remaining(model) == pytest.approx(share)
    assert not small.training and gates_of(model)


def test_pruning_a_model_in_training_mode_takes_the_fixed_gates():
    model = scatter(gated())
    small = prune(model)
    assert small.training and model.training
    x, _ = networks.batch((2, 5, 7))
    torch.testing.assert_close(small.eval()(x), model.eval()(x), rtol=0, atol=0)


def test_the_term_is_the_share_and_its_gradient_reaches_the_gates_alone():
    model = gated()
    x, _ = networks.batch((2, 5, 7))
    value = L0(3.0)(model, x)
    torch.testing.assert_close(value, 3 * expected_l0(model))
    value.backward()
    for name, p in model.named_parameters():
        assert (p.grad is not None and bool(p.grad.any())) == name.endswith("location"), name


@pytest.mark.parametrize("take", [True, False])
def test_an_objective_trains_weights_and_gates(take):
    """The sum of the parts, gates drawn once for all passes; also where gradients are taken."""
    torch.manual_seed(0)
    model = add_gates(models.mlp([2 * 5 * 7, 600, 150, 3]).double())
    x, y = networks.batch((2, 5, 7), count=16)
    objective = Objective(model, XVAT(masks.Steepest(0.7)), L0(0.5), take_gradients=take)
    torch.manual_seed(2)
    objective(x, y).backward()
    report = objective.report
    assert float(report["l0"]) == pytest.approx(0.5 * expected_l0(model).item())
    assert float(report["loss"]) > float(report["l0"]) + float(report["xvat"])
    assert all(bool(p.grad.any()) for p in model.parameters())


def test_double_backward_goes_through_gates():
    model = scatter(gated())
    x, y = networks.batch((2, 5, 7))
    objective = Objective(model, VMT(fields.Shift()))
    objective(x, y).backward()
    assert all(bool(gates.location.grad.any()) for gates in gates_of(model))


def test_a_heavy_price_closes_gates_that_the_loss_does_not_need():
    """Two of twelve inputs matter."""
    torch.manual_seed(0)
    x = torch.randn(256, 12)
    y = (x[:, 0] + x[:, 1] > 0).long()
    model = add_gates(nn.Linear(12, 2), "input")
    objective = Objective(model, L0(0.3))
    optimizer = torch.optim.Adam(objective.parameters(), lr=0.02)
    for _ in range(400):
        loss = objective(x, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    kept = gates_of(model)[0].distribution().deterministic().flatten() > 0
    assert kept.tolist() == [True, True] + [False] * 10
    model.eval()
    assert float((model(x).argmax(1) == y).float().mean()) > 0.95


def test_state_dicts_go_round_and_stacks_refuse_gates():
    model = scatter(gated())
    other = gated()
    other.load_state_dict(model.state_dict())
    x, _ = networks.batch((2, 5, 7))
    assert torch.equal(model.eval()(x), other.eval()(x))
    torch.manual_seed(0)
    pair = [Objective(add_gates(models.mlp([6, 4, 3])), L0()) for _ in range(2)]
    assert stack_objectives(pair) is None


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: add_gates(nn.ReLU()), "linear or convolution layer"),
        (lambda: add_gates(gated()), "parametrized already"),
        (lambda: add_gates(nn.Linear(2, 2), "unit"), "groups"),
        (lambda: add_gates(nn.Linear(2, 2), keep=1.0), "keep must be below 1"),
        (lambda: add_gates(nn.Linear(2, 2), pace=0.0), "pace"),
        (lambda: add_gates(nn.Sequential(nn.Linear(2, 2)), skip=["1"]), "skip must name"),
        (lambda: add_gates(nn.Conv1d(4, 4, 1, groups=2), "input"), "grouped convolution"),
        (lambda: L0()(nn.Linear(2, 2), torch.randn(3, 2)), "call sparsity.add_gates"),
        (lambda: prune(nn.Linear(2, 2)), "must have gates"),
        (lambda: L0(-1.0), "weight"),
    ],
)
def test_mistakes_are_named(wrong, says):
    with pytest.raises(ValueError, match=says):
        wrong()


def test_skipped_layers_have_none():
    model = add_gates(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)), skip=["1"])
    assert len(gates_of(model)) == 1 and type(model[1]) is nn.Linear
    assert "groups='weight'" in repr(model) and isinstance(gates_of(model)[0], Gates)
