"""Runs trained as one give what each of them gives alone."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from unshaken import VAT, XVAT, AlarmWarning, Objective, Random, masks, models
from unshaken.data import Augmentation, Dataset, Split
from unshaken.divergences import KL
from unshaken.methods import catalog
from unshaken.perturbations import Mask
from unshaken.training import Interrupted, NonFiniteError, Result, TrainingConfig, train
from unshaken.training.stacked import Member, can_stack, train_stacked

SIZE, CHANNELS, CLASSES, EXAMPLES = (6, 5), 2, 3, 40
METHODS = [*catalog.names_for(SIZE), "entropy+balance", "vat+xvat-transductive", "xat+vmt-shift"]


def data(seed: int) -> tuple[Dataset, Split]:
    """Data of its own for each seed, as generated sets have."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(EXAMPLES, CHANNELS, *SIZE, generator=generator)
    y = torch.randint(CLASSES, (EXAMPLES,), generator=generator)
    every = torch.randperm(EXAMPLES, generator=generator)
    labeled, held = every[:12].sort().values, every[32:].sort().values
    split = Split(labeled, every[:32].sort().values, held)
    return Dataset("noise", x, y, x[:8], y[:8], CLASSES), split


def config(seed: int, **changes: Any) -> TrainingConfig:
    values = {"steps": 3, "batch_size": 4, "unlabeled_batch_size": 8, "lr": 0.01, "seed": seed}
    return TrainingConfig(**{**values, **changes})


def objective(method: str, seed: int, changes: dict[str, Any] | None = None) -> Objective:
    torch.manual_seed(seed)
    used = catalog.settings_for(method, changes or {"xvat": {"learning_rate": 0.05}})
    dropout = used["dropout"]["rate"] if "dropout" in used else 0.0
    model = models.mlp([CHANNELS * 30, 16, 8, CLASSES], dropout=dropout)
    shape = catalog.Shape(CHANNELS, SIZE, EXAMPLES)
    return Objective(model, *catalog.build(method, shape, used))


def measure(model: nn.Module, step: int) -> dict[str, float]:
    """With a draw, as an evaluation may make one: it must not move the training."""
    x = data(9)[0].x_train
    with torch.no_grad():
        outputs = model(x.to(next(model.parameters())))
    return {"size": outputs.square().mean().item(), "draw": torch.rand(()).item()}


def both(
    method: str, seeds: Sequence[int], *, augment: Augmentation | None = None, **changes: Any
) -> tuple[list[tuple[Objective, Result]], list[tuple[Objective, Result]]]:
    alone, together = [], []
    for seed in seeds:
        own = objective(method, seed)
        alone.append(
            (
                own,
                train(
                    own,
                    *data(seed),
                    config(seed, **changes),
                    evaluate=measure,
                    device="cpu",
                    augment=augment,
                ),
            )
        )
    members = [
        Member(objective(method, seed), *data(seed), config(seed, **changes), measure)
        for seed in seeds
    ]
    trained = train_stacked(members, augment=augment)
    assert trained is not None
    for member, one in zip(members, trained, strict=True):
        assert one.result is not None
        together.append((member.objective, one.result))
    return alone, together


def states(run: tuple[Objective, Result]) -> dict[str, Tensor]:
    own, result = run
    return {**own.state_dict(), **{f"shown.{k}": v for k, v in result.model.state_dict().items()}}


