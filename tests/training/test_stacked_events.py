"""What befalls a run in a stack befalls it alone, and what cannot be a stack is none."""

from __future__ import annotations

import os
import signal
import warnings
from dataclasses import replace

import pytest
import torch
from torch import nn

from tests.training.stacks import CHANNELS, CLASSES, SIZE, config, data, measure, objective
from unshaken import VAT, XVAT, AlarmWarning, Objective, Random, masks, models
from unshaken.data import Dataset, Split
from unshaken.divergences import KL
from unshaken.perturbations import Mask
from unshaken.training import Interrupted, NonFiniteError, Result, TrainingConfig, train
from unshaken.training.stacked import Member, can_stack, train_stacked


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
    "changes", [{"clip": 1.0}, {"precision": "bf16"}, {"swa": "0.5:1"}], ids=str
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
    split = data(1)[1]
    shorter = Split(split.labeled[1:], split.unlabeled, split.validation)
    assert refuses(Member(objective("vat", 1), data(1)[0], shorter, config(1)))
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
