import pytest
import torch
from torch import nn

from unshaken import Objective
from unshaken.training import Interrupted, TrainingConfig, load_model_weights, train
from unshaken.training.averages import Average, Snapshots
from unshaken.training.feed import Feed

from .helpers import assert_same, config, noise, objective, weights


def test_the_average_follows_its_formula():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    average = Average(model, 0.8)
    expected = {}
    for done in range(1, 10):
        for value in model.state_dict().values():
            if value.is_floating_point():
                value.add_(torch.randn_like(value))
        average.update(model, done)
        weight = max(1 - 0.8, 1 / done)
        for name, value in model.state_dict().items():
            old = expected.get(name, value)
            expected[name] = old + weight * (value - old)
    for name, value in average.model.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, expected[name])


def test_snapshots_are_a_plain_mean_and_batch_norm_is_made_anew():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    average = Snapshots(model, 4, 3)
    taken = []
    for done in range(1, 12):
        with torch.no_grad():
            for value in model.parameters():
                value.add_(torch.randn_like(value))
        average.update(model, done)
        if done in (4, 7, 10):
            taken.append([p.detach().clone() for p in model.parameters()])
        assert (average.model is model) == (done < 4)
    for k, value in enumerate(average.model.parameters()):
        torch.testing.assert_close(value, torch.stack([each[k] for each in taken]).mean(0))
    batches = [torch.randn(6, 2) for _ in range(3)]
    average.settle(batches)
    h = torch.stack([average.model[0](batch).detach() for batch in batches])
    torch.testing.assert_close(average.model[1].running_mean, h.mean((0, 1)))
    torch.testing.assert_close(average.model[1].running_var, h.var(1).mean(0))


def test_a_run_exports_the_mean_of_its_snapshots_also_when_resumed(tmp_path):
    dataset, split = noise()
    given = config(swa="0.5:2", schedule="cyclic:0.5:5")
    seen = []

    def go(out, stop=0, resume=False):
        def evaluate(model, step):
            if step == stop:
                raise KeyboardInterrupt
            if not stop:
                seen.append({k: v.clone() for k, v in model.state_dict().items()})
            return {}

        return train(
            objective(), dataset, split, given, device="cpu", out=out, resume=resume,
            evaluate=evaluate,
        )  # fmt: skip

    go(tmp_path / "whole")
    assert_same(seen[-1], weights(tmp_path / "whole"))
    with pytest.raises((KeyboardInterrupt, Interrupted)):
        go(tmp_path / "parts", stop=15)
    go(tmp_path / "parts", resume=True)
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))


def test_a_checkpoint_holds_weights_that_can_be_used_at_any_step(tmp_path):
    """Before the first snapshot those of the run, then the mean with statistics of its own."""
    dataset, split = noise()
    given = config(
        swa="0.5:2", schedule="cyclic:0.5:5", evaluate_every=0, checkpoint_every=3, keep=9
    )
    torch.manual_seed(3)
    network = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2))
    fresh = {name: value.clone() for name, value in network.state_dict().items()}
    train(Objective(network), dataset, split, given, device="cpu", out=tmp_path)
    taken = sorted((tmp_path / "checkpoints").glob("*.pt"))
    assert len(taken) > 5
    for path in taken:
        found = load_model_weights(path)
        for name in ("0.weight", "1.running_mean", "1.running_var"):
            assert not torch.equal(found[name], fresh[name]), (path.name, name)
    exported = load_model_weights(tmp_path)
    for name, value in load_model_weights(taken[-1]).items():
        assert torch.equal(value, exported[name])


def test_its_statistics_are_those_of_the_larger_streams_inputs():
    dataset, split = noise()
    feed = Feed(dataset, split, config(), torch.device("cpu"))
    batches = list(feed.some_inputs())
    assert [len(batch) for batch in batches] == [8] * feed.steps_per_epoch
    assert torch.equal(batches[0], feed.batch(0).unlabeled)
    alone = Feed(dataset, split, config(unlabeled_batch_size=0), torch.device("cpu"))
    assert torch.equal(next(alone.some_inputs()), alone.batch(0).x)
    assert len(list(alone.some_inputs(2))) == 2


@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        ({"swa": "0.5"}, ValueError, "swa must be 'FRACTION:PERIOD'"),
        ({"swa": "1:5"}, ValueError, "FRACTION in"),
        ({"swa": "0.5:2.5"}, ValueError, "PERIOD a number of steps"),
        ({"swa": 0.5}, TypeError, "swa must be"),
        ({"swa": "0.5:2", "ema": 0.9}, ValueError, "give one of them"),
    ],
)
def test_mistakes(changes, error, sentence):
    with pytest.raises(error, match=sentence):
        TrainingConfig(steps=10, batch_size=2, **changes)
