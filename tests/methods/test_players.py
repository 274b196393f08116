"""What holds for every method with players, masks or rates of its own."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from tests.methods.players import NAMES, assert_resumed_is_the_same, data, model, terms
from unshaken import (
    CatGAN,
    ConcreteDropout,
    CoTraining,
    FeatureMatching,
    Objective,
    VAdD,
    add_concrete_dropout,
    models,
)
from unshaken.methods import catalog


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("take_gradients", [False, True])
def test_an_objective_moves_every_parameter(name, take_gradients):
    x, y, u = data()
    own, network = terms(name, model())
    objective = Objective(network, *own, alarm=False, take_gradients=take_gradients).double()
    torch.manual_seed(7)
    objective(x, y, unlabeled=u).backward()
    for key, p in objective.named_parameters():
        assert p.grad is not None and p.grad.any(), key
    given = {id(p) for group in objective.parameter_groups(lr=0.1) for p in group["params"]}
    assert given == {id(p) for p in objective.parameters()}


@pytest.mark.parametrize("name", NAMES)
def test_taken_gradients_are_those_of_the_plain_sum(name):
    found = []
    for take_gradients in (False, True):
        x, y, u = data()
        own, network = terms(name, model())
        objective = Objective(network, *own, alarm=False, take_gradients=take_gradients).double()
        torch.manual_seed(7)
        loss = objective(x, y, unlabeled=u)
        loss.backward()
        found.append([loss.detach(), *(p.grad for p in objective.parameters())])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_a_loop_of_ones_own_draws_anew_in_every_step(name):
    x, y, u = data()
    own, network = terms(name, model())
    objective = Objective(network, *own, alarm=False).double()
    torch.manual_seed(7)
    objective(x, y, unlabeled=u)
    first = dict(objective.report)
    objective(x, y, unlabeled=u)
    # The cost of learned rates looks at no input; co-training searches from the same gradient.
    same = {"concrete-dropout", "co-training"}
    assert name in same or all(
        first[term.name] != objective.report[term.name] for term in objective.regularizers
    )


@pytest.mark.parametrize("name", [*NAMES, "fast-swa"])
def test_a_resumed_run_is_the_same_to_the_last_bit(name, tmp_path):
    settings = catalog.settings_for(name, {})

    def make(dataset):
        shape = catalog.Shape(4, (), len(dataset.x_all), 2)
        network = catalog.adapt(models.mlp([4, 8, 2]), shape, settings)
        own = catalog.build(name, replace(shape, network=network), settings)
        return Objective(network, *own, alarm=False)

    assert_resumed_is_the_same(tmp_path, make, **catalog.training_changes(settings))


@pytest.mark.parametrize("name", ["vadd", "co-training", "ladder"])
def test_copies_of_an_objective_keep_their_parts_together(name):
    x, y, u = data()
    own, network = terms(name, model())
    objective = Objective(network, *own, alarm=False).double()
    other = copy.deepcopy(objective)
    losses = []
    for each in (objective, other):
        torch.manual_seed(7)
        losses.append(each(x, y, unlabeled=u))
        losses[-1].backward()
    torch.testing.assert_close(losses[0], losses[1])
    for a, b in zip(objective.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)


@pytest.mark.parametrize(
    ("make", "error", "sentence"),
    [
        (lambda: VAdD(rate=1.0), ValueError, r"rate must be in \[0, 1\)"),
        (lambda: VAdD(divergence="js"), ValueError, "divergence must be one of"),
        (lambda: VAdD(flips=2.0), ValueError, "flips must be"),
        (lambda: CoTraining(3), TypeError, "other must be a torch.nn.Module"),
        (lambda: FeatureMatching("g"), TypeError, "generator must be a torch.nn.Module"),
        (lambda: CatGAN(nn.ReLU()), ValueError, "generator must begin with"),
        (lambda: ConcreteDropout(0), ValueError, "examples must be an integer >= 1"),
        (lambda: add_concrete_dropout(nn.ReLU()), ValueError, "model must hold a linear"),
        (
            lambda: add_concrete_dropout(add_concrete_dropout(model())),
            ValueError,
            "has learned dropout rates already",
        ),
        (lambda: ConcreteDropout(5)(model(), data()[2]), ValueError, "call add_concrete_dropout"),
        (
            lambda: CatGAN(nn.Linear(4, 2).double())(model(), data()[2]),
            ValueError,
            r"inputs of shape \(9, 6\), got \(9, 2\)",
        ),
    ],
)
def test_mistakes(make, error, sentence):
    with pytest.raises(error, match=sentence):
        make()
