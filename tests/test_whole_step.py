"""Steps that are compiled as a whole: the same numbers, and what cannot be runs as it is."""

import copy
import pickle
from contextvars import ContextVar

import pytest
import torch
from torch import nn

from tests import networks
from tests.contracts import CONTRACTS, EVERYWHERE, SEED, SHAPES
from unshaken import (
    AT,
    VAT,
    VMT,
    XVAT,
    ClassBalance,
    EntropyMinimization,
    Objective,
    draws,
    fields,
    masks,
)
from unshaken.whole_step import WholeStepWarning

SIGNAL = SHAPES["signal"]
FAST = {"backend": "aot_eager"}
"""Traces and differentiates as the default, and generates no code."""


def pair(model, *terms, **options):
    """An objective as it is and one like it whose steps are compiled."""
    plain = Objective(model, *terms, alarm=False, **options)
    compiled = copy.deepcopy(plain)
    compiled.compile(**FAST)
    return plain, compiled


def run(objective, *args, **kwargs):
    """One step from a fixed random state: all that it may give or move."""
    torch.manual_seed(SEED)
    objective.zero_grad()
    loss = objective(*args, **kwargs)
    loss.backward()
    return {
        "loss": loss.detach(),
        **{f"report {name}": value for name, value in objective.report.items()},
        **{f"gradient {name}": p.grad for name, p in objective.named_parameters()},
        **{f"state {name}": value for name, value in objective.state_dict().items()},
        "drawn after it": torch.rand(3),
    }


def assert_same(plain, compiled, *args, tolerance=1e-9, **kwargs):
    expected, found = run(plain, *args, **kwargs), run(compiled, *args, **kwargs)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if value is None:
            assert found[name] is None, name
            continue
        scale = float(value.abs().max()) if value.numel() else 0.0
        torch.testing.assert_close(
            found[name], value, rtol=tolerance, atol=tolerance * max(scale, 1e-3), msg=name
        )


@pytest.fixture
def signal():
    return networks.batch(SIGNAL)


@pytest.mark.parametrize("name", [n for n, c in CONTRACTS.items() if c.on == EVERYWHERE])
def test_every_method_compiles(name, signal):
    x, y = signal
    term = CONTRACTS[name].make(SIGNAL)
    plain, compiled = pair(networks.normalized(SIGNAL).double(), term.double())
    # Searches by finite differences carry the rounding of the outputs into the direction.
    tolerance = 1e-5 if term.needs == "linearization" else 1e-9
    for _ in range(2):
        assert_same(plain, compiled, x, y, index=torch.arange(len(x)), tolerance=tolerance)


@pytest.mark.parametrize("name", ["vmt-shift", "vmt-all", "mat", "mvat"])
def test_movements_of_images_compile(name):
    shape = SHAPES["image"]
    x, y = networks.batch(shape)
    term = CONTRACTS[name].make(shape)
    plain, compiled = pair(networks.convolutional(2, 2).double(), term)
    assert_same(plain, compiled, x, y, tolerance=1e-6)


def test_several_terms_and_an_unlabeled_batch(signal):
    x, y = signal
    u = networks.batch(SIGNAL, 5)[0]
    terms = (VAT(0.5, direction="exact"), VMT(fields.Shift()), AT(0.3), EntropyMinimization())
    plain, compiled = pair(networks.normalized(SIGNAL).double(), *terms, ClassBalance())
    assert_same(plain, compiled, x, y, unlabeled=u)
    assert_same(plain, compiled, x, y)


def test_the_loss_alone_compiles(signal):
    plain, compiled = pair(networks.normalized(SIGNAL).double())
    assert_same(plain, compiled, *signal)


def test_draws_are_those_of_the_training_loop(signal):
    plain, compiled = pair(networks.mlp(SIGNAL).double(), VAT(0.5, direction="exact"))
    found = []
    for objective in (plain, compiled):
        with draws.shared(torch.Generator().manual_seed(3)):
            found.append(run(objective, *signal))
    torch.testing.assert_close(found[1]["loss"], found[0]["loss"])


def test_terms_take_turns(signal):
    plain, compiled = pair(networks.mlp(SIGNAL).double(), AT(0.5, every=2))
    for _ in range(4):
        assert_same(plain, compiled, *signal)


def test_a_changed_weight_is_seen(signal):
    plain, compiled = pair(networks.mlp(SIGNAL).double(), AT(0.5))
    for weight in (1.0, 0.25):
        plain.regularizers[0].weight = compiled.regularizers[0].weight = weight
        assert_same(plain, compiled, *signal)


