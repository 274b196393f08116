"""Runs trained as one give what each of them gives alone."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest
import torch

from tests.training.stacks import (
    CLASSES,
    METHODS,
    as_one,
    assert_alike,
    both,
    config,
    data,
    measure,
    objective,
)
from unshaken import AlarmWarning, Objective, Random, models, whole_step
from unshaken.data import Augmentation
from unshaken.methods import catalog
from unshaken.perturbations import Mask
from unshaken.stacking import stack_objectives
from unshaken.training import train
from unshaken.training.stacked import Member, train_stacked

ALONE = (
    "mean-teacher",
    "temporal-ensembling",
    "vadd",
    "co-training",
    "ladder",
    "gan-fm",
    "catgan",
    "concrete-dropout",
)
"""What they keep, learn or look at is of one network, or of one run's examples."""
TOGETHER = [method for method in METHODS if method not in ALONE]


def by_difference(method: str) -> bool:
    """Whether it takes a difference of outputs a small step away, which magnifies rounding."""
    return not {"vat", "mvat", "relative"}.isdisjoint(method.replace("+", "-").split("-"))


@pytest.mark.parametrize("method", ALONE)
def test_what_cannot_be_stacked(method):
    assert stack_objectives([objective(method, seed) for seed in (3, 4)]) is None


@pytest.mark.parametrize("method", TOGETHER)
def test_every_method_in_double_precision(method):
    # Adam divides a gradient that is all rounding by itself.
    optimizer = "sgd" if by_difference(method) else "adam"
    settings = {"precision": "64", "evaluate_every": 2, "optimizer": optimizer}
    alone, together = both(method, (3, 4, 11), **settings)
    assert_alike(alone, together, 1e-7 if by_difference(method) else 1e-12)


@pytest.mark.parametrize("method", TOGETHER)
def test_one_step_in_single_precision(method):
    """By plain descent, for the same reason."""
    alone, together = both(method, (3, 4), optimizer="sgd", steps=1)
    assert_alike(alone, together, 1e-4 if by_difference(method) else 2e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {"ema": 0.9},
        {"accumulate": 3},
        {"optimizer": "sgd", "weight_decay": 0.1, "decay_norms": False},
        {"optimizer": "adamw", "weight_decay": 0.1, "decay_adversaries": True},
        {"schedule": "linear:0.3", "warmup": 2},
        {"unlabeled_batch_size": 0},
        {"augment": Augmentation(shift=1, flip=True)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_every_setting(changes):
    alone, together = both("xvat+dropout", (0, 1), precision="64", steps=5, **changes)
    assert_alike(alone, together, 1e-12)


@pytest.mark.parametrize(
    "method",
    ["vat", "at-l2", "at-linf", "random", "random-movement", "mat", "mvat", "vmt-all", "balance"],
)
def test_runs_may_differ_in_weight_and_radius(method):
    """Also where one of them is nothing, and with the alarm's probes (from the eighth call on)."""
    sizes = [{"weight": 0.5}, {"weight": 2.0}, {"weight": 0.0}]
    if "radius" in catalog.CATALOG[method].settings:
        sizes = [{**each, "radius": r} for each, r in zip(sizes, (0.1, 0.3, 0.7), strict=True)]
    settings = config(4, precision="64", steps=9)
    alone, together = [], []
    for size in sizes:
        own = objective(method, 4, {method: size})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AlarmWarning)
            alone.append((own, train(own, *data(4), settings, evaluate=measure, device="cpu")))
    members = [
        Member(objective(method, 4, {method: size}), *data(4), settings, measure) for size in sizes
    ]
    for member, one in zip(members, train_stacked(members) or [], strict=True):
        assert one.result is not None
        together.append((member.objective, one.result))
    assert_alike(alone, together, 1e-6 if method in ("vat", "mvat") else 1e-11)


@pytest.fixture
def compiling(monkeypatch):
    """``compile=True`` traces and differentiates as the default, and generates no code."""
    whole = Objective.compile
    monkeypatch.setattr(Objective, "compile", lambda own: whole(own, backend="aot_eager"))
    monkeypatch.setattr("unshaken.training.compilation._has_compiler", lambda: True)
    counted = []
    hand_out = whole_step.hand_out
    monkeypatch.setattr(whole_step, "hand_out", lambda *a: counted.append(1) or hand_out(*a))
    return counted


@pytest.mark.parametrize(
    "method", ["baseline", "vat", "at-l2+balance", "vmt-all", "xat", "xvat-transductive", "mixup"]
)
def test_compiled_steps_of_a_stack(method, compiling):
    # Where they begin: until the eighth call the alarm looks at terms.
    settings = {"precision": "64", "steps": 12, "optimizer": "sgd"}
    apart = as_one(method, (3, 4, 11), **settings)
    assert not compiling
    together = as_one(method, (3, 4, 11), **settings, compile=True)
    assert compiling
    assert_alike(apart, together, 1e-7 if by_difference(method) else 1e-11)


def test_compiled_steps_of_runs_that_differ_in_weight_and_radius(compiling):
    settings = config(4, precision="64", steps=3)
    ends = []
    for compile_ in (False, True):
        members = [
            Member(
                objective("at-l2+vmt-shift", 4, {"at-l2": {"weight": weight, "radius": radius}}),
                *data(4),
                replace(settings, compile=compile_),
                measure,
            )
            for weight, radius in ((0.5, 0.1), (2.0, 0.3))
        ]
        for member in members:
            member.objective.alarm = None
        trained = train_stacked(members)
        ends.append([(m.objective, t.result) for m, t in zip(members, trained, strict=True)])
    assert_alike(*ends, 1e-11)


def test_sparse_tables_of_a_stack():
    changes = {"xvat-transductive": {"sparse": 1.0, "learning_rate": 5.0}}
    settings = [config(seed, precision="64", steps=5) for seed in (3, 8)]
    alone, members = [], []
    for given in settings:
        own = objective("xvat-transductive", given.seed, changes)
        result = train(own, *data(given.seed), given, evaluate=measure, device="cpu")
        alone.append((own, result))
        other = objective("xvat-transductive", given.seed, changes)
        members.append(Member(other, *data(given.seed), given, measure))
    trained = train_stacked(members)
    together = [(m.objective, t.result) for m, t in zip(members, trained, strict=True)]
    assert_alike(alone, together, 1e-11)


def test_compiled_code_cannot_draw_the_dropout_of_each():
    members = [Member(objective("dropout", s), *data(s), config(s, compile=True)) for s in (1, 2)]
    assert train_stacked(members) is None


def test_sizes_of_masks_must_agree():
    """What they erase is not proportional to the share."""

    def member(share: float) -> Member:
        term = Random(Mask(), share)
        torch.manual_seed(0)
        return Member(Objective(models.mlp([60, 4, CLASSES]), term), *data(0), config(0))

    assert train_stacked([member(0.2), member(0.2)]) is not None
    assert train_stacked([member(0.2), member(0.4)]) is None


def test_one_run_is_a_stack_too():
    alone, together = both("dropout+at-l2", (5,), precision="64")
    assert_alike(alone, together, 1e-12)
