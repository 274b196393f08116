import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from unshaken import VAT, Objective
from unshaken.data import Dataset, Stream
from unshaken.training import CheckpointError, TrainingConfig, pace, train
from unshaken.training.feed import Feed

from .helpers import accuracy, assert_same, config, network, noise, objective


def test_it_is_the_loop_one_would_write():
    """SGD on the labeled stream, written out."""
    data, split = noise()
    settings = config(
        steps=12, optimizer="sgd", lr=0.1, unlabeled_batch_size=0, schedule="linear:0.5", seed=3
    )
    trained = network(dropout=0.0)
    train(Objective(trained), data, split, settings, device="cpu")

    model = network(dropout=0.0)
    stream = Stream(split.labeled, 4, 3, "labeled")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for step in range(12):
        optimizer.param_groups[0]["lr"] = 0.1 * min(1.0, (12 - step) / 6)
        index = stream.batch(step)
        loss = F.cross_entropy(model(data.x_train[index]), data.y_train[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for name, value in trained.state_dict().items():
        torch.testing.assert_close(value, model.state_dict()[name])


def test_both_streams_have_their_own_sizes_and_indices():
    data, split = noise()
    extra = Dataset(
        "more", data.x_train, data.y_train, data.x_test, data.y_test, 2, 9 + data.x_train[:3]
    )
    feed = Feed(extra, split, config(), torch.device("cpu"))
    batch = feed.batch(3)
    assert len(batch.x) == len(batch.y) == 4
    assert len(batch.unlabeled) == len(batch.index) == 8
    assert torch.equal(batch.unlabeled, extra.x_all[batch.index])
    assert torch.equal(batch.x, data.x_train[batch.labeled_index])
    assert torch.equal(batch.y, data.y_train[batch.labeled_index])
    assert set(batch.labeled_index.tolist()) <= set(split.labeled.tolist())
    again = Feed(extra, split, config(), torch.device("cpu")).batch(3)
    assert torch.equal(again.index, batch.index)
    supervised = Feed(extra, split, config(unlabeled_batch_size=0), torch.device("cpu")).batch(0)
    assert supervised.unlabeled is None
    assert torch.equal(supervised.index, supervised.labeled_index)
    assert feed.steps_per_epoch == 4  # 32 unlabeled examples, 8 at a time


def test_processes_take_equal_shares_of_one_batch():
    data, split = noise()
    whole = Feed(data, split, config(), torch.device("cpu")).batch(2)
    parts = [Feed(data, split, config(), torch.device("cpu"), rank, 2).batch(2) for rank in (0, 1)]
    for name in ("x", "y", "unlabeled", "index"):
        joined = torch.cat([getattr(part, name) for part in parts])
        assert torch.equal(joined, getattr(whole, name))
    with pytest.raises(ValueError, match="batch_size must be divisible by the 3 processes, got 4"):
        Feed(data, split, config(), torch.device("cpu"), 0, 3)


def test_accumulated_batches_are_one_large_batch():
    data, split = noise()

    def weights(**changes):
        model = network(dropout=0.0, batch_norm=False).double()
        settings = config(steps=6, precision="64", optimizer="sgd", lr=0.1, **changes)
        train(Objective(model), data, split, settings, device="cpu")
        return model.state_dict()

    large = weights(batch_size=12, unlabeled_batch_size=0)
    small = weights(batch_size=3, unlabeled_batch_size=0, accumulate=4)
    for name, value in large.items():
        torch.testing.assert_close(value, small[name], rtol=0, atol=1e-12)


def test_the_gradient_is_clipped():
    data, split = noise()
    model = network(dropout=0.0)
    before = [p.detach().clone() for p in model.parameters()]
    settings = config(steps=1, optimizer="sgd", lr=1.0, clip=1e-3)
    train(Objective(model), data, split, settings, device="cpu")
    moved = [p - q for p, q in zip(model.parameters(), before, strict=True)]
    assert math.sqrt(sum(m.square().sum().item() for m in moved)) == pytest.approx(1e-3, rel=1e-2)


def test_the_average_is_what_is_evaluated():
    data, split = noise()
    seen = []
    target = objective()
    result = train(
        target, data, split, config(ema=0.9), evaluate=lambda model, step: seen.append(model)
    )
    assert result.model is not target.model
    assert {id(model) for model in seen} == {id(result.model)}
    plain = train(objective(), data, split, config())
    assert not torch.equal(result.model[0].weight, plain.model[0].weight)


def test_the_history_has_an_entry_for_each_evaluation():
    data, split = noise()
    result = train(objective(), data, split, config(steps=12), evaluate=accuracy)
    assert [entry["step"] for entry in result.history] == [5, 10, 12]
    first = result.history[0]
    assert list(first) == ["step", "epoch", "lr", "loss", "vat", "accuracy", "draw"]
    assert first["epoch"] == 5 / 4
    assert first["lr"] == 1e-2
    assert all(type(value) in (int, float) for value in first.values())
    assert result.seconds_per_step > 0
    once = train(objective(), data, split, config(steps=3, evaluate_every=0))
    assert [entry["step"] for entry in once.history] == [3]


def test_evaluating_does_not_change_the_training():
    data, split = noise()
    often = train(objective(), data, split, config(evaluate_every=1), evaluate=accuracy)
    never = train(objective(), data, split, config(evaluate_every=0))
    assert_same(often.model.state_dict(), never.model.state_dict())


def test_random_state_and_modes_are_left_as_they_were():
    data, split = noise()
    target = objective()
    target.model.eval()
    target.model[3].train()
    modes = [module.training for module in target.modules()]
    state = torch.get_rng_state()
    modes_inside = []

    def evaluate(model, step):
        modes_inside.append(model.training)
        return {}

    train(target, data, split, config(), evaluate=evaluate)
    assert [module.training for module in target.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(modes_inside)


def test_results_depend_on_the_seed_alone():
    data, split = noise()
    results = []
    for noise_before, seed in ((1, 0), (2, 0), (1, 1)):
        target = objective()
        torch.manual_seed(noise_before)
        results.append(train(target, data, split, config(seed=seed)).model.state_dict())
    assert_same(results[0], results[1])
    assert not torch.equal(results[0]["0.weight"], results[2]["0.weight"])


def test_augmentation_sees_every_batch():
    data, split = noise()
    sizes = []

    def augment(x):
        sizes.append(len(x))
        return -x

    train(objective(), data, split, config(steps=3), augment=augment)
    assert sizes == [4, 8] * 3


def test_nothing_to_train_is_an_error():
    data, split = noise()
    target = objective().requires_grad_(False)
    with pytest.raises(ValueError, match="no parameter that requires a gradient"):
        train(target, data, split, config())


def test_a_folder_that_cannot_be_written_is_noticed_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    data, split = noise()
    with pytest.raises(CheckpointError, match=r"cannot write .*file/run: Not a directory"):
        train(objective(), data, split, config(), out=tmp_path / "file" / "run")


@pytest.mark.parametrize("device", ["tpu", "cuda:99", "meta"])
def test_an_unknown_device_is_named(device):
    data, split = noise()
    with pytest.raises(ValueError, match=f"'{device}'"):
        train(objective(), data, split, config(), device=device)


def test_without_a_period_checkpoints_come_by_time(tmp_path, monkeypatch):
    monkeypatch.setattr(pace, "_APART", 0.0)
    monkeypatch.setattr(pace, "_SHARE", 1e9)
    data, split = noise()
    settings = TrainingConfig(steps=5, batch_size=4, keep=9)
    train(objective(), data, split, settings, out=tmp_path)
    assert len(list((tmp_path / "checkpoints").glob("*.pt"))) == 5
    train(
        objective(),
        data,
        split,
        TrainingConfig(steps=5, batch_size=4, checkpoint_seconds=1e9),
        out=tmp_path / "rarely",
    )
    assert len(list((tmp_path / "rarely/checkpoints").glob("*.pt"))) == 1


def test_one_forward_and_one_backward_for_each_batch():
    data, split = noise()
    target, calls = objective(), {"forward": 0, "backward": 0}

    def forward(module, inputs, loss):
        calls["forward"] += 1
        loss.register_hook(lambda gradient: calls.update(backward=calls["backward"] + 1))

    target.register_forward_hook(forward)
    train(target, data, split, config(steps=6, accumulate=2))
    assert calls == {"forward": 12, "backward": 12}


def test_few_imports_for_a_small_run():
    root = Path(__file__).resolve().parents[2]
    code = (
        "import sys; from tests.training.helpers import *; from unshaken.training import train;"
        "data, split = noise(); train(objective(), data, split, config(steps=2), device='cpu');"
        "print('lightning_fabric' in sys.modules, 'tensorboard' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.split() == ["False", "False"]


def test_settings_must_be_plain():
    data, split = noise()
    with pytest.raises(ValueError, match="settings must hold plain values"):
        train(objective(), data, split, config(), settings={"model": objective()})


class Odd(VAT):
    """Keeps a state that is neither a tensor nor plain."""

    def get_extra_state(self):
        return {"what": self.__class__}

    def set_extra_state(self, state): ...


def test_a_state_that_cannot_be_read_back_is_noticed_at_once(tmp_path):
    data, split = noise()
    target = Objective(network(), Odd(radius=0.5), alarm=False)
    with pytest.raises(CheckpointError, match=r"cannot be read back.*Odd") as error:
        train(target, data, split, config(), out=tmp_path)
    assert "step-00000005.pt" in str(error.value)
    assert not list((tmp_path / "checkpoints").glob("*.pt"))
