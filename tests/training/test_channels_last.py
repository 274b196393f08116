"""Images with the channels innermost: another order in memory, the same training."""

import pytest
import torch

from tests import networks
from unshaken import VMT, Objective, fields
from unshaken.data import Dataset, Split
from unshaken.training import Interrupted, train

from .helpers import assert_same, config, weights
from .test_resume import StopAfter

STEPS = 6


def images():
    x = torch.randn(24, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    every = torch.arange(24)
    y = every % 3
    return Dataset("noise", x, y, x[:8], y[:8], 3), Split(every[:16], every[:16], every[16:])


def go(folder, *, seen=None, step=None, resume=False, **changes):
    torch.manual_seed(2)
    model = networks.convolutional(3, 2)
    if seen is not None:
        model[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    data, split = images()
    settings = config(steps=STEPS, unlabeled_batch_size=0, **changes)
    stop = None if step is None else StopAfter(step)
    objective = Objective(model, VMT(fields.Shift()), alarm=False)
    return train(
        objective, data, split, settings, out=folder, resume=resume, progress=stop, device="cpu"
    )


def test_the_same_numbers_in_another_order(tmp_path):
    seen, plain = [], []
    go(tmp_path / "last", seen=seen, channels_last=True)
    go(tmp_path / "plain", seen=plain)
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in seen)
    assert not any(x.is_contiguous(memory_format=torch.channels_last) for x in plain)
    found, expected = weights(tmp_path / "last"), weights(tmp_path / "plain")
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-3, atol=1e-5)


def test_resumed_to_the_last_bit(tmp_path):
    go(tmp_path / "whole", channels_last=True)
    with pytest.raises(Interrupted):
        go(tmp_path / "parts", channels_last=True, step=3)
    go(tmp_path / "parts", channels_last=True, resume=True)
    assert_same(weights(tmp_path / "parts"), weights(tmp_path / "whole"))


def test_a_wrong_value():
    with pytest.raises(ValueError, match="channels_last"):
        config(channels_last="yes")
