"""Methods that others are compared with: their formulas, their state, and what they move."""

from __future__ import annotations

import copy
from itertools import combinations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests import networks
from tests.contracts import SHAPES
from tests.methods.players import assert_resumed_is_the_same
from unshaken import (
    MeanTeacher,
    Mixup,
    Objective,
    PiModel,
    StochasticTransformations,
    TangentPropagation,
    TemporalEnsembling,
    fields,
)
from unshaken.methods import catalog
from unshaken.perturbations import Movement

SHAPE = SHAPES["image"]

TERMS = {
    "pi-model": lambda model: PiModel(2.0, noise=0.3),
    "mean-teacher": lambda model: MeanTeacher(model, decay=0.9, weight=2.0, noise=0.3),
    "temporal-ensembling": lambda model: TemporalEnsembling(8, 3, weight=2.0, noise=0.3),
    "stochastic": lambda model: StochasticTransformations(3, 0.2, noise=0.3),
    "mixup": lambda model: Mixup(0.7),
    "tangent-prop": lambda model: TangentPropagation(fields.Affine()),
}


def model():
    torch.manual_seed(2)
    return networks.convolutional(2, 2).double()


def data():
    return (*networks.batch(SHAPE), torch.arange(4))


def call(term, network, x, y, index):
    torch.manual_seed(11)
    return term(network, x, y if term.labeled else None, index=index)


def softmax(network, x):
    return network(x).softmax(1)


@pytest.mark.parametrize("name", TERMS)
def test_it_moves_every_parameter_of_the_model_and_no_other(name):
    network, (x, y, index) = model(), data()
    term = TERMS[name](network).double()
    with torch.no_grad():
        for p in network.parameters():
            p += 0.01 * torch.randn_like(p)  # a teacher that is its student says nothing
    call(term, network, x, y, index)  # what is remembered needs a visit first
    with torch.no_grad():
        for p in network.parameters():
            p += 0.01 * torch.randn_like(p)
    value = call(term, network, x, y, index)
    value.backward()
    for key, p in network.named_parameters():
        if name == "tangent-prop" and key == "6.bias":
            assert p.grad is None or not p.grad.any()  # a constant has no derivative
        else:
            assert p.grad is not None and p.grad.any(), key
    assert all(p.grad is None for p in term.parameters())
    assert float(value.detach()) > 0


@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize("take_gradients", [False, True])
def test_an_objective_adds_it_up(name, take_gradients):
    network, (x, y, index) = model(), data()
    term = TERMS[name](network).double()
    twin = copy.deepcopy(term)
    torch.manual_seed(11)
    objective = Objective(network, term, alarm=False, take_gradients=take_gradients)
    loss = objective(x, y, index=index)
    loss.backward()
    found = [p.grad.clone() for p in network.parameters()]
    network.zero_grad()
    expected = call(twin, network, x, y, index)
    if not term.replaces:
        expected = expected + F.cross_entropy(network(x), y)
    expected.backward()
    torch.testing.assert_close(loss.detach(), expected.detach())
    for a, p in zip(found, network.parameters(), strict=True):
        torch.testing.assert_close(a, p.grad, rtol=1e-9, atol=1e-12)


def test_pi_model_is_its_formula():
    network, (x, y, index) = model(), data()
    value = call(PiModel(2.0, noise=0.3), network, x, y, index)
    torch.manual_seed(11)
    q = softmax(network, x + 0.3 * torch.randn_like(x))
    torch.testing.assert_close(value, 2 * (softmax(network, x) - q).square().mean())


def test_dropout_is_drawn_anew_in_the_second_pass():
    x = networks.batch((6,))[0]
    network = networks.normalized((6,), dropout=0.5).double()
    term = PiModel(noise=0.0)
    assert float(term(network, x).detach()) > 0
    assert float(term(network.eval(), x).detach()) == 0


def test_the_teacher_is_an_average_by_hand():
    network, (x, y, index) = model(), data()
    term = MeanTeacher(network, decay=0.6, noise=0.0).double()
    first = [p.detach().clone() for p in network.parameters()]
    average = first
    for t in range(1, 5):
        with torch.no_grad():
            for p in network.parameters():
                p += 0.1 * torch.randn_like(p)
        alpha = min(0.6, 1 - 1 / (t + 1))
        average = [
            alpha * a + (1 - alpha) * p.detach()
            for a, p in zip(average, network.parameters(), strict=True)
        ]
        value = call(term, network, x, y, index)
    for a, p in zip(average, term.teacher.parameters(), strict=True):
        torch.testing.assert_close(a, p.detach())
    q = softmax(term.teacher, x).detach()
    torch.testing.assert_close(value, (softmax(network, x) - q).square().mean())
    before = copy.deepcopy(term.state_dict())
    term.eval()(network, x)
    assert all(
        torch.equal(a, b) for a, b in zip(before.values(), term.state_dict().values(), strict=True)
    )
    with pytest.raises(ValueError, match="the one that the teacher was copied from"):
        term.train()(nn.Sequential(networks.mlp(SHAPE).double()), x)


