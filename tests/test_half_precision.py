"""Networks, inputs and autocast in half precision: nothing small is lost, nothing becomes NaN."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from unshaken import AT, VAT, CatGAN, CoTraining, MeanTeacher, models
from unshaken.autograd import narrowed, normalize, safe_norm
from unshaken.methods.co_training import another


def network(scale: float = 1.0) -> nn.Sequential:
    torch.manual_seed(0)
    made = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))
    with torch.no_grad():
        made[2].weight *= scale
    return made


@pytest.mark.parametrize("term", [CoTraining, CatGAN])
def test_impossible_classes_count_nothing_in_float16(term):
    model, x = network(100.0).half(), torch.randn(8, 6).half()
    with torch.no_grad():
        model[2].bias[2] = -30
    made = term(another(model)) if term is CoTraining else term(_generator().half(), latent=4)
    value = made(model, x)
    value.backward()
    assert bool(value.isfinite())
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters())


def _generator() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6))


def test_two_networks_need_two_classes():
    model = nn.Linear(6, 1)
    with pytest.raises(ValueError, match="at least 2 classes"):
        CoTraining(another(model))(model, torch.randn(4, 6))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_teacher_follows_in_any_precision(dtype):
    """After so many calls it is where the exact average is."""
    model, decay, calls = network().to(dtype), 0.99, 300
    teacher = MeanTeacher(model, decay=decay)
    start = {name: p.detach().float().clone() for name, p in teacher.teacher.named_parameters()}
    with torch.no_grad():
        for p in model.parameters():
            p += 0.05
    share = 1.0
    for call in range(1, calls + 1):
        teacher(model, torch.randn(2, 6, dtype=dtype))
        share *= min(decay, 1 - 1 / (call + 1))
    for name, p in model.named_parameters():
        wanted = p.detach().float().lerp(start[name], share)
        found = teacher.teacher.get_parameter(name).float()
        torch.testing.assert_close(found, wanted.to(dtype).float(), rtol=1e-2, atol=1e-3)
    again = MeanTeacher(model, decay=decay)
    again.load_state_dict(teacher.state_dict())
    for one, other in zip(again.buffers(), teacher.buffers(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_norm_sums_more_than_half_precision_can(dtype):
    x = torch.ones(1, 70_000, dtype=dtype)
    assert float(safe_norm(x)) == pytest.approx(math.sqrt(70_000), rel=1e-2)
    assert normalize(x).dtype == safe_norm(x).dtype == dtype
    assert float(normalize(x).double().norm()) == pytest.approx(1, rel=1e-2)


def test_a_direction_keeps_its_way_into_a_narrow_type():
    rows = torch.tensor([[3e-9, -1.5e-9], [0.0, 0.0], [4e6, 1e6]])
    found = narrowed(rows, torch.float16)
    assert found.tolist() == [[1.0, -0.5], [0.0, 0.0], [1.0, 0.25]]
    assert narrowed(rows, torch.float32) is rows


@pytest.mark.parametrize("how", ["autocast", "network"])
@pytest.mark.parametrize(
    "term",
    [VAT(0.5), VAT(0.5, direction="exact"), AT(0.5), AT(0.5, math.inf)],
    ids=["vat", "vat, exact", "at-l2", "at-linf"],
)
def test_sure_predictions_in_float16_are_perturbed_in_full(term, how):
    """As many examples as in single precision, but for a few of a network that is in float16."""
    model, x = network(40.0), torch.randn(64, 6)
    y = model(x).argmax(1)
    wanted = _perturbed(term, model, x, y)
    with torch.autocast("cpu", torch.float16, enabled=how == "autocast"):
        if how == "network":
            model = model.half()
        found = _perturbed(term, model, x.half(), y)
    assert wanted > 30
    assert found >= (0.95 if how == "autocast" else 0.9) * wanted


def _perturbed(term, model, x, y) -> int:
    torch.manual_seed(1)
    worst = term.worst(model, x, y if term.labeled else None)
    moved = (worst.parameters.float().flatten(1) != 0).any(1)
    return int(moved.sum())


def test_models_in_float16_train_with_everything_shared():
    model = models.mlp([6, 16, 3]).half()
    x, y = torch.randn(8, 6).half(), torch.randint(3, (8,))
    for term in (VAT(0.5), AT(0.5)):
        value = term(model, x, y if term.labeled else None)
        value.backward()
        assert bool(value.isfinite())