def assert_alike(
    alone: list[tuple[Objective, Result]], together: list[tuple[Objective, Result]], near: float
) -> None:
    for one, other in zip(alone, together, strict=True):
        first, second = states(one), states(other)
        assert first.keys() == second.keys()
        for name, value in first.items():
            torch.testing.assert_close(second[name], value, rtol=near, atol=near, msg=name)
        assert len(one[1].history) == len(other[1].history) > 0
        for expected, entry in zip(one[1].history, other[1].history, strict=True):
            assert expected.keys() == entry.keys()
            assert entry == pytest.approx(expected, rel=10 * near, abs=near)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_in_double_precision(method):
    # A difference of outputs a small step away magnifies rounding.
    by_difference = any(part in ("vat", "mvat") for part in method.split("+"))
    alone, together = both(method, (3, 4, 11), precision="64", evaluate_every=2)
    assert_alike(alone, together, 1e-7 if by_difference else 1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_one_step_in_single_precision(method):
    """By plain descent: Adam divides a gradient that is all rounding by itself."""
    by_difference = any(part in ("vat", "mvat") for part in method.split("+"))
    alone, together = both(method, (3, 4), optimizer="sgd", steps=1)
    assert_alike(alone, together, 1e-4 if by_difference else 2e-6)


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


def test_nothing_of_the_callers_is_moved():
    torch.manual_seed(1)
    members = [Member(objective("dropout+vat", s), *data(s), config(s), measure) for s in (0, 1)]
    torch.manual_seed(2)
    members[0].objective.eval()
    before = torch.get_rng_state()
    train_stacked(members)
    assert torch.equal(torch.get_rng_state(), before)
    assert not members[0].objective.training
    assert members[1].objective.training


def test_a_run_that_fails_ends_alone():
    seeds, method = (3, 4, 5), "random"

    def broken(seed: int) -> tuple[Dataset, Split]:
        dataset, split = data(seed)
        if seed == 4:
            # Finite in themselves, but too large for the network.
            dataset.x_train[int(split.labeled[0])] = 1e38
        return dataset, split

    def alone(seed: int) -> Result | NonFiniteError:
        try:
            return train(objective(method, seed), *broken(seed), settings(seed), device="cpu")
        except NonFiniteError as error:
            return error

    def settings(seed: int) -> TrainingConfig:
        return config(seed, steps=12, evaluate_every=4, precision="32")

    expected = [alone(seed) for seed in seeds]
    assert [type(each) for each in expected] == [Result, NonFiniteError, Result]
    found = train_stacked([Member(objective(method, s), *broken(s), settings(s)) for s in seeds])
    assert found is not None
    assert str(found[1].failure) == str(expected[1])
    assert found[1].result is None
    for k in (0, 2):
        one, other = expected[k], found[k].result
        assert isinstance(one, Result)
        assert other is not None
        assert other.history[0] == pytest.approx(one.history[0], rel=1e-3)
        assert len(other.history) == 3

    # Where all have failed nothing is left to do.
    calls = []
    members = [
        Member(objective(method, 4), *broken(4), settings(4), lambda *_: calls.append(1) or {})
    ]
    (only,) = train_stacked(members) or []
    assert str(only.failure) == str(expected[1])
    assert only.failure is not None
    assert len(calls) == only.failure.step // 4


def test_alarms_are_those_of_each_run():
    def still(seed: int) -> Objective:
        # The second run's network answers nothing: no gradient in the input is left.
        own = objective("vmt-shift", seed)
        if seed == 1:
            torch.nn.init.zeros_(own.model[-1].weight)
        return own

    settings = {"steps": 8, "lr": 0.0}

    def alone(seed: int) -> list[str]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", AlarmWarning)
            train(still(seed), *data(seed), config(seed, **settings), device="cpu")
        return [str(w.message) for w in caught]

    expected = [alone(seed) for seed in (0, 1, 2)]
    assert [len(said) for said in expected] == [0, 1, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = train_stacked(
            [Member(still(s), *data(s), config(s, **settings)) for s in (0, 1, 2)]
        )
    assert [one.alarms for one in found or []] == expected


def test_adversaries_no_better_than_random_are_named_for_each_run():
    def poor(seed: int) -> Objective:
        # A mask of one table that nothing has learned is as good as its shuffled self.
        return objective("xvat-transductive", seed)

    settings = {"steps": 70, "lr": 0.0}

    def alone(seed: int) -> list[str]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", AlarmWarning)
            train(poor(seed), *data(seed), config(seed, **settings), device="cpu")
        return [str(w.message) for w in caught]

    expected = [alone(seed) for seed in (0, 1)]
    assert any(expected)
    found = train_stacked([Member(poor(s), *data(s), config(s, **settings)) for s in (0, 1)])
    assert [[s[:40] for s in one.alarms] for one in found or []] == [
        [s[:40] for s in said] for said in expected
    ]


def test_signals_stop_all_of_them():
    def stopping(model: nn.Module, step: int) -> dict[str, float]:
        os.kill(os.getpid(), signal.SIGTERM)
        return {}

    members = [
        Member(objective("baseline", s), *data(s), config(s, evaluate_every=1), stopping)
        for s in (0, 1)
    ]
    with pytest.raises(Interrupted, match="stopped by SIGTERM after step 1"):
        train_stacked(members)


@pytest.mark.parametrize(
    "changes", [{"clip": 1.0}, {"precision": "bf16"}, {"compile": True}], ids=str
)
def test_settings_that_cannot_be_stacked(changes):
    assert not can_stack(config(0, **changes))
    members = [Member(objective("vat", s), *data(s), config(s, **changes)) for s in (0, 1)]
    assert train_stacked(members) is None


def test_runs_that_cannot_be_stacked():
    first = Member(objective("vat", 0), *data(0), config(0))

    def refuses(other: Member) -> bool:
        return train_stacked([first, other]) is None

    assert refuses(Member(objective("vat", 1), *data(1), config(1, lr=0.5)))
    assert refuses(Member(objective("random", 1), *data(1), config(1)))
    small = models.mlp([60, 4, CLASSES])
    assert refuses(Member(Objective(small, VAT(1.0)), *data(1), config(1)))
    x, y = torch.randn(30, CHANNELS, *SIZE), torch.zeros(30, dtype=torch.int64)
    fewer = Dataset("noise", x, y, x[:3], y[:3], CLASSES)
    assert refuses(Member(objective("vat", 1), fewer, data(1)[1], config(1)))
    assert refuses(replace(first, objective=objective("vat+balance", 1), config=config(1)))
    own = objective("vat", 1)
    own.regularizers[0].divergence = KL(reverse=True)
    assert refuses(replace(first, objective=own, config=config(1)))
    own.regularizers[0] = Random(Mask(), 0.1, name="vat")
    assert refuses(replace(first, objective=own, config=config(1)))


def test_a_player_that_is_not_known_here():
    class Own(masks.Generator):
        pass

    def member(seed: int) -> Member:
        torch.manual_seed(seed)
        term = XVAT(Own(CHANNELS))
        return Member(Objective(models.mlp([60, 4, CLASSES]), term), *data(seed), config(seed))

    assert train_stacked([member(0), member(1)]) is None
