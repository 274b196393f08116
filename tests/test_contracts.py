"""What every method promises, over the table of contracts."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn

from tests import networks
from tests.contracts import CONTRACTS, SEED, SHAPES, call
from unshaken import Regularizer
from unshaken.perturbations import Movement

REGULARIZERS = [name for name in CONTRACTS if name not in ("entropy", "balance")]
MOVEMENTS = [
    name
    for name in REGULARIZERS
    if isinstance(CONTRACTS[name].make(SHAPES["image"]).perturbation, Movement)
]


@pytest.fixture(params=CONTRACTS)
def contract(request):
    return CONTRACTS[request.param]


def setting(contract, kind=None, dtype=torch.float64, count=4):
    """The method, a smooth network and a batch for the first kind of input it is defined for."""
    shape = SHAPES[kind or contract.on[0]]
    model = (
        networks.mlp(shape) if len(shape) == 1 else networks.convolutional(shape[0], len(shape) - 1)
    )
    x, y = networks.batch(shape, count, dtype=dtype)
    return contract.make(shape).to(dtype), model.to(dtype), x, y


def test_the_gradient_reaches_every_parameter(contract):
    """Of the model and of the adversary. The network has no bias that batch norm would cancel."""
    term, model, x, y = setting(contract)
    call(term, model, x, y).backward()
    for part in (model, term):
        for name, p in part.named_parameters():
            assert p.grad is not None and bool(p.grad.any()), name
            assert bool(torch.isfinite(p.grad).all()), name


@pytest.mark.parametrize("kind", SHAPES)
def test_every_kind_of_input_in_single_and_double_precision(contract, kind):
    if kind not in contract.on:
        term, model, x, y = setting(contract)
        model = networks.mlp(SHAPES[kind]).double()
        x, y = networks.batch(SHAPES[kind])
        with pytest.raises(ValueError, match=r"spatial axes|spatial axis"):
            call(term, model, x, y)
        return
    values = []
    for dtype in (torch.float64, torch.float32):
        torch.manual_seed(0)
        term, model, x, y = setting(contract, kind, torch.float64)
        term, model, x = term.to(dtype), model.to(dtype), x.to(dtype)
        value = call(term, model, x, y)
        assert value.shape == () and value.dtype == dtype
        assert bool(torch.isfinite(value)) and float(value.detach()) >= 0
        values.append(float(value.detach()))
    assert values[0] > 0
    if not contract.draws:
        assert values[1] == pytest.approx(values[0], rel=1e-4)


def test_the_weight_is_a_factor(contract):
    term, model, x, y = setting(contract)
    value = call(term, model, x, y)
    term.weight *= 7
    torch.testing.assert_close(call(term, model, x, y), 7 * value)
    term.weight = 0.0
    assert float(call(term, model, x, y).detach()) == 0.0


def test_repr_names_the_method_and_its_settings(contract):
    text = repr(setting(contract)[0])
    for setting_ in contract.settings:
        assert setting_ in text, text


def test_state_survives_saving(contract):
    term, model, x, y = setting(contract)
    value = call(term, model, x, y)
    other, *_ = setting(contract)
    file = io.BytesIO()
    torch.save(term.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(call(other, model, x, y), value)


def test_copies_are_whole(contract):
    """deepcopy, pickle and torch.save of a term that has been used give the same numbers."""
    term, model, x, y = setting(contract)
    value = call(term, model, x, y)
    file = io.BytesIO()
    torch.save(term, file)
    file.seek(0)
    copies = [
        copy.deepcopy(term),
        pickle.loads(pickle.dumps(term)),
        torch.load(file, weights_only=False),
    ]
    for other in copies:
        assert torch.equal(call(other, model, x, y), value)
        assert repr(other) == repr(term)
        ours = {p.data_ptr() for p in term.parameters()}
        assert ours.isdisjoint(p.data_ptr() for p in other.parameters())


class Scaled(nn.Module):
    def __init__(self, model, factor):
        super().__init__()
        self.model = model
        self.factor = factor

    def forward(self, x):
        return self.factor * self.model(x)


@pytest.mark.parametrize("factor", [1e-3, 30.0, 1e3])
def test_confident_predictions_in_single_precision(contract, factor):
    term, model, x, y = setting(contract, dtype=torch.float32)
    value = call(term, Scaled(model, factor), x, y)
    value.backward()
    assert bool(torch.isfinite(value))
    for p in [*model.parameters(), *term.parameters()]:
        assert p.grad is None or bool(torch.isfinite(p.grad).all())


def test_labels_that_are_certain_already(contract):
    """Cross-entropy gradients of exactly 0 in float32 are no direction, and no NaN."""
    term, model, x, _ = setting(contract, dtype=torch.float32)
    sure = Scaled(model, 1e4)
    value = call(term, sure, x, sure(x).argmax(1))
    value.backward()
    assert bool(torch.isfinite(value))
    assert all(p.grad is None or bool(torch.isfinite(p.grad).all()) for p in model.parameters())


@pytest.mark.parametrize("level", [0.0, 0.7])
def test_constant_inputs(contract, level):
    term, model, x, y = setting(contract, dtype=torch.float32)
    value = call(term, model, torch.full_like(x, level), y)
    value.backward()
    assert bool(torch.isfinite(value))
    assert all(p.grad is None or bool(torch.isfinite(p.grad).all()) for p in model.parameters())
    if contract.still:
        assert float(value.detach()) < 1e-6


def test_a_batch_of_one_in_eval_mode(contract):
    shape = SHAPES[contract.on[0]]
    term, _, x, y = setting(contract)
    model = networks.normalized(shape, dropout=0.5).double()
    model(x)
    model.eval()
    value = call(term, model, x[:1], y[:1])
    value.backward()
    assert bool(torch.isfinite(value))


def test_bfloat16_autocast_is_close(contract):
    torch.manual_seed(2)
    term, model, x, y = setting(contract, dtype=torch.float32, count=8)
    model = Scaled(model, 20.0)
    expected = call(term, model, x, y)
    with torch.autocast("cpu", torch.bfloat16):
        value = call(term, model, x, y)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, expected, rtol=0.05, atol=5e-4)
    slopes = [
        torch.cat([g.flatten() for g in networks.gradients(v, model)]) for v in (value, expected)
    ]
    assert float(networks.cosine(slopes[0][None], slopes[1][None])) > 0.95


def test_channels_last_inputs(contract):
    if "image" not in contract.on:
        return
    term, model, x, y = setting(contract, "image")
    expected = call(term, model, x, y)
    found = call(term, model, x.to(memory_format=torch.channels_last), y)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


def test_strided_and_expanded_inputs(contract):
    term, model, x, y = setting(contract)
    doubled = x.repeat_interleave(2, -1)[..., ::2]
    assert not doubled.is_contiguous()
    torch.testing.assert_close(
        call(term, model, doubled, y), call(term, model, x, y), rtol=1e-6, atol=0
    )
    same = x[:1].expand(4, *[-1] * (x.dim() - 1))
    assert bool(torch.isfinite(call(term, model, same, y)))


def test_a_call_without_gradients(contract):
    term, model, x, y = setting(contract)
    expected = call(term, model, x, y)
    with torch.no_grad():
        value = call(term, model, x, y)
    assert not value.requires_grad
    torch.testing.assert_close(value, expected.detach(), rtol=1e-12, atol=1e-15)


def test_inference_mode_is_refused_with_the_way_out(contract):
    term, model, x, y = setting(contract)
    with torch.inference_mode(), pytest.raises(RuntimeError, match=r"torch\.no_grad\(\) is fine"):
        call(term, model, x, y)


def test_logits_of_the_caller_serve_as_the_clean_pass(contract):
    term, model, x, y = setting(contract)
    expected = call(term, model, x, y)
    found = call(term, model, x, y, logits=model(x))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", REGULARIZERS)
def test_worst_is_what_the_call_uses(name):
    contract = CONTRACTS[name]
    term, model, x, y = setting(contract)
    assert isinstance(term, Regularizer)
    value = call(term, model, x, y)
    after = torch.rand(1)
    torch.manual_seed(SEED)
    worst = term.worst(model, x, y if term.labeled else None, index=torch.arange(4))
    assert torch.equal(torch.rand(1), after)
    assert worst.value.shape == (4,) and not worst.value.requires_grad
    torch.testing.assert_close(term.weight * worst.value.mean(), value.detach())
    assert worst.parameters.shape == term.perturbation.shape(x)
    if not worst.infinitesimal:
        assert worst.perturbed.shape == x.shape
        with torch.no_grad():
            target = term.divergence.target(model(x), y if term.labeled else None)
            again = term.divergence(model(worst.perturbed), target)
        torch.testing.assert_close(again, worst.value)


@pytest.mark.parametrize("name", MOVEMENTS)
def test_the_worst_field_is_the_basis_weighted_by_its_coefficients(name):
    contract = CONTRACTS[name]
    term, model, x, y = setting(contract)
    worst = term.worst(model, x, y if term.labeled else None, index=torch.arange(len(x)))
    basis = torch.cat([field.basis(x.shape[2:]) for field in term.perturbation.fields])
    expected = torch.einsum("nk,k...->n...", worst.coefficients, basis)
    torch.testing.assert_close(worst.displacement, expected)
    if name != "vmt-all":
        rms = worst.displacement.square().sum(1).flatten(1).mean(1).sqrt()
        torch.testing.assert_close(rms, torch.ones_like(rms))


def test_draws_are_declared(contract):
    """A method that says it draws nothing leaves the random state; one that says so moves it."""
    term, model, x, y = setting(contract)
    torch.manual_seed(SEED)
    before = torch.get_rng_state()
    call(term, model, x, y)
    assert torch.equal(torch.get_rng_state(), before) is not contract.draws