def test_student_and_teacher_see_noise_of_their_own():
    network, (x, y, index) = model(), data()
    term = MeanTeacher(network, weight=2.0, noise=0.3).double()
    value = call(term, network, x, y, index)
    torch.manual_seed(11)
    p, q = (softmax(network, x + 0.3 * torch.randn_like(x)) for _ in range(2))
    torch.testing.assert_close(value, 2 * (p - q.detach()).square().mean())
    expected = torch.autograd.grad(2 * (p - q.detach()).square().mean(), network.parameters())
    value.backward()
    for p, g in zip(network.parameters(), expected, strict=True):
        torch.testing.assert_close(p.grad, g)


def test_earlier_predictions_were_made_under_noise():
    network, (x, y, index) = model(), data()
    term = TemporalEnsembling(4, 3, decay=0.5, noise=0.3).double()
    call(term, network, x, y, index)
    torch.manual_seed(11)
    z = softmax(network, x + 0.3 * torch.randn_like(x)).detach()
    torch.testing.assert_close(term.table, 0.5 * z)
    torch.manual_seed(3)
    value = term(network, x, index=index)
    torch.manual_seed(3)
    p = softmax(network, x + 0.3 * torch.randn_like(x))
    torch.testing.assert_close(value, (p - z).square().mean())


def test_earlier_predictions_are_averaged_by_hand():
    network, (x, y, index) = model(), data()
    term = TemporalEnsembling(8, 3, decay=0.5, noise=0.0).double()
    index = torch.tensor([5, 1, 0, 7])
    assert float(call(term, network, x, y, index).detach()) == 0
    z = 0.5 * softmax(network, x).detach()
    for visits in (1, 2):
        with torch.no_grad():
            for p in network.parameters():
                p += 0.1 * torch.randn_like(p)
        p = softmax(network, x)
        expected = (p - z / (1 - 0.5**visits)).square().mean()
        torch.testing.assert_close(call(term, network, x, y, index), expected)
        z = 0.5 * z + 0.5 * p.detach()
    torch.testing.assert_close(term.table[index], z)
    assert term.visits.tolist() == [3, 3, 0, 0, 0, 3, 0, 3]
    term(network, x, index=torch.tensor([2, 2, 2, 3]))
    assert term.visits[2] == 1
    torch.testing.assert_close(term.table[2], 0.5 * softmax(network, x)[:3].mean(0).detach())
    with pytest.raises(ValueError, match="index is needed"):
        term(network, x)


def test_the_alarm_waits_until_every_example_was_seen():
    network, (x, y, _) = model(), data()
    objective = Objective(network, TemporalEnsembling(32, 3, decay=0.5).double())
    for k in range(8):
        objective(x, y, index=torch.arange(4 * k, 4 * k + 4)).backward()
    assert objective.alarm.listens("temporal-ensembling")
    objective.end_epoch()
    with torch.no_grad():
        for p in network.parameters():
            p += 0.1 * torch.randn_like(p)
    objective(x, y, index=torch.arange(4)).backward()
    assert not objective.alarm.listens("temporal-ensembling")  # it is alive


def test_agreement_and_exclusivity_are_their_formulas():
    network, (x, y, index) = model(), data()
    value = call(StochasticTransformations(3, 0.2, noise=0.3), network, x, y, index)
    torch.manual_seed(11)
    every = [softmax(network, x)]
    every += [softmax(network, x + 0.3 * torch.randn_like(x)) for _ in range(2)]
    apart = sum((a - b).square().sum(1) for a, b in combinations(every, 2))
    sure = torch.stack(
        [
            sum(
                p[:, c] * torch.stack([1 - p[:, d] for d in range(3) if d != c]).prod(0)
                for c in range(3)
            )
            for p in every
        ]
    ).mean(0)
    torch.testing.assert_close(value, (apart + 0.2 * (1 - sure)).mean())


def test_mixed_inputs_have_mixed_labels():
    network, (x, y, index) = model(), data()
    term = Mixup(1.0)
    value = call(term, network, x, y, index)
    torch.manual_seed(11)
    partner = torch.rand(4, dtype=torch.float64).argsort()
    share = torch.rand(1, 1, dtype=torch.float64).squeeze()  # Beta(1, 1) is uniform
    outputs = network(share * x + (1 - share) * x[partner])
    expected = share * F.cross_entropy(outputs, y) + (1 - share) * F.cross_entropy(
        outputs, y[partner]
    )
    torch.testing.assert_close(value, expected)
    with pytest.raises(ValueError, match="Mixup needs labels"):
        term(network, x)


