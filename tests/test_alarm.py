"""A term that does nothing is reported once, by name; one that works never; numbers stay."""

import warnings

import pytest
import torch
from torch import nn

from tests import networks
from tests.contracts import CONTRACTS, SHAPES
from unshaken import (
    AT,
    VAT,
    VMT,
    XVAT,
    AlarmWarning,
    ClassBalance,
    EntropyMinimization,
    Objective,
    Random,
    fields,
    masks,
)
from unshaken.perturbations import Additive

SHAPE = SHAPES["image"]


def train(objective, calls, count=8, learn=True, epochs=1, shape=SHAPE, **options):
    """Train for some calls; the warnings that came, as sentences."""
    own = [p for p in objective.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(own, lr=0.05) if own and learn else None
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        for _ in range(epochs):
            for _ in range(calls):
                x, y = networks.batch(shape, count, dtype=torch.float32)
                loss = objective(x, y, **options)
                if loss.requires_grad:
                    loss.backward()
                if optimizer is not None:
                    optimizer.step()
                    optimizer.zero_grad()
            objective.end_epoch()
    return [str(w.message) for w in found if issubclass(w.category, AlarmWarning)]


class Detached(nn.Module):
    """Its outputs do not reach its parameters any more."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        with torch.no_grad():
            return self.model(x)


SILENT = {
    "a detached model": (lambda net: Detached(net), lambda: Random(Additive(2), 1.0), "random"),
    "a frozen model": (lambda net: net.requires_grad_(False), lambda: VAT(1.0), "vat"),
    "a frozen model, at": (lambda net: net.requires_grad_(False), lambda: AT(1.0), "at"),
    "a detached model, masks": (Detached, lambda: XVAT(masks.Generator(2)), "xvat"),
    "a detached model, entropy": (Detached, EntropyMinimization, "entropy"),
}


@pytest.mark.parametrize("name", SILENT)
def test_a_term_without_gradient_is_reported_once_by_name(name):
    change, make, term = SILENT[name]
    objective = Objective(change(networks.convolutional(2, 2)), make())
    found = [w for w in train(objective, 40, learn=False, epochs=2) if "does nothing" in w]
    assert len(found) == 1
    assert f"The term '{term}' does nothing" in found[0]
    assert "radius and weight" in found[0]


def test_it_takes_several_calls():
    objective = Objective(Detached(networks.convolutional(2, 2)), EntropyMinimization())
    assert train(objective, 4, learn=False) == []
    assert len(train(objective, 1, learn=False)) == 1


@pytest.mark.parametrize("name", [n for n, c in CONTRACTS.items() if "image" in c.on])
def test_a_term_that_works_is_never_called_silent(name):
    term = CONTRACTS[name].make(SHAPE)
    objective = Objective(networks.convolutional(2, 2), term)
    index = torch.arange(8)
    found = train(objective, 6, index=index, labeled_index=index)
    assert not [w for w in found if "does nothing" in w]


@pytest.mark.parametrize("make", [VAT, AT], ids=["vat", "at"])
def test_no_radius_is_no_better_than_random(make):
    objective = Objective(networks.convolutional(2, 2), make(0.0))
    found = train(objective, 80, epochs=2)
    assert len([w for w in found if f"'{make.__name__.lower()}'" in w]) == 1


def test_a_good_adversary_is_never_reported():
    """VAT, AT and movements on a network in training, over several epochs."""
    shape = (6,)
    for term in (VAT(0.5), AT(0.5)):
        objective = Objective(networks.mlp(shape), term)
        assert train(objective, 60, count=32, epochs=3, shape=shape) == []
    objective = Objective(networks.convolutional(2, 2), VMT(fields.Shift()))
    assert train(objective, 60, epochs=2) == []


def test_a_generator_that_never_learns_is_reported():
    """Its masks are its rival's, shuffled: on random data no better."""
    objective = Objective(networks.convolutional(2, 2), XVAT(masks.Generator(2)))
    for p in objective.regularizers.parameters():
        p.requires_grad_(False)
    found = train(objective, 80, count=32, epochs=3)
    assert len(found) == 1
    assert "The adversary of 'xvat' did no better than a random perturbation" in found[0]
    assert "±" in found[0] and "learning rate" in found[0]


def test_the_control_is_not_measured_against_itself():
    objective = Objective(networks.convolutional(2, 2), Random(Additive(2), 0.1))
    assert train(objective, 60, epochs=2) == []


@pytest.mark.parametrize(
    "names", [("at-l2",), ("vat-difference", "xvat-generator"), ("mvat", "vmt-all")]
)
def test_numbers_are_the_same_with_and_without(names):
    """Losses, weights, statistics and random numbers, bit by bit, through probes and epochs."""
    results = []
    for alarm in (True, False):
        torch.manual_seed(0)
        model = networks.normalized(SHAPE, dropout=0.3)
        terms = [CONTRACTS[name].make(SHAPE) for name in names]
        objective = Objective(model, *terms, alarm=alarm)
        optimizer = torch.optim.SGD(objective.parameters(), lr=0.05)
        losses = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AlarmWarning)
            for call in range(110):
                x, y = networks.batch(SHAPE, 8, dtype=torch.float32)
                loss = objective(x, y)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                losses.append(loss.detach())
                if call % 20 == 19:
                    objective.end_epoch()
        results.append(
            [torch.stack(losses), *objective.state_dict().values(), torch.get_rng_state()]
        )
    for ours, theirs in zip(*results, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("make", [EntropyMinimization, ClassBalance])
def test_a_weight_of_zero_is_told_from_the_gradient_of_the_loss(make):
    """They share the clean outputs; the term's own gradient is what counts."""
    found = train(Objective(networks.convolutional(2, 2), make(0.0)), 10)
    assert len([w for w in found if "does nothing" in w]) == 1


def test_it_can_be_turned_off():
    objective = Objective(
        Detached(networks.convolutional(2, 2)), EntropyMinimization(), alarm=False
    )
    assert train(objective, 20, learn=False) == []


def test_it_sleeps_outside_training():
    objective = Objective(Detached(networks.convolutional(2, 2)), EntropyMinimization()).eval()
    assert train(objective, 20, learn=False) == []
    objective.train()
    with torch.no_grad():
        assert train(objective, 20, learn=False) == []


def test_every_term_is_watched_by_itself():
    objective = Objective(
        Detached(networks.convolutional(2, 2)), EntropyMinimization(), EntropyMinimization(name="b")
    )
    found = train(objective, 10, learn=False)
    assert len(found) == 2
    assert "'entropy'" in found[0] and "'b'" in found[1]


def test_vmt_of_a_frozen_model_is_reported():
    model = networks.convolutional(2, 2).requires_grad_(False)
    found = train(Objective(model, VMT(fields.Shift())), 40, learn=False)
    assert len([w for w in found if "The term 'vmt' does nothing" in w]) == 1


@pytest.mark.parametrize("make", [AT, VAT], ids=["at", "vat"])
def test_probes_move_no_statistics_whatever_the_policy(make):
    """The numbers with an alarm are those without it, under batch_norm="update" too."""
    results = []
    for alarm in (True, False):
        torch.manual_seed(0)
        model = networks.normalized((6,))
        objective = Objective(model, make(0.3, batch_norm="update"), alarm=alarm)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AlarmWarning)
            for _ in range(20):
                objective(*networks.batch((6,), dtype=torch.float32)).backward()
        results.append(torch.cat([b.flatten().float() for b in model.buffers()]))
    assert torch.equal(*results)


def test_what_the_probes_reached_is_the_mean_over_them_and_survives_a_checkpoint():
    objective = Objective(networks.mlp((6,)), AT(0.5))
    train(objective, 20, shape=(6,))
    alarm = objective.alarm
    first = alarm.reached["at"]
    assert first.adversary > first.random and first.examples == 2 * 8
    other = type(alarm)()
    other.load_state_dict(alarm.state_dict())
    assert other.reached == alarm.reached
    other.note("at", torch.full((16,), 3.0), torch.full((16,), 1.0))
    assert other.reached["at"].adversary == pytest.approx((first.adversary + 3) / 2)
    assert other.reached["at"].random == pytest.approx((first.random + 1) / 2)