def test_the_loss_scales_and_accumulates(signal):
    plain, compiled = pair(networks.mlp(SIGNAL).double(), AT(0.5))
    for objective in (plain, compiled):
        for factor in (1.0, 8.0):
            (factor * objective(*signal)).backward()
    for a, b in zip(plain.parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(b.grad, a.grad)


def test_evaluation_runs_as_it_is(signal):
    plain, compiled = pair(networks.normalized(SIGNAL).double(), AT(0.5))
    plain.eval(), compiled.eval()
    assert_same(plain, compiled, *signal, tolerance=0)


def test_dropout_runs_as_it_is(signal):
    plain, compiled = pair(networks.normalized(SIGNAL, dropout=0.5).double(), AT(0.5))
    with pytest.warns(WholeStepWarning, match="the network draws random numbers, as dropout"):
        assert_same(plain, compiled, *signal, tolerance=0)
    assert_same(plain, compiled, *signal, tolerance=0)  # and says so once


_SCALE = ContextVar("scale", default=2.0)


class Untraceable(nn.Module):
    def forward(self, x):
        return x * _SCALE.get()


def test_what_cannot_be_traced_runs_as_it_is(signal):
    model = nn.Sequential(networks.mlp(SIGNAL).double(), Untraceable())
    plain, compiled = pair(model, AT(0.5))
    with pytest.warns(WholeStepWarning, match="compile: steps run as they are, because"):
        assert_same(plain, compiled, *signal, tolerance=1e-12)


def test_an_encoder_runs_as_it_is(signal):
    x, y = signal
    _, compiled = pair(networks.mlp(SIGNAL).double(), AT(0.5))
    x = x.clone().requires_grad_()
    with pytest.warns(WholeStepWarning, match="the gradient in x is wanted, too"):
        compiled(x, y).backward()
    assert x.grad is not None


def test_a_parameter_outside_of_the_objective_runs_as_it_is(signal):
    temperature = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)

    def criterion(outputs, labels):
        return nn.functional.cross_entropy(outputs / temperature, labels, reduction="none")

    plain, compiled = pair(networks.mlp(SIGNAL).double(), AT(0.5), criterion=criterion)
    run(plain, *signal)
    expected, temperature.grad = temperature.grad, None
    with pytest.warns(WholeStepWarning, match="tensors that are no parameters of the objective"):
        run(compiled, *signal)
    torch.testing.assert_close(temperature.grad, expected)


def test_entries_without_labels_compile(signal):
    x, y = signal
    loss = nn.CrossEntropyLoss(torch.tensor([0.5, 2.0, 1.0]), ignore_index=7).double()
    terms = AT(0.5, divergence=loss), VMT(fields.Shift(), divergence=loss)
    plain, compiled = pair(networks.mlp(SIGNAL).double(), *terms, criterion=loss)
    for ignored in (0, 2):
        y = torch.where(torch.arange(len(y)) < ignored, 7, y)
        assert_same(plain, compiled, x, y)
    with pytest.raises(ValueError, match=r"y must lie in 0\.\.2, got 8"):
        compiled(x, torch.full_like(y, 8))


def test_wrong_labels_are_told(signal):
    x, y = signal
    _, compiled = pair(networks.mlp(SIGNAL).double(), AT(0.5))
    run(compiled, x, y)
    with pytest.raises(ValueError, match=r"y must lie in 0\.\.2"):
        compiled(x, torch.full_like(y, 7))
    with pytest.raises(ValueError, match="x must hold finite values"):
        compiled(x * torch.nan, y)


def test_an_index_outside_the_table_is_told(signal):
    x, y = signal
    _, compiled = pair(networks.mlp(SIGNAL).double(), XVAT(masks.Table(8, SIGNAL[1:])).double())
    run(compiled, x, y, index=torch.arange(4, dtype=torch.int32))
    with pytest.raises(ValueError, match=r"index must lie in 0\.\.7, got 9"):
        compiled(x, y, index=torch.arange(6, 10))


def test_under_autocast_it_runs_as_it_is(signal):
    plain, compiled = pair(networks.mlp(SIGNAL), AT(0.5))
    x, y = signal
    with torch.autocast("cpu", torch.bfloat16):
        assert_same(plain, compiled, x.float(), y, tolerance=0)


def test_the_alarm_still_looks(signal):
    objective = Objective(networks.mlp(SIGNAL).double(), AT(0.5))
    objective.compile(**FAST)
    for _ in range(16):
        run(objective, *signal)
    state = objective.alarm.state_dict()
    assert state["calls"] == 16
    assert state["terms"]["at"]["alive"]
    assert len(state["terms"]["at"]["gains"]) == 2


def test_copies_compile_their_own(signal):
    _, compiled = pair(networks.mlp(SIGNAL).double(), AT(0.5))
    run(compiled, *signal)
    for other in (copy.deepcopy(compiled), pickle.loads(pickle.dumps(compiled))):
        assert_same(compiled, other, *signal)


def test_the_generated_code_gives_the_same(signal):
    """With the default backend, once: a compiler is needed."""
    x, y = signal
    plain, compiled = pair(networks.normalized(SIGNAL).double(), VMT(fields.Shift()))
    compiled.compile()
    assert_same(plain, compiled, x, y)
