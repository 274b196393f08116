"""Streams: every example once an epoch, no short batch, no state."""

import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unshaken.data import Stream


@settings(max_examples=50, deadline=None)
@given(
    count=st.integers(1, 40),
    batch=st.integers(1, 100),
    seed=st.integers(0, 2**62),
    steps=st.lists(st.integers(0, 60), min_size=1, max_size=20),
)
def test_batches_are_a_pure_function_of_t(
    count: int, batch: int, seed: int, steps: list[int]
) -> None:
    indices = torch.arange(100, 100 + count)
    stream = Stream(indices, batch, seed, "test")
    in_order = [stream.batch(t) for t in range(61)]
    for t in steps:
        assert torch.equal(in_order[t], Stream(indices, batch, seed, "test").batch(t))
        assert torch.equal(in_order[t], stream.batch(t))
    assert all(len(b) == batch for b in in_order)
    together = torch.cat(in_order)
    for epoch in together[: len(together) // count * count].view(-1, count):
        assert torch.equal(epoch.sort().values, indices)


def test_names_seeds_and_epochs_differ() -> None:
    indices = torch.arange(50)
    one = Stream(indices, 50, 0, "labeled")
    others = [Stream(indices, 50, 0, "unlabeled"), Stream(indices, 50, 1, "labeled")]
    assert all(not torch.equal(one.batch(0), other.batch(0)) for other in others)
    assert not torch.equal(one.batch(0), one.batch(1))


def test_global_random_state_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    Stream(torch.arange(9), 4, 0, "labeled").batch(5)
    assert torch.equal(before, torch.random.get_rng_state())


def test_same_in_another_process() -> None:
    program = (
        "import torch; from unshaken.data import Stream; "
        "print(Stream(torch.arange(20), 6, 3, 'unlabeled').batch(7).tolist())"
    )
    here = Stream(torch.arange(20), 6, 3, "unlabeled").batch(7).tolist()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "1"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, check=True, env=environment)
    assert done.stdout.decode().strip() == str(here) == str(WRITTEN_OUT)


def test_epochs() -> None:
    stream = Stream(torch.arange(10), 4, 0, "labeled")
    assert stream.steps_per_epoch == 3
    assert [stream.epoch_of(t) for t in range(6)] == [0, 0, 0, 1, 1, 2]


@pytest.mark.parametrize(
    ("indices", "batch", "message"),
    [
        (torch.arange(0), 4, "indices: expected int64"),
        (torch.zeros(3), 4, "indices: expected int64"),
        (torch.arange(4).view(2, 2), 4, "indices: expected int64"),
        (torch.arange(4), 0, "batch_size: expected at least 1, got 0"),
    ],
)
def test_errors(indices: torch.Tensor, batch: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Stream(indices, batch, 0, "labeled")
    with pytest.raises(ValueError, match="t: expected"):
        Stream(torch.arange(4), 2, 0, "labeled").batch(-1)


WRITTEN_OUT: list[int] = [0, 2, 11, 5, 12, 3]
