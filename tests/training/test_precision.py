"""Mixed precision through fabric, on the CPU; a GPU is used where there is one."""

import signal

import pytest
import torch
from torch import nn

from unshaken import VAT, VMT, Objective, fields
from unshaken.models import mlp
from unshaken.training import Interrupted, train

from .distributed import signals
from .helpers import accuracy, assert_same, config, noise, objective, weights
from .test_resume import StopAfter

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def learnable(precision: str, device: str) -> float:
    torch.manual_seed(0)
    target = Objective(mlp([8, 32, 2]), VAT(radius=0.1), VMT(fields.Shift()), alarm=False)
    settings = config(steps=40, batch_size=12, precision=precision, clip=1.0)
    result = train(target, *signals(), settings, device=device)
    assert all(p.dtype == torch.float32 for p in target.parameters())
    return result.history[-1]["loss"] - result.history[0]["loss"]


@pytest.mark.parametrize("precision", ["bf16", "16"])
def test_mixed_precision_trains(precision):
    assert learnable(precision, "cpu") < -0.05


class Types(nn.Module):
    """Notes the type of its input and of its product."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.seen = nn.Linear(4, 2), set()

    def forward(self, x):
        out = self.layer(x)
        self.seen.add((x.dtype, out.dtype))
        return out


@pytest.mark.parametrize(
    ("precision", "expected"),
    [
        ("32", (torch.float32, torch.float32)),
        ("64", (torch.float64, torch.float64)),
        ("bf16", (torch.float32, torch.bfloat16)),  # inputs are not rounded
    ],
)
def test_types(precision, expected):
    model = Types()
    settings = config(steps=2, precision=precision, unlabeled_batch_size=0)
    train(Objective(model, alarm=False), *noise(), settings, device="cpu")
    assert model.seen == {expected}


def stopped_and_whole(tmp_path, settings, device):
    options = {"evaluate": accuracy, "device": device}
    whole = train(objective(), *noise(), settings, out=tmp_path / "whole", **options)
    stop = StopAfter(7, signal.SIGINT)
    with pytest.raises(Interrupted):
        train(objective(), *noise(), settings, out=tmp_path / "parts", progress=stop, **options)
    options["resume"] = True
    parts = train(objective(), *noise(), settings, out=tmp_path / "parts", **options)
    assert parts.history == whole.history
    assert_same(weights(tmp_path / "parts"), weights(tmp_path / "whole"))


@pytest.mark.parametrize("precision", ["bf16", "16"])
def test_resumed_is_the_same_to_the_last_bit(tmp_path, precision):
    stopped_and_whole(tmp_path, config(precision=precision, ema=0.9, clip=0.5), "cpu")


@gpu
@pytest.mark.parametrize("precision", ["32", "64", "bf16", "16"])
def test_resumed_on_a_gpu_is_the_same_to_the_last_bit(tmp_path, precision):
    stopped_and_whole(tmp_path, config(precision=precision, ema=0.9, accumulate=2), "cuda")


@gpu
@pytest.mark.parametrize("precision", ["32", "bf16", "16"])
def test_a_gpu_trains(precision):
    assert learnable(precision, "cuda") < -0.05