def test_shares_of_mixup_are_of_the_beta_distribution():
    term = Mixup(0.4)
    torch.manual_seed(0)
    shares = torch.stack([term._share(torch.zeros(1, 2, dtype=torch.float64)) for _ in range(4000)])
    assert abs(float(shares.mean()) - 0.5) < 0.02
    assert abs(float(shares.var()) - 1 / (4 * (2 * 0.4 + 1))) < 0.01


def test_tangents_by_finite_differences():
    network, x = model(), data()[0]
    movement = Movement(fields.Affine())
    rank = movement.geometry(x).whitener.shape[1]
    every = []
    for k in range(rank):
        coordinates = torch.zeros(len(x), rank, dtype=torch.float64)
        coordinates[:, k] = 1
        t = movement.tangent(x, movement.from_unit(x, coordinates))
        step = (network(x + 1e-5 * t) - network(x - 1e-5 * t)) / 2e-5
        every.append(step.square().sum(1))
    expected = torch.stack(every).sum(0).mean()
    term = TangentPropagation(fields.Affine())
    torch.manual_seed(1)
    draws = torch.stack([term(network, x).detach() for _ in range(1500)])
    error = draws.std() / len(draws) ** 0.5
    assert abs(float(draws.mean() - expected.detach())) < 4 * float(error)


def test_a_ramp_rises_and_is_in_the_state():
    network, (x, y, index) = model(), data()
    plain, ramped = PiModel(1.0, 0.3), PiModel(1.0, 0.3, ramp=4)
    full = float(call(plain, network, x, y, index).detach())
    for t in range(6):
        if t == 2:
            other = PiModel(1.0, 0.3, ramp=4)
            other.load_state_dict(ramped.state_dict())
            ramped = other
        left = max(0.0, 1 - t / 4)
        expected = full * torch.tensor(-5 * left**2).double().exp()
        assert float(call(ramped, network, x, y, index).detach()) == pytest.approx(float(expected))
    assert float(call(ramped.eval(), network, x, y, index).detach()) == pytest.approx(full)
    assert "ramp=4" in repr(ramped)


@pytest.mark.parametrize("name", ["pi-model", "mean-teacher", "temporal-ensembling", "stochastic"])
def test_a_resumed_run_is_the_same_to_the_last_bit(name, tmp_path):
    def make(dataset):
        network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))
        shape = catalog.Shape(4, (), len(dataset.x_all), 2, network)
        settings = catalog.settings_for(name, {name: {"ramp": 12.0}})
        return Objective(network, *catalog.build(name, shape, settings), alarm=False)

    assert_resumed_is_the_same(tmp_path, make)


@pytest.mark.parametrize("name", ["pi-model", "mean-teacher", "temporal-ensembling", "stochastic"])
def test_whole_steps_compile(name):
    network, (x, y, index) = model(), data()
    plain = Objective(network, TERMS[name](network).double(), alarm=False)
    compiled = copy.deepcopy(plain)
    compiled.compile(backend="aot_eager")
    for _ in range(3):
        losses = []
        for objective in (plain, compiled):
            torch.manual_seed(5)
            losses.append(objective(x, y, index=index))
            losses[-1].backward()
        torch.testing.assert_close(losses[1].detach(), losses[0].detach())
    for a, b in zip(plain.buffers(), compiled.buffers(), strict=True):
        torch.testing.assert_close(a, b)
    for a, b in zip(plain.model.parameters(), compiled.model.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: PiModel(noise=-1.0), "noise must be a finite number >= 0"),
        (lambda: MeanTeacher(model(), decay=1.0), "decay must be in"),
        (lambda: TemporalEnsembling(0, 3), "examples must be an integer >= 1"),
        (lambda: StochasticTransformations(1), "passes must be an integer >= 2"),
        (lambda: Mixup(0.0), "alpha must be a finite number > 0"),
        (lambda: PiModel(ramp=-1), "ramp must be an integer >= 0"),
    ],
)
def test_mistakes(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


def test_a_teacher_of_a_compiled_network():
    model = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3))
    compiled = torch.compile(model, backend="eager")
    teacher = MeanTeacher(compiled)
    assert teacher(compiled, torch.randn(5, 6)).isfinite()
    assert [name for name, _ in teacher.teacher.named_parameters()] == [
        name for name, _ in model.named_parameters()
    ]
